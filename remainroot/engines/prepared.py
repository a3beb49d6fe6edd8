# SPDX-License-Identifier: GPL-2.0-or-later
"""Filters, and the rules of the compiled loop, made once when the package is built.

They follow from the declarations and from nothing else, so that a start which reads them from a file need not import a
single handler: it takes a third less time. Only what is built for installation has such a file (`setup.py`), never a
source tree, where declarations change. Where there is none, or it is another machine's, they are made here.
"""

from __future__ import annotations

import os
import stat
from marshal import dumps, loads

from remainroot.kernel import MACHINE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_MARSHAL_VERSION: Final = 2  # the same for every Python

_LOADER: Final = "/lib64/ld-linux-x86-64.so.2"
_LARGEST_LOADER: Final = 1 << 20
_HEAD: Final = 1024
"""So much of it tells one loader from another: the identity that the linker gave it is in there."""
_NONE: Final = (b"", b"")


class Prepared:
    """What an engine needs to know of the declarations before the first call.

    `notify`: the program that sends calls to a listener; `rules`: those of `remainroot.quick`; `blind`: the program of
    `--engine kernel`. `known` is for `completed`.
    """

    __slots__ = ("blind", "known", "notify", "rules")

    def __init__(self, notify: bytes, rules: bytes, blind: bytes, known: tuple[bytes, bytes] = _NONE) -> None:
        self.notify = notify
        self.rules = rules
        self.blind = blind
        self.known = known


def completed(code: bytes, root: str, known: tuple[bytes, bytes] = _NONE) -> bytes:
    """The program, which now lets through what the loader below `root` asks at every exec (`engines.loader`).

    `known` is the head of one loader, and what this would make of `code` for it.
    """
    head, fd = _loader_below(root)
    if fd < 0:
        return code
    try:
        if head == known[0]:
            return known[1]
        from remainroot.engines.loader import fill

        return fill(code, head + os.read(fd, _LARGEST_LOADER))
    except OSError:
        return code
    finally:
        os.close(fd)


def _loader_below(root: str) -> tuple[bytes, int]:
    """The first bytes of the loader, and a descriptor to read the rest from; -1 if there is none."""
    try:
        # What is there may be anything, a FIFO too.
        fd = os.open(root + _LOADER, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return b"", -1
    try:
        st = os.fstat(fd)
        if stat.S_ISREG(st.st_mode) and st.st_size <= _LARGEST_LOADER:
            return os.read(fd, _HEAD), fd
    except OSError:
        pass
    os.close(fd)
    return b"", -1


def make(*, strict: bool) -> Prepared:
    """All of it, from the declarations, but nothing of a loader."""
    from remainroot.dispatch import build_table
    from remainroot.engines import kernel_only
    from remainroot.engines.filter import RET_USER_NOTIF, program
    from remainroot.quick import pack_rules

    return Prepared(
        program(RET_USER_NOTIF, strict=strict), pack_rules(build_table(strict=strict)), kernel_only.program()
    )


def _path(directory: str, *, strict: bool) -> str:
    return os.path.join(directory, "strict.bin" if strict else "usual.bin")


def write(directory: str) -> None:
    """Write the files into `directory`, for machines like this one."""
    for strict in (False, True):
        made = make(strict=strict)
        head, fd = _loader_below("")
        if fd >= 0:
            os.close(fd)
        with open(_path(directory, strict=strict), "wb") as file:
            parts = (MACHINE, made.notify, made.rules, made.blind, (head, completed(made.notify, "")))
            file.write(dumps(parts, _MARSHAL_VERSION))


def get(*, strict: bool) -> Prepared:
    """From the file, if there is one for us; else made."""
    try:
        with open(_path(os.path.dirname(__file__), strict=strict), "rb") as file:
            machine, *parts = loads(file.read())  # noqa: S302  # it is a part of this package as the modules are
    except FileNotFoundError:
        return make(strict=strict)
    return Prepared(*parts) if machine == MACHINE else make(strict=strict)
