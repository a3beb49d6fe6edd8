# SPDX-License-Identifier: GPL-2.0-or-later
"""Filters, and the rules of the compiled loop, made once when the package is built.

They follow from the declarations and from nothing else, so that a start which reads them from a file need not import a
single handler: it takes a third less time. Only what is built for installation has such a file (`setup.py`), never a
source tree, where declarations change. Where there is none, or it is another machine's, they are made here.
"""

from __future__ import annotations

import os
from marshal import dumps, loads

from remainroot.kernel import MACHINE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_MARSHAL_VERSION: Final = 2  # the same for every Python


class Prepared:
    """What an engine needs to know of the declarations before the first call.

    `notify`: the program that sends calls to a listener; `rules`: those of `remainroot.quick`; `blind`: the program of
    `--engine kernel`.
    """

    __slots__ = ("blind", "notify", "rules")

    def __init__(self, notify: bytes, rules: bytes, blind: bytes) -> None:
        self.notify = notify
        self.rules = rules
        self.blind = blind


def make(*, strict: bool) -> Prepared:
    """All of it, from the declarations."""
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
        with open(_path(directory, strict=strict), "wb") as file:
            file.write(dumps((MACHINE, made.notify, made.rules, made.blind), _MARSHAL_VERSION))


def get(*, strict: bool) -> Prepared:
    """From the file, if there is one for us; else made."""
    try:
        with open(_path(os.path.dirname(__file__), strict=strict), "rb") as file:
            machine, *parts = loads(file.read())  # noqa: S302  # it is a part of this package as the modules are
    except FileNotFoundError:
        return make(strict=strict)
    return Prepared(*parts) if machine == MACHINE else make(strict=strict)
