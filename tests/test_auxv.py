# SPDX-License-Identifier: GPL-2.0-or-later
"""The ids in a new program's auxiliary vector become those of its credentials, and nothing else changes."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from remainroot.auxv import AT_EGID, AT_EUID, AT_GID, AT_SECURE, AT_UID, patch_identity
from remainroot.credentials import ROOT, Credentials, user
from remainroot.execution import execute
from tests.compiling import FIXTURES, abis, program
from tests.launching import state, until

PROGRAM = FIXTURES / "show_auxv.c"
SET_ID = execute(user(1000, 1001, ()), uid=33, gid=34)[0]
"""Real ids 1000 and 1001, effective ones 33 and 34."""


def pairs(line: str) -> dict[int, int]:
    return {int(kind): int(value) for kind, value in (pair.split("=") for pair in line.split())}


def patched(
    kind: str, creds: Credentials, *flags: str, secure: bool = False, words: int = 0, environment: int = 1
) -> tuple[dict[int, int], dict[int, int]]:
    """The vector before and after, of a program with `words` arguments and so many variables."""
    command = [str(program(PROGRAM, kind, *flags)), *("argument" * 4 for _ in range(words))]
    names = {f"VARIABLE{index}": "value" * index for index in range(environment)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=names)
    try:
        until(lambda: state(process.pid) == "T")
        patch_identity(process.pid, creds, secure=secure)
    finally:
        os.kill(process.pid, signal.SIGCONT)
    output, _ = process.communicate(timeout=20)
    before, after = output.splitlines()
    return pairs(before), pairs(after)


@pytest.mark.parametrize("kind", abis())
@pytest.mark.parametrize("flags", [(), ("-static",)], ids=["dynamic", "static"])
def test_ids_are_written_and_nothing_else(kind: str, flags: tuple[str, ...]) -> None:
    before, after = patched(kind, SET_ID, *flags, secure=True)
    wanted = {AT_UID: 1000, AT_EUID: 33, AT_GID: 1001, AT_EGID: 34, AT_SECURE: 1}
    assert after == before | wanted
    assert wanted.keys() <= before.keys()
    assert before[AT_SECURE] == 0


@pytest.mark.parametrize("kind", abis())
@pytest.mark.parametrize(("words", "environment"), [(0, 0), (0, 1), (1, 0), (511, 3), (1500, 400), (513, 600)])
def test_vector_is_found_behind_arguments_and_environment(kind: str, words: int, environment: int) -> None:
    _, after = patched(kind, SET_ID, words=words, environment=environment)
    assert after[AT_UID] == 1000
    assert after[AT_EGID] == 34


def test_large_ids() -> None:
    _, after = patched("", user(0xFFFF_FFFE, 0x8000_0000, ()))
    assert (after[AT_UID], after[AT_GID]) == (0xFFFF_FFFE, 0x8000_0000)


def test_same_ids_change_nothing() -> None:
    before, after = patched("", ROOT)
    assert after == before


def test_process_that_is_gone() -> None:
    process = subprocess.Popen(["/bin/true"])
    process.wait()
    with pytest.raises((FileNotFoundError, ProcessLookupError)):
        patch_identity(process.pid, ROOT, secure=False)
