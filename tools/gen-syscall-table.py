#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Write doc/SYSCALLS.md from the declarations of the handlers: tools/gen-syscall-table.py [--check].

With --check nothing is written; the exit status is 1 where the file is not what would be written.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP))

import remainroot.handlers.every_guard  # noqa: E402, F401  # declares every syscall and every guard
from remainroot import abi as abis  # noqa: E402
from remainroot.dispatch import GUARDED_WHEN, GUARDS, INT, SYSCALLS  # noqa: E402

if TYPE_CHECKING:
    from remainroot.dispatch import Guard, Handler, Syscall, When

TARGET = TOP / "doc" / "SYSCALLS.md"

HEAD = """\
# Handled syscalls

This file is written by `tools/gen-syscall-table.py` from the declarations in `remainroot/handlers/`. Do not edit it.
A syscall that is not listed is answered by the kernel.

- The columns with the names of ABIs hold the syscall's number there, or nothing where that ABI does not have it.
  x32 numbers are without their common bit 0x40000000. i386 is also what 32-bit programs use on x86_64, and arm what
  they use on aarch64.
- "Caught if" is what the kernel's filter tests before the handler is asked; arguments are counted from 0. Some calls
  are let through when glibc's loader makes them (`remainroot/engines/loader.py`).
- Most handlers let the kernel answer where nothing has to be faked.

"""

STRICT = """\
## With `--strict`

With that option, and only then, these are caught as well. A guard may refuse what
real credentials like the caller's would not do; then the handler above, if there is one, answers.

"""


def condition(when: When) -> str:
    """One argument test, as C would put it."""
    return comparison(when) + (f" && arg{when.nonzero} != 0" if when.nonzero >= 0 else "")


def comparison(when: When) -> str:
    """Of the argument with a value."""
    argument = f"arg{when.arg}"
    if when.mask != INT:
        masked = f"{argument} & {when.mask:#o}"
        if when.op == "eq" and when.value == when.mask:
            return masked
        argument = f"({masked})"
    return f"{argument} {'==' if when.op == 'eq' else '!='} {when.value}"


def purpose(function: Handler | Guard) -> str:
    """The first sentence of the function's documentation, for a cell."""
    text = inspect.getdoc(function) or ""
    return " ".join(text.split("\n\n", 1)[0].split()).replace("|", "\\|")


def numbers_of(name: str) -> list[str]:
    """The syscall's numbers, one cell for each ABI."""
    found = [abi.numbers.get(name) for abi in abis.ALL]
    return ["" if number is None else str(number & ~abis.X32_BIT) for number in found]


def where(function: Handler | Guard) -> str:
    """Module and name of a handler or guard."""
    return f"`{function.__module__.removeprefix('remainroot.handlers.')}:{function.__name__}`"


def caught(when: tuple[When, ...], *, readers: bool = False, waits: bool = False, lax: bool = True) -> str:
    """The cell that says which calls are meant."""
    of_readers = ["or made by a reader (`remainroot/readers.py`)"] if readers else []
    whenever = "with `notify`" if waits else "always" if lax else "with `--strict`"
    return "<br>".join([f"`{condition(test)}`" for test in when] + of_readers) or whenever


def row(syscall: Syscall) -> str:
    """The table's line for one syscall."""
    cells = (
        f"`{syscall.name}`",
        *numbers_of(syscall.name),
        caught(syscall.when, readers=syscall.readers, waits=syscall.waits, lax=syscall.lax),
        where(syscall.handler),
        purpose(syscall.handler),
    )
    return f"| {' | '.join(cells)} |"


def guard_row(name: str, guard: Guard) -> str:
    """The line for one guarded syscall."""
    cells = (f"`{name}`", *numbers_of(name), caught(GUARDED_WHEN[name]), where(guard), purpose(guard))
    return f"| {' | '.join(cells)} |"


def head(*columns: str) -> list[str]:
    """A table's first two lines."""
    return [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]


def document() -> str:
    """The whole file."""
    names = [abi.name for abi in abis.ALL]
    lines = [
        f"{HEAD}{len(SYSCALLS)} syscalls are handled.\n",
        *head("syscall", *names, "caught if", "handler", "what it does"),
        *(row(syscall) for _, syscall in sorted(SYSCALLS.items())),
        f"\n{STRICT}{len(GUARDS)} syscalls are guarded.\n",
        *head("syscall", *names, "caught if", "guard", "what it asks"),
        *(guard_row(name, guard) for name, guard in sorted(GUARDS.items())),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write or check."""
    text = document()
    if sys.argv[1:] == ["--check"]:
        if not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text:
            sys.stderr.write("doc/SYSCALLS.md is not current: run tools/gen-syscall-table.py\n")
            return 1
        return 0
    if sys.argv[1:]:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
