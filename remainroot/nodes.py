# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices that are opened for device nodes made here, and known again as the nodes' wherever the descriptors go.

Each node has a mount of its own that the device is opened on: its number (statx(2)) stays with an open file through
dup, fork, exec, unix sockets and /proc/PID/fd, and nothing else does. The mounts are in trees that are attached nowhere
and hold little else, so that the paths of the descriptors, which procfs shows, are those of the devices.
"""

from __future__ import annotations

import os

from remainroot.elsewhere import in_new_mounts
from remainroot.kernel import AT_RECURSIVE, EXHAUSTED, O_CLOEXEC, O_PATH, attach_mount, copy_mount, mount, mount_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_MOST: Final = 64
_DIRECTORY: Final = b"/dev"


class _Node:
    __slots__ = ("mount", "placeholder", "tree")

    def __init__(self, placeholder: int, path: str) -> None:
        self.tree = in_new_mounts(lambda: _tree(path))
        self.placeholder = os.dup(placeholder)
        device = os.open(path[1:], O_PATH | O_CLOEXEC, dir_fd=self.tree)
        self.mount = mount_id(device)
        os.close(device)

    def close(self) -> None:
        """Nothing that is open of it is known any more."""
        os.close(self.tree)
        os.close(self.placeholder)


def _tree(path: str) -> int:
    """A tree of mounts with the device at `path`, and nothing else: its root. To be made among mounts of our own."""
    opened = [os.open(path, O_PATH | O_CLOEXEC)]
    try:
        opened += [copy_mount(opened[0])]
        mount(b"none", _DIRECTORY, b"tmpfs")
        opened += [os.open(_DIRECTORY, O_PATH | O_CLOEXEC)]
        _, device, root = opened
        os.mkdir("dev", dir_fd=root)
        os.close(os.open(path[1:], os.O_CREAT | os.O_WRONLY | O_CLOEXEC, dir_fd=root))
        opened += [os.open(path[1:], O_PATH | O_CLOEXEC, dir_fd=root)]
        attach_mount(device, opened[-1])
        return copy_mount(root, AT_RECURSIVE)
    finally:
        for fd in opened:
            os.close(fd)


class Nodes:
    """The nodes of which something was opened; the oldest are forgotten when there are many."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[int, int], _Node] = {}
        self._mounts: dict[int, _Node] = {}
        self._possible = True
        """As far as we know we may make mounts."""

    def open(self, placeholder: int, st: os.stat_result, path: str, flags: int) -> int:
        """Open the device at `path` for the node behind `placeholder`, whose status is `st`.

        Where we may not make mounts it will be like any other descriptor of the device.
        """
        node = self._node(placeholder, st, path)
        return os.open(path, flags) if node is None else os.open(path[1:], flags, dir_fd=node.tree)

    def _node(self, placeholder: int, st: os.stat_result, path: str) -> _Node | None:
        node = self._nodes.get((st.st_dev, st.st_ino))
        if node is not None or not self._possible:
            return node
        try:
            node = _Node(placeholder, path)
        except FileNotFoundError:
            raise
        except OSError as error:
            self._possible = error.errno in EXHAUSTED
            return None
        if len(self._nodes) >= _MOST:
            self._forget(next(iter(self._nodes)))
        self._nodes[st.st_dev, st.st_ino] = self._mounts[node.mount] = node
        return node

    def behind(self, fd: int) -> int:
        """What stands on disk for the node that the device `fd` was opened for.

        A descriptor, O_PATH, that is not the caller's to close; -1 of what was not opened so.
        """
        node = self._mounts.get(mount_id(fd))
        return -1 if node is None else node.placeholder

    def leave(self, mount: int) -> None:
        """Forget the nodes that lie on this mount (`kernel.mount_id`; 0: any), which would be busy."""
        for key, node in list(self._nodes.items()):
            if not mount or mount_id(node.placeholder) == mount:
                self._forget(key)

    def _forget(self, key: tuple[int, int]) -> None:
        node = self._nodes.pop(key)
        del self._mounts[node.mount]
        node.close()
