# SPDX-License-Identifier: GPL-2.0-or-later
"""ptrace(2): the requests, the stops and the registers that the ptrace engines need.

The requests of the hot path are made with bare ctypes, without argument conversion and without the GIL's
release, because they are a third of what a caught call costs (0.45 us each so, 0.9 us with argtypes). The
rare ones that need every register use python-ptrace's binding (`ptrace.binding.func`), imported when the
first of them is made: that costs more than 25 ms.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import addressof, c_int, c_long, c_ulong
from struct import Struct

from remainroot import readers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

MACHINE: Final = os.uname().machine

# requests
POKEUSER: Final = 6
CONT: Final = 7
SYSCALL: Final = 24
GETEVENTMSG: Final = 0x4201
GETSIGINFO: Final = 0x4202
SETSIGINFO: Final = 0x4203
GETREGSET: Final = 0x4204
SETREGSET: Final = 0x4205
SEIZE: Final = 0x4206
INTERRUPT: Final = 0x4207
LISTEN: Final = 0x4208
GETSIGMASK: Final = 0x420A
SETSIGMASK: Final = 0x420B
GET_SYSCALL_INFO: Final = 0x420E

# options of SEIZE
O_TRACESYSGOOD: Final = 0x01
O_TRACEFORK: Final = 0x02
O_TRACEVFORK: Final = 0x04
O_TRACECLONE: Final = 0x08
O_TRACEEXEC: Final = 0x10
O_TRACESECCOMP: Final = 0x80
O_EXITKILL: Final = 0x100000

# what a wait status says: bits 8 to 15 the signal, 16 and up the event
WALL: Final = 0x40000000
BIRTHS: Final = (1, 2, 3)
"""The events of a fork, a vfork and a clone, whose message is the new task's number."""
EVENT_EXEC: Final = 4
EVENT_STOP: Final = 128
SECCOMP_STOP: Final = 0x0007_057F
"""The wait status of a seccomp stop: PTRACE_EVENT_SECCOMP, SIGTRAP."""
SYSCALL_STOP: Final = 0x857F
"""The wait status of a stop at a syscall's entry or exit: SIGTRAP with PTRACE_O_TRACESYSGOOD's bit."""

# the `op` of struct ptrace_syscall_info
OP_ENTRY: Final = 1
OP_EXIT: Final = 2
OP_SECCOMP: Final = 3

AARCH64: Final = 0xC00000B7
ARM: Final = 0x40000028
I386: Final = 0x40000003
X86_64: Final = 0xC000003E

# ---------------------------------------------------------------- requests

request: Final = ctypes.PyDLL(None).ptrace
"""ptrace(2) as it is: -1 for every failure (the task was killed, nearly always). Request and tid may be
plain ints; the last two arguments must be ctypes values wherever they are not 0, as a plain int would be
passed as a C int."""

_checked: Final = ctypes.CDLL(None, use_errno=True).ptrace
_checked.argtypes = (c_long, c_long, c_long, c_long)
_checked.restype = c_long


def demand(code: int, tid: int, address: int = 0, data: int = 0) -> int:
    """ptrace(2); its failure is an OSError (ESRCH: the task is gone, or not stopped)."""
    result: int = _checked(code, tid, address, data)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


_info_buffer: Final = (ctypes.c_char * 88)()
INFO_SIZE: Final = c_long(88)
INFO: Final = ctypes.byref(_info_buffer)
INFO_ADDRESS: Final = addressof(_info_buffer)
"""Where `request(GET_SYSCALL_INFO, tid, INFO_SIZE, INFO)` writes."""
_info_fields: Final = Struct("=B3xI16xQ6Q")
_info_call: Final = Struct("=4xI16xQ")
_info_args: Final = Struct("=32x6Q")
_info_from: Final = Struct("=12xI")
_info_view: Final = memoryview(_info_buffer).cast("B")
INFO_BYTES: Final = _info_view
"""The bytes of INFO: the first is the `op`."""


def call_info() -> tuple[int, ...]:
    """What INFO holds of an entry or a seccomp stop: (op, audit architecture, number, six arguments)."""
    return _info_fields.unpack_from(_info_view)


def call_number() -> tuple[int, ...]:
    """What INFO holds of an entry stop: (audit architecture, number)."""
    return _info_call.unpack_from(_info_view)


def call_args() -> tuple[int, ...]:
    """What INFO holds of an entry stop: the six arguments."""
    return _info_args.unpack_from(_info_view)


_siginfo: Final = (ctypes.c_int * 32)()
SIGINFO: Final = ctypes.byref(_siginfo)
"""Where `request(GETSIGINFO, tid, 0, SIGINFO)` writes, and SETSIGINFO reads."""
_SIGCHLD: Final = 17
_SI_USER: Final = 0
_SI_TKILL: Final = -6


def sender() -> tuple[int, int]:
    """Who SIGINFO says has sent the signal, by kill(2), tgkill(2) or by what became of a child: pid, and user id.

    (0, 0) where the kernel sent it, or the sender said itself who it is (sigqueue(3)).
    """
    signo, _, code, _, pid, uid = _siginfo[:6]
    return (pid, uid & 0xFFFF_FFFF) if code in (_SI_USER, _SI_TKILL) or (signo == _SIGCHLD and code > 0) else (0, 0)


def set_sender(uid: int) -> None:
    """Have SIGINFO say that the sender has this user id."""
    _siginfo[5] = c_int(uid).value


def by_reader(kind: int) -> bool:
    """Whether INFO, of an entry stop, says that such a reader makes the call (`remainroot.readers`)."""
    half: int = _info_from.unpack_from(_info_view)[0]
    own = kind == readers.ANY
    found = readers.LOW <= half < (readers.TOP if own else readers.HIGH) or (own and not half)
    return found and call_number()[0] == readers.ARCH


def failed() -> bool:
    """Whether INFO, of an exit stop, says that the call failed."""
    return _info_view[32] != 0


def exit_value() -> int:
    """The result (a negative errno where it failed) that INFO holds of an exit stop."""
    value: int = c_long.from_buffer(_info_buffer, 24).value
    return value


_message: Final = c_ulong()


def event_message(tid: int) -> int:
    """PTRACE_GETEVENTMSG; 0 if the task is gone."""
    _message.value = 0
    request(GETEVENTMSG, tid, 0, ctypes.byref(_message))
    return _message.value


# ---------------------------------------------------------------- skipping the call a task is about to make

_value: Final = c_long()
_MINUS_ONE: Final = c_long(-1)
_ORIG_RAX: Final = c_long(15 * 8)
_RAX: Final = c_long(10 * 8)


def _skip_x86(tid: int, value: int) -> int:
    _value.value = value
    request(POKEUSER, tid, _ORIG_RAX, _MINUS_ONE)
    return request(POKEUSER, tid, _RAX, _value)  # type: ignore[no-any-return]


NT_PRSTATUS: Final = 1
NT_ARM_SYSTEM_CALL: Final = 0x404
_ARM_REGISTERS: Final = 18 * 4
"""The size of the general registers of a 32-bit task, which tells it from a 64-bit one."""

_regset: Final = (ctypes.c_char * 512)()
_regset_iov: Final = (c_ulong * 2)(addressof(_regset), 0)
"""A struct iovec."""
_number: Final = c_int(-1)
_number_iov: Final = (c_ulong * 2)(addressof(_number), 4)
_regset_type: Final = c_long(NT_PRSTATUS)
_number_type: Final = c_long(NT_ARM_SYSTEM_CALL)


def set_result_arm(registers: Any, size: int, value: int) -> None:
    """Put `value` into x0, or r0 of a 32-bit task, of the NT_PRSTATUS registers of `size` bytes."""
    if size == _ARM_REGISTERS:
        ctypes.c_int32.from_buffer(registers).value = value
    else:
        ctypes.c_int64.from_buffer(registers).value = value


def _skip_aarch64(tid: int, value: int) -> int:
    _regset_iov[1] = 512
    if request(GETREGSET, tid, _regset_type, ctypes.byref(_regset_iov)) < 0:
        return -1
    set_result_arm(_regset, _regset_iov[1], value)
    request(SETREGSET, tid, _regset_type, ctypes.byref(_regset_iov))
    _number.value = -1
    return request(SETREGSET, tid, _number_type, ctypes.byref(_number_iov))  # type: ignore[no-any-return]


skip: Final = _skip_aarch64 if MACHINE == "aarch64" else _skip_x86
"""skip(tid, value): the task, at a call's entry or seccomp stop, does not make the call and gets `value` (a
negative errno: failure) as its result. -1 if the task is gone. The kernel does not restart a call whose
number is -1, whatever its result."""


# ---------------------------------------------------------------- all registers, for injected calls


class Layout:
    """Where one ABI keeps a call: indices of its registers, and the width of a word in bytes.

    `number` is the register that names the call when the instruction is run again, `entered` the one that
    does once the call has been entered (None: regset NT_ARM_SYSTEM_CALL), `step` the size in bytes of the
    instruction.
    """

    __slots__ = ("args", "entered", "ip", "number", "result", "sp", "step", "word")

    def __init__(
        self,
        word: int,
        args: tuple[int, ...],
        number: int,
        entered: int | None,
        result: int,
        ip: int,
        sp: int,
        step: int,
    ) -> None:
        self.word = word
        self.args = args
        self.number = number
        self.entered = entered
        self.result = result
        self.ip = ip
        self.sp = sp
        self.step = step


# user_regs_struct: r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ...
LAYOUTS: Final[dict[int, Layout]] = {
    X86_64: Layout(8, (14, 13, 12, 7, 9, 8), 10, 15, 10, 16, 19, 2),
    I386: Layout(8, (5, 11, 12, 13, 14, 4), 10, 15, 10, 16, 19, 2),
    AARCH64: Layout(8, (0, 1, 2, 3, 4, 5), 8, None, 0, 32, 31, 4),
    ARM: Layout(4, (0, 1, 2, 3, 4, 5), 7, None, 0, 15, 13, 4),
}
_THUMB: Final = 1 << 5
_CPSR: Final = 16


class Registers:
    """Every register of a stopped task, as of when this was made. OSError(ESRCH): the task is gone."""

    __slots__ = ("_regs", "_words", "layout", "tid")

    def __init__(self, tid: int, arch: int) -> None:
        from ptrace.binding.func import PtraceError, ptrace_getregs

        self.tid = tid
        self.layout = LAYOUTS[arch]
        try:
            self._regs = ptrace_getregs(tid)
        except PtraceError as error:
            raise OSError(error.errno, os.strerror(error.errno)) from None
        kind = c_ulong if self.layout.word == 8 else ctypes.c_uint32
        self._words = (kind * (ctypes.sizeof(self._regs) // self.layout.word)).from_buffer(self._regs)

    def __getitem__(self, index: int) -> int:
        value: int = self._words[index]
        return value

    def __setitem__(self, index: int, value: int) -> None:
        self._words[index] = value

    def snapshot(self) -> list[int]:
        """All of them, for `restore`."""
        return list(self._words)

    def restore(self, words: list[int]) -> None:
        """Set all of them (here; `write` writes them to the task)."""
        self._words[:] = words

    @property
    def step(self) -> int:
        """The size of the instruction that made the call the task is in."""
        if self.layout.word == 4 and self[_CPSR] & _THUMB:
            return 2
        return self.layout.step

    def make_again(self, nr: int) -> None:
        """Have the task run the instruction of the call that it has made once more, as the call `nr`; then `write`."""
        if self.layout.entered is not None:
            self[self.layout.entered] = -1  # nothing to restart
        self[self.layout.number] = nr
        self[self.layout.ip] -= self.step

    def write(self) -> None:
        """Write them to the task."""
        from ptrace.binding.func import PtraceError, ptrace_setregs

        try:
            ptrace_setregs(self.tid, self._regs)
        except PtraceError as error:
            raise OSError(error.errno, os.strerror(error.errno)) from None

    def enter_instead(self, nr: int) -> None:
        """Make `nr` the call that the task, at a call's entry, is about to make; then `write` the rest."""
        if self.layout.entered is None:
            _number.value = nr
            demand(SETREGSET, self.tid, NT_ARM_SYSTEM_CALL, addressof(_number_iov))
        else:
            self[self.layout.entered] = nr


_PEEKUSER: Final = 3


def peek_user(tid: int, index: int) -> int:
    """A register of a stopped task, by its number in the machine's user_regs_struct; signed. OSError(ESRCH): gone."""
    ctypes.set_errno(0)
    value: int = _checked(_PEEKUSER, tid, index * 8, 0)
    if value == -1:  # which a register may well hold
        number = ctypes.get_errno()
        if number:
            raise OSError(number, os.strerror(number))
    return value


_mask: Final = ctypes.c_uint64()


def signal_mask(tid: int) -> int:
    """The task's blocked signals, as a bit mask."""
    demand(GETSIGMASK, tid, 8, addressof(_mask))
    return _mask.value


def set_signal_mask(tid: int, mask: int) -> None:
    """Set the task's blocked signals."""
    _mask.value = mask
    demand(SETSIGMASK, tid, 8, addressof(_mask))


# ---------------------------------------------------------------- trying


def refused(error: OSError) -> str:
    """Why tracing failed."""
    reason = os.strerror(error.errno or 0)
    return f"ptrace is refused ({reason}): yama, a tracer of ours, or the container's seccomp profile forbids it"


def call_info_missing(pid: int, op: int) -> str | None:
    """Why a stop of the child cannot be told to be one of that kind; None: it can."""
    try:
        demand(GET_SYSCALL_INFO, pid, INFO_SIZE.value, INFO_ADDRESS)
    except OSError as error:
        return f"PTRACE_GET_SYSCALL_INFO is refused ({os.strerror(error.errno or 0)}): it needs Linux 5.3"
    if call_info()[0] != op:
        return "a stopped call is not reported as such"
    return None
