# SPDX-License-Identifier: GPL-2.0-or-later
"""What the dynamic loader asks at every exec is let through, and nothing else: strace(1) is the oracle."""

from __future__ import annotations

import os
import re
import subprocess
from struct import pack
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remainroot.engines import loader, prepared
from remainroot.engines.filter import RET_TRACE, RET_USER_NOTIF, program
from tests.launching import remainroot

if TYPE_CHECKING:
    from pathlib import Path

LOADER = "/lib64/ld-linux-x86-64.so.2"

pytestmark = pytest.mark.skipif(not os.path.exists(LOADER), reason="the loader's calls are known on x86_64 only")


@pytest.fixture(scope="module")
def content() -> bytes:
    with open(LOADER, "rb") as file:
        return file.read()


def asked_at_exec() -> dict[str, set[tuple[int, int]]]:
    """By name of the call: the last bits of the instruction pointer, the distance from it to the string, of true(1)."""
    command = ["strace", "-i", "-e", "trace=access,newfstatat", "-e", "raw=access,newfstatat", "true"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()
    found: dict[str, set[tuple[int, int]]] = {}
    for line in lines:
        if match := re.match(r"\[(\w+)\] (access\(|newfstatat\(0x\d, )(0x\w+)", line):
            pointer, string = int(match[1], 16), int(match[3], 16)
            found.setdefault(match[2].partition("(")[0], set()).add((pointer & 0xFFF, string - pointer & 0xFFFF_FFFF))
    return found


def test_places_are_those_of_the_calls_that_are_made(content: bytes) -> None:
    asked = asked_at_exec()
    assert {call.name: {place} for call, place in loader.sites(content).items()} == asked
    assert set(asked) == {"access", "newfstatat"}


@pytest.mark.parametrize("engine", ["notify", "trace"])
def test_exec_of_a_small_program_is_one_call(engine: str) -> None:
    done = remainroot("--engine", engine, "--stats", "--", "/bin/sh", "-c", "for i in 1 2 3 4 5; do /bin/true; done")
    calls = {row[0]: int(row[1]) for line in done.stderr.splitlines() if (row := line.split())[1:2] != ["calls"]}
    assert calls["execve"] == 6
    assert "access" not in calls
    # sh asks of its standard input.
    assert calls.get("newfstatat", 0) <= 2


def test_program_is_still_answered(tmp_path: Path) -> None:
    """The same calls, of the same C library, a thing apart: glibc's own fstat(3) and access(2)."""
    script = 'chown 42:43 "$1"; stat -c %u:%g - < "$1"; chmod 0 "$1"; '
    script += 'setpriv --reuid=7 --clear-groups test -r "$1" || echo no'
    path = tmp_path / "file"
    path.touch()
    done = remainroot("--store", "memory", "--", "sh", "-c", script, "sh", str(path))
    assert (done.stdout, done.stderr) == ("42:43\nno\n", "")


def test_loader_below_another_root(tmp_path: Path, content: bytes) -> None:
    code = program(RET_TRACE)
    assert prepared.completed(code, str(tmp_path)) == code
    place = tmp_path / "lib64/ld-linux-x86-64.so.2"
    place.parent.mkdir()
    os.mkfifo(place)
    assert prepared.completed(code, str(tmp_path)) == code
    place.unlink()
    place.write_bytes(content)
    filled = prepared.completed(code, str(tmp_path))
    assert filled == prepared.completed(code, "") != code
    for call in loader.SPARED[0xC000_003E]:
        assert pack("=I", call.site) in code
        assert pack("=I", call.site) not in filled
    # Another one, by its head: it is looked into.
    assert prepared.completed(code, str(tmp_path), (content[:1024], b"known")) == b"known"
    assert prepared.completed(code, str(tmp_path), (b"another", b"known")) == filled


@given(
    left=st.sampled_from([0, 3, 63, 64, 200, 4096, None]),
    changes=st.lists(st.tuples(st.integers(0, 399), st.integers(0, 255)), max_size=4),
)
def test_damaged_loader(content: bytes, left: int | None, changes: list[tuple[int, int]]) -> None:
    """Whatever lies there, the program stays one that the kernel takes, of the same length."""
    damaged = bytearray(content[:left])
    for place, value in changes:
        if place < len(damaged):
            damaged[place] = value
    code = program(RET_USER_NOTIF)
    assert len(loader.fill(code, bytes(damaged))) == len(code)


def test_ambiguous_loader_is_not_trusted(content: bytes) -> None:
    """Two such calls: either may be the one, or neither."""
    code = bytes.fromhex("b8060100000f05")
    at = content.index(code)
    twice = bytearray(content)
    twice[at + 64 : at + 64 + len(code)] = code
    assert [call.name for call in loader.sites(bytes(twice))] == ["access"]
