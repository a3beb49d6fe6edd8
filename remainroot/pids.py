# SPDX-License-Identifier: GPL-2.0-or-later
"""What number a task has in which pid namespace: pid_namespaces(7)."""

from __future__ import annotations

import os
from fcntl import ioctl

from remainroot.tasks import parent_of, thread_ids
from remainroot.tracee import status_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

_NS_GET_PARENT: Final = 0xB702
_OF_ONE: Final = 3
"""How many links the directory of the threads of a process with one thread has."""


def levels(tid: int) -> list[int]:
    """The task's number in each pid namespace from the supervisor's procfs down to its own."""
    return [int(number) for number in status_field(tid, b"NSpid").split()]


def _namespace(tid: int, above: int = 0) -> tuple[int, int]:
    """What tells the pid namespace of `tid` from others, or the one so many levels above it."""
    fd = os.open(f"/proc/{tid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for _ in range(above):
            parent = ioctl(fd, _NS_GET_PARENT)
            os.close(fd)
            fd = parent
        st = os.fstat(fd)
    finally:
        os.close(fd)
    return st.st_dev, st.st_ino


def sees(caller: int, depth: int, tid: int, numbers: list[int]) -> bool:
    """Whether `tid`, with these `numbers`, is in the caller's pid namespace of that `depth`, or in one within that.

    There may be others at the same depth: those of other containers.
    """
    if len(numbers) < depth:
        return False
    try:
        return _namespace(tid, len(numbers) - depth) == _namespace(caller, len(levels(caller)) - depth)
    except PermissionError:
        return parent_of(tid) == os.getpid()  # PID 1 of a box, which hides itself


def number_for(viewer: int, tid: int) -> int:
    """The number by which `viewer` sees the task that is `tid` here: 0 if it does not, or cannot be told.

    OSError: `viewer` is gone.
    """
    depth = len(levels(viewer))
    if depth == 1:
        return tid
    try:
        numbers = levels(tid)
        return numbers[depth - 1] if sees(viewer, depth, tid, numbers) else 0
    except OSError:
        return 0


def task_called(caller: int, pid: int, depth: int = 0) -> int:
    """The task that `caller` calls `pid`, by its number here; 0 if there is none.

    `depth`: that is called so in the pid namespace of this depth which the caller is in (0: its own).
    """
    own = levels(caller)
    depth = depth or len(own)
    if depth == 1:
        return pid if os.path.exists(f"/proc/{pid}") else 0
    if own[depth - 1] == pid:
        return caller
    for tid in _tasks():
        try:
            numbers = levels(tid)
            if numbers[depth - 1 : depth] == [pid] and sees(caller, depth, tid, numbers):
                return tid
        except OSError:
            continue  # gone, or somebody else's
    return 0


def _tasks() -> Iterator[int]:
    """The processes there are, then their other threads, by their numbers here."""
    processes = everyone()
    yield from processes
    for process in processes:
        try:
            if os.stat(f"/proc/{process}/task").st_nlink > _OF_ONE:
                yield from (tid for tid in thread_ids(process) if tid != process)
        except OSError:
            continue  # gone


def thread_called(caller: int, pid: int, tid: int, depth: int = 0) -> int:
    """The thread of the process `pid` that `caller` calls `tid`, by its number here; 0 if there is none.

    `depth` as in `task_called`.
    """
    process = task_called(caller, pid, depth)
    if not process or pid == tid:
        return process
    depth = depth or len(levels(caller))
    if depth == 1:
        return tid
    for name in os.listdir(f"/proc/{process}/task"):
        if levels(int(name))[depth - 1] == tid:
            return int(name)
    return 0


def everyone() -> list[int]:
    """The processes there are, by their numbers here."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]
