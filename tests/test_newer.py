# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls that the kernel is too old for, made believe by a filter that says ENOSYS."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from remainroot import abi as abis
from remainroot import newer
from remainroot.dispatch import CONTINUE, DONE, build_table
from remainroot.settings import Settings
from remainroot.supervisor import Supervisor
from tests.launching import PLACE, REMAINROOT, ROOT, environment

OLD_KERNEL = """
import errno, os, sys
from remainroot import abi
from remainroot.dispatch import ALWAYS
from remainroot.engines.filter import RET_ERRNO, assemble
from remainroot.kernel import load_filter
numbers = {nr: ALWAYS for nr in range(int(sys.argv[1]) + 1, 512)}
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
FCHMODAT2, LISTXATTRAT = 452, 465


@pytest.mark.parametrize("known", [451, 464])
def test_what_the_kernel_lacks_fails_as_it_says(known: int) -> None:
    """And what it has is answered. With the other engines a filter would come before us."""
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n" + OLD_KERNEL
    command = [*PLACE, sys.executable, "-c", script, str(known), *REMAINROOT[:-1], "ptrace", "--"]
    script = 'cd "$(mktemp -d)"; touch f; chown 42:43 f; "$0" -c "$1"; stat -c %a:%u f'
    command += ["sh", "-ec", script, sys.executable, CALLS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment(), check=False)
    assert done.stderr == ""
    chmod = "-1 38" if known < FCHMODAT2 else "0 0"
    assert done.stdout.split("\n")[:3] == [chmod, "-1 38", "0"]
    assert done.stdout.split("\n")[3] == ("644:42" if known < FCHMODAT2 else "640:42")


@pytest.mark.parametrize("bit", [0, abis.X32_BIT])
@pytest.mark.parametrize("missing", [False, True])
def test_it_is_left_to_the_kernel(missing: bool, bit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(newer._missing, LISTXATTRAT, missing)
    supervisor = Supervisor(Settings())
    arch, nr = 0xC000003E, bit | LISTXATTRAT
    monkeypatch.setattr(build_table()[arch][nr], "handler", lambda _: DONE)
    assert supervisor.answer(os.getpid(), arch, nr, (0,) * 6) is (CONTINUE if missing else DONE)


def test_the_kernel_is_asked() -> None:
    has = [int(number) for number in os.uname().release.split(".")[:2]] >= [6, 6]
    assert newer.is_missing(FCHMODAT2) is not has
    assert newer.is_missing(511)


def test_x32_has_numbers_of_its_own() -> None:
    newest = {row.name for rows in build_table().values() for nr, row in rows.items() if newer.is_newer(nr)}
    assert {"fchmodat2", "listxattrat"} <= newest
    assert not {"setxattr", "chown", "faccessat2"} & newest
