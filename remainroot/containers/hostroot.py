# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's files with a container's among them: `remainroot enter --with-host-root`.

A mount namespace of its own, a copy of the host's, in which the container's whole tree of mounts is attached to an
existing directory (open_tree(2), move_mount(2)): each file is the container's own, at the kernel's speed. Nothing is
made on the host, and nobody else sees it.
"""

from __future__ import annotations

import os

from remainroot import kernel
from remainroot.containers import mounts, namespaces
from remainroot.errors import RemainrootError
from remainroot.kernel import attach_mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.containers.target import Target

DEFAULT: Final = "/mnt"
"""Where the container's files are: a directory for mounts for a while, which every system has."""


class HostRoot:
    """The host's root, seen from before the container is entered."""

    def __init__(self, directory: str) -> None:
        """Have the container at `directory`. RemainrootError if there is none such."""
        self.directory = os.path.realpath(directory or DEFAULT)
        self.cwd = os.getcwd()
        if not os.path.isdir(self.directory) or self.directory == "/":
            raise RemainrootError(
                f"enter: cannot show the container at {self.directory}: that is no directory of the host to cover; "
                "choose another (--with-host-root=DIR)"
            )

    def build(self, target: Target, *, processes: bool) -> None:
        """Make it this process's root; `processes`: /proc is to show the pid namespace that this process is in.

        In CMD's process, in the container's user and pid namespaces and the host's of every other kind.
        """
        namespaces.unshare(namespaces.NEWNS)
        mounts.make_private()
        own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        root = os.open("/", mounts.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        # A copy can be made only where the original is.
        target.join(["mount"])
        tree = mounts.copy_tree(target.root)
        kernel.setns(own, namespaces.NEWNS)
        os.fchdir(root)
        os.chroot(".")
        place = os.open(self.directory, mounts.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        attach_mount(tree, place)
        mounts.make_private()
        if processes:
            self._show_processes()
        for fd in (own, root, tree, place):
            os.close(fd)

    def _show_processes(self) -> None:
        """Mount a procfs of this pid namespace on /proc, or the container's where a new one is refused."""
        try:
            mounts.mount("proc", "/proc", "proc", mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC)
        except PermissionError:
            theirs = os.open(f"{self.directory}/proc", mounts.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            place = os.open("/proc", mounts.O_PATH | os.O_CLOEXEC)
            mounts.bind(theirs, place)
            os.close(theirs)
            os.close(place)

    def go_back(self) -> None:
        """To the directory that the caller was in, if it is not covered or forbidden by now."""
        try:
            os.chdir(self.cwd)
        except OSError:
            os.chdir("/")
