# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls that the kernel is too old for, made believe by a filter that says ENOSYS; `make kernels` has real old ones."""

from __future__ import annotations

import subprocess
import sys

import pytest

import remainroot.handlers  # noqa: F401  # declares every syscall
from remainroot import abi as abis
from remainroot.dispatch import build_table
from remainroot.engines import newer
from remainroot.engines.filter import RET_ALLOW, RET_USER_NOTIF, program
from tests.engines.test_filter import instructions, interpret
from tests.launching import ENGINES, PLACE, REMAINROOT, ROOT, environment

OLD_KERNEL = """
import errno, os, sys
from remainroot import abi
from remainroot.dispatch import ALWAYS
from remainroot.engines import newer
from remainroot.engines.filter import RET_ERRNO, assemble
from remainroot.kernel import load_filter
numbers = {nr: ALWAYS for nr in newer.NUMBERS if nr > int(sys.argv[1])}
load_filter(assemble({abi.native()[0].audit_arch: numbers}, RET_ERRNO | errno.ENOSYS))
os.execvp(sys.argv[2], sys.argv[2:])
"""
CALLS = """
import ctypes
call = ctypes.CDLL(None, use_errno=True).syscall
print(call(452, -100, b"f", 0o640, 0), ctypes.get_errno())
print(call(465, -100, b"f", 0, None, 0), ctypes.get_errno())
print(call(439, -100, b"f", 4, 0))
"""


def test_numbers_are_those_of_the_declared_calls() -> None:
    for strict in (False, True):
        for rows in build_table(strict=strict).values():
            declared = {nr & ~abis.X32_BIT for nr in rows if newer.is_newer(nr, 439)}
            assert declared <= {*newer.NUMBERS}
            if strict:
                assert declared == {*newer.NUMBERS}
    assert [*newer.NUMBERS] == sorted(newer.NUMBERS, reverse=True)


@pytest.mark.parametrize("known", [439, 451, 466])
def test_newer_calls_are_let_through_and_no_others(known: int) -> None:
    usual = program(RET_USER_NOTIF, strict=True)
    code, before = instructions(newer.spared(usual, known)), instructions(usual)
    own = abis.X32.numbers["setxattr"] if abis.X32 in abis.native() else 0
    assert not newer.is_newer(own, known)  # x32 has 512 and up for itself
    for arch, rows in build_table(strict=True).items():
        for nr, row in rows.items():
            wanted = RET_ALLOW if newer.is_newer(nr, known) else interpret(before, arch, nr)
            assert interpret(code, arch, nr) == wanted, (row.name, known)


def test_nothing_is_added_for_a_kernel_that_has_all() -> None:
    usual = program(RET_USER_NOTIF)
    assert newer.spared(usual, newer.NUMBERS[0]) == usual


@pytest.mark.parametrize("known", [451, 464])
@pytest.mark.parametrize("engine", ENGINES)
def test_what_the_kernel_lacks_fails_as_it_says(engine: str, known: int) -> None:
    """And what it has is answered."""
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n" + OLD_KERNEL
    command = [*PLACE, sys.executable, "-c", script, str(known), *REMAINROOT[:-1], engine, "--"]
    script = 'cd "$(mktemp -d)"; touch f; chown 42:43 f; "$0" -c "$1"; stat -c %a:%u f'
    command += ["sh", "-ec", script, sys.executable, CALLS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment(), check=False)
    assert done.stderr == ""
    chmod = "-1 38" if known < 452 else "0 0"
    assert done.stdout.split("\n")[:3] == [chmod, "-1 38", "0"]
    assert done.stdout.split("\n")[3] == ("644:42" if known < 452 else "640:42")
