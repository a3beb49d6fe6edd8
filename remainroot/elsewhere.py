# SPDX-License-Identifier: GPL-2.0-or-later
"""Doing something in another namespace than ours (namespaces(7)), or with fewer capabilities."""

from __future__ import annotations

import os

from remainroot.kernel import O_CLOEXEC, O_PATH, limit_capabilities, set_mount_flags, setns, unshare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, TypeVar

    T = TypeVar("T")

IPC, NET, MOUNT = "ipc", "net", "mnt"
_FLAGS: Final = {IPC: 0x0800_0000, NET: 0x4000_0000, MOUNT: 0x0002_0000}
"""CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS."""
_CLONE_FS: Final = 0x200


class Elsewhere(Exception):  # noqa: N818  # no error: the kernel will answer
    """The task's namespace is one that we cannot enter."""


def namespace(tid: int, kind: str) -> int:
    """The inode number of the task's namespace of this kind."""
    return os.stat(f"/proc/{tid}/ns/{kind}").st_ino


def inside(tid: int, kind: str, body: Callable[[], T]) -> T:
    """What `body` returns, or the OSError it raises, in the namespace of `tid` of this kind.

    A thread of ours goes there if it is another one than ours, for there may be no way back. Elsewhere: it cannot.
    For MOUNT it is always such a thread: its root and working directory are its own, the namespace's root at first.
    """
    if kind != MOUNT and namespace(tid, kind) == namespace(os.getpid(), kind):
        return body()
    return _apart(lambda: _enter(tid, kind), body)


def weakly(mask: int, body: Callable[[], T]) -> T:
    """What `body` returns, or the OSError it raises, in a thread of ours with no capabilities but those in `mask`."""
    return _apart(lambda: limit_capabilities(mask), body)


def in_new_mounts(body: Callable[[], T]) -> T:
    """What `body` returns, or the OSError it raises, in a thread of ours among copies of our mounts.

    What it mounts nobody else sees, and all goes with the thread but what a descriptor holds.
    """
    return _apart(_part_with_mounts, body)


def _part_with_mounts() -> None:
    unshare(_FLAGS[MOUNT])
    root = os.open("/", O_PATH | O_CLOEXEC)
    set_mount_flags(root, 0)
    os.close(root)


def _apart(prepare: Callable[[], None], body: Callable[[], T]) -> T:
    """What `body` returns, or raises, in a thread of its own that is prepared first."""
    import _thread

    done = _thread.allocate_lock()
    done.acquire()
    results: list[T] = []
    errors: list[Exception] = []

    def go() -> None:
        try:
            prepare()
            results.append(body())
        except Exception as error:  # noqa: BLE001  # raised again where it belongs
            errors.append(error)
        finally:
            done.release()

    _thread.start_new_thread(go, ())
    done.acquire()
    if errors:
        raise errors[0]
    return results[0]


def _enter(tid: int, kind: str) -> None:
    try:
        fd = os.open(f"/proc/{tid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if kind == MOUNT:
                unshare(_CLONE_FS)
            setns(fd, _FLAGS[kind])
        finally:
            os.close(fd)
    except OSError as error:
        raise Elsewhere from error
