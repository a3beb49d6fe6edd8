# SPDX-License-Identifier: GPL-2.0-or-later
"""Which system call an instruction made, read from the code before it, when the register that said so is lost.

Compilers and libcs move a constant to the accumulator a few bytes before the instruction. glibc's syscall(2) function
moves what it was called with: then the constant is in the code of its caller (x86_64), or on the stack (i386).

To take one call for another is worse than not to know: what is not quite as expected has no number.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    Read = Callable[[int, int], bytes]
    """Reads memory: address, number of bytes; OSError where there is none."""

UNKNOWN: Final = -1
_BEFORE: Final = 96
_SYSCALLS: Final = (b"\x0f\x05", b"\xcd\x80")
_LENGTH: Final = 2

# A prefix makes it another register's, r8 or r15.
_REX_B: Final = rb"(?<![\x41\x43\x45\x47\x49\x4b\x4d\x4f])"
_REX_R: Final = rb"(?<![\x44-\x47\x4c-\x4f])"
ACCUMULATOR: Final = re.compile(
    rb"(?:" + _REX_B + rb"\xb8|\x48\xc7\xc0)(?P<constant>.{4})"
    rb"|" + _REX_B + rb"\x89[\xc0\xc8\xd0\xd8\xe0\xe8\xf0\xf8]"
    rb"|" + _REX_R + rb"\x8b[\x00-\x07\x40-\x47\x80-\x87\xc0-\xc7]",
    re.DOTALL,
)
"""What is moved to eax or rax: a constant, or something else."""
FIRST_ARGUMENT: Final = re.compile(
    _REX_B + rb"\xbf(?P<constant>.{4})"
    rb"|" + _REX_B + rb"\x89[\xc7\xcf\xd7\xdf\xe7\xef\xf7\xff]"
    rb"|" + _REX_R + rb"\x8b[\x38-\x3f\x78-\x7f\xb8-\xbf\xf8-\xff]",
    re.DOTALL,
)
"""The same of edi or rdi."""

_FUNCTION: Final = bytes.fromhex("4889f8 4889f7 4889d6 4889ca 4d89c2 4d89c8 4c8b4c2408 0f05")
"""x86_64: all of the function before its call returns; it leaves the stack alone."""
_MARK: Final = b"\xf3\x0f\x1e\xfa"
"""endbr64, where a function or an entry of the procedure linkage table may begin."""
_VDSO_RETURN: Final = b"\x5d\x5a\x59\xc3"
"""What follows the instruction in i386's vdso: pop ebp, edx, ecx; return."""
_VDSO_SAVED: Final = 12
_FUNCTION_32: Final = bytes.fromhex("8b442414 65ff1510000000")
"""i386: the number is taken from the stack, and the vdso called."""


def number(read: Read, ip: int, stack: int, word: int) -> int:
    """Of the call that the instruction before `ip` made; UNKNOWN if it cannot be told.

    `stack` is the stack pointer there, `word` the size of a register in bytes.
    """
    code = read(ip - _BEFORE, _BEFORE)
    if code[-_LENGTH:] not in _SYSCALLS:
        return UNKNOWN
    if code.endswith(_FUNCTION) and word == 8:
        return _told_to_function(read, ip - len(_FUNCTION), stack)
    if word == 4 and read(ip, len(_VDSO_RETURN)) == _VDSO_RETURN:
        # __kernel_vsyscall: the number was moved by whoever called it, whose address is behind three saved registers.
        stack += _VDSO_SAVED
        code = read(_word(read, stack, 4) - _BEFORE, _BEFORE)
        if code.endswith(_FUNCTION_32):
            return _word(read, stack + 4 + _FUNCTION_32[3], 4)
    else:
        code = code[:-_LENGTH]
    return constant(ACCUMULATOR, code)


def constant(to: re.Pattern[bytes], code: bytes) -> int:
    """The constant that `code` moves to a register last of all; UNKNOWN if there is none, or something else later."""
    found = UNKNOWN
    at = 0
    while match := to.search(code, at):
        value = match["constant"]
        found = UNKNOWN if value is None else int.from_bytes(value, "little")
        at = match.start() + 1
    return found


def _told_to_function(read: Read, function: int, stack: int) -> int:
    """The first argument of glibc's syscall(2) function, as its caller's code has it, if that is who called it."""
    back = int.from_bytes(read(stack, 8), "little")
    code = read(back - _BEFORE, _BEFORE)
    target = 0
    if code[-6:-4] == b"\xff\x15":  # call *SLOT(%rip)
        target, code = _word(read, _relative(code, back), 8), code[:-6]
    elif code[-5] == 0xE8:  # call
        target, code = _through_table(read, _relative(code, back)), code[:-5]
    return constant(FIRST_ARGUMENT, code) if target in (function, function - len(_MARK)) else UNKNOWN


def _through_table(read: Read, target: int) -> int:
    """Where a jump at `target`, an entry of the procedure linkage table, leads; `target` if there is none."""
    code = read(target, 12)
    skip = len(_MARK) if code.startswith(_MARK) else 0
    skip += code[skip] == 0xF2  # bnd
    if code[skip : skip + 2] != b"\xff\x25":  # jmp *SLOT(%rip)
        return target
    end = skip + 6
    return _word(read, _relative(code[:end], target + end), 8)


def _relative(code: bytes, end: int) -> int:
    """The address that the last four bytes of `code` give, relative to its end."""
    return end + int.from_bytes(code[-4:], "little", signed=True)


def _word(read: Read, address: int, size: int) -> int:
    return int.from_bytes(read(address, size), "little")
