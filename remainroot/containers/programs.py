# SPDX-License-Identifier: GPL-2.0-or-later
"""Why a program cannot be started, where execve(2) says no more than ENOENT or ENOEXEC."""

from __future__ import annotations

import os
import stat
from struct import Struct
from struct import error as StructError  # noqa: N812

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_PT_INTERP: Final = 3
_MACHINES: Final = {3: "i386", 40: "arm", 62: "x86_64", 183: "aarch64", 21: "ppc64", 22: "s390x", 243: "riscv"}
_ALSO: Final = {"x86_64": ("i386",), "aarch64": ("arm",)}


class Elf:
    """What the head of an ELF file says: elf(5)."""

    __slots__ = ("interpreter", "machine")

    def __init__(self, machine: int, interpreter: str) -> None:
        self.machine = _MACHINES.get(machine, f"machine {machine}")
        self.interpreter = interpreter
        """The loader that a dynamic program asks for, "" for a static one."""


def read_elf(file: int) -> Elf | None:
    """The ELF header of the open `file`, or None if it is none (or broken)."""
    head = os.pread(file, 64, 0)
    if head[:4] != b"\x7fELF" or head[4] not in (1, 2) or head[5] not in (1, 2):
        return None
    order = "<" if head[5] == 1 else ">"
    try:
        if head[4] == 2:
            machine, table = Struct(order + "18xH12xQ").unpack_from(head)
            size, count = Struct(order + "54xHH").unpack_from(head)
            entry = Struct(order + "I4xQ16xQ")
        else:
            machine, table = Struct(order + "18xH8xI").unpack_from(head)
            size, count = Struct(order + "42xHH").unpack_from(head)
            entry = Struct(order + "II8xI")
        for index in range(min(count, 64)):
            kind, offset, length = entry.unpack_from(os.pread(file, entry.size, table + index * size))
            if kind == _PT_INTERP:
                return Elf(machine, os.fsdecode(os.pread(file, min(length, 4096), offset).rstrip(b"\0")))
    except StructError:
        return None
    return Elf(machine, "")


def find(name: str, path: str) -> str:
    """Where execvp(3) would find `name`, by the search path `path`; "" if nowhere."""
    if "/" in name:
        return name if os.path.lexists(name) else ""
    for directory in path.split(":"):
        file = f"{directory or '.'}/{name}"
        if os.access(file, os.X_OK) and not os.path.isdir(file):
            return file
    return ""


def obstacle(file: str, *, depth: int = 0) -> str:
    """Why the program in `file`, which exists, cannot be started: a clause, or "" if nothing is seen to be wrong."""
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):
            return f"{file} is not a regular file"
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return f"{file} is a symbolic link to {os.readlink(file)}, which does not exist here"
    except OSError:
        return ""
    try:
        head = os.pread(fd, 256, 0)
        elf = read_elf(fd)
    finally:
        os.close(fd)
    if elf is not None:
        return _elf_obstacle(file, elf)
    if head[:2] == b"#!" and depth < 4:
        return _script_obstacle(file, head[2:].split(b"\n", 1)[0].split(maxsplit=1), depth)
    return ""


def _elf_obstacle(file: str, elf: Elf) -> str:
    machine = os.uname().machine
    if elf.machine != machine and elf.machine not in _ALSO.get(machine, ()):
        return f"{file} is a program for {elf.machine}, and this machine is {machine}"
    if elf.interpreter and not os.path.exists(elf.interpreter):
        return f"{file} needs the loader {elf.interpreter}, which does not exist here"
    return ""


def _script_obstacle(file: str, words: list[bytes], depth: int) -> str:
    if not words:
        return ""
    interpreter = os.fsdecode(words[0])
    if not os.path.lexists(interpreter):
        return f"{file} needs the interpreter {interpreter}, which does not exist here"
    return obstacle(interpreter, depth=depth + 1)
