# SPDX-License-Identifier: GPL-2.0-or-later
"""The C programs of the tests: compiled once a session, for any ABI of this machine."""

from __future__ import annotations

import functools
import os
import subprocess
import tempfile
from pathlib import Path

FIXTURES = Path(__file__).parent / "fixtures"
_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def abis() -> tuple[str, ...]:
    """The ABIs that programs can be compiled for here."""
    return ("x86_64", "i386") if os.uname().machine == "x86_64" else (os.uname().machine,)


@functools.cache
def program(source: Path, abi: str = "", *flags: str) -> Path:
    """The program compiled from `source`; `abi` is one of `abis()`, "" the machine's own."""
    if not _KEPT:
        _KEPT.append(tempfile.TemporaryDirectory(prefix="remainroot-programs-"))
        Path(_KEPT[0].name).chmod(0o755)
    wide = ["-m32"] if abi == "i386" else []
    target = Path(_KEPT[0].name) / "-".join([source.stem, abi or "own", *(flag.strip("-") for flag in flags)])
    command = ["gcc", "-Wall", "-Werror", "-O1", "-pthread", *wide, *flags, "-o", str(target), str(source)]
    subprocess.run(command, check=True)
    return target
