# SPDX-License-Identifier: GPL-2.0-or-later
"""`--strict`, of other tasks: who may look into them (ptrace(2), "Ptrace access mode checking"). See `strict`."""

from __future__ import annotations

from errno import EACCES, EPERM

from remainroot import permissions
from remainroot.dispatch import Refused, equals, guards
from remainroot.handlers.peers import supervisors_pid
from remainroot.handlers.signals import behind
from remainroot.tasks import thread_group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call

_PTRACE_ATTACH, _PTRACE_SEIZE = 16, 0x4206
_PTRACE_OPTIONS: Final = 0x3000FF
"""PTRACE_O_MASK."""


def _trace(call: Call, tid: int, errno: int = EPERM, *, by_fs_ids: bool = False) -> None:
    if tid and thread_group(tid) != thread_group(call.tid):
        state = call.world.tasks.state(tid)
        dumpable, memory = state.dumpable == 1, state.memory
        if not permissions.may_trace(call.creds, state.creds, dumpable=dumpable, memory=memory, by_fs_ids=by_fs_ids):
            raise Refused(errno)


def _trace_pid(call: Call, pid: int) -> None:
    if pid > 0:
        _trace(call, supervisors_pid(call, pid))


@guards("ptrace", when=equals(0, _PTRACE_ATTACH, _PTRACE_SEIZE))
def ptrace(call: Call) -> None:
    """ptrace(2): attaching takes the same ids, no more capabilities, and a dumpable target."""
    if call.signed(0) == _PTRACE_SEIZE and (call.ptr(2) or call.ptr(3) & ~_PTRACE_OPTIONS):
        return  # EIO
    _trace_pid(call, call.signed(1))


_IOV_MAX: Final = 1024


def _holds_any(call: Call, vector: int, count: int) -> bool:
    """Whether there is any byte in an array of struct iovec; nothing is asked for nothing."""
    if count > _IOV_MAX:
        return False  # EINVAL
    word = call.abi.bits // 8
    data = call.read(vector, count * 2 * word)
    sizes = [int.from_bytes(data[at : at + word], "little", signed=True) for at in range(word, len(data), 2 * word)]
    return any(sizes) and min(sizes) >= 0  # EINVAL


@guards("process_vm_readv", "process_vm_writev")
def process_vm(call: Call) -> None:
    """process_vm_readv(2): as attaching with ptrace(2)."""
    if not call.ptr(5) and _holds_any(call, call.ptr(1), call.ptr(2)) and _holds_any(call, call.ptr(3), call.ptr(4)):
        _trace_pid(call, call.signed(0))


@guards("kcmp")
def kcmp(call: Call) -> None:
    """kcmp(2): both processes must be ones that the caller may trace."""
    _trace_pid(call, call.signed(0))
    _trace_pid(call, call.signed(1))


@guards("pidfd_getfd")
def pidfd_getfd(call: Call) -> None:
    """pidfd_getfd(2): as attaching with ptrace(2)."""
    if not call.unsigned(2):
        _trace(call, behind(call))


@guards("process_madvise")
def process_madvise(call: Call) -> None:
    """process_madvise(2): as reading what procfs shows of its memory, by the filesystem's ids: EACCES."""
    if not call.unsigned(4) and not permissions.may_profile(call.creds):
        _holds_any(call, call.ptr(1), call.ptr(2))  # EFAULT
        _trace(call, behind(call), EACCES, by_fs_ids=True)


@guards("get_robust_list")
def get_robust_list(call: Call) -> None:
    """get_robust_list(2) of another task: as attaching with ptrace(2)."""
    _trace_pid(call, call.signed(0))


_MPOL_MF: Final = 6
"""MPOL_MF_MOVE | MPOL_MF_MOVE_ALL: what move_pages(2) knows."""


@guards("move_pages")
def move_pages(call: Call) -> None:
    """move_pages(2) of another process: as attaching with ptrace(2)."""
    if not call.unsigned(5) & ~_MPOL_MF:
        _trace_pid(call, call.signed(0))


@guards("migrate_pages")
def migrate_pages(call: Call) -> None:
    """migrate_pages(2) of another process: as attaching with ptrace(2)."""
    _trace_pid(call, call.signed(0))
