# SPDX-License-Identifier: GPL-2.0-or-later
"""Quotas of a file system that has none, and of what is no file system: what real root is told."""

from __future__ import annotations

import os
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.handlers.rooted import PYTHON
from tests.launching import ENGINES, PLACE, REMAINROOT, TIMEOUT, environment

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.oracle

SCRIPT = r"""
import ctypes, errno, os, stat
libc = ctypes.CDLL(None, use_errno=True)
COMMANDS = {
    "QUOTAON": 0x800002, "GETFMT": 0x800004, "GETINFO": 0x800005, "SETINFO": 0x800006, "GETQUOTA": 0x800007,
    "SETQUOTA": 0x800008, "GETNEXTQUOTA": 0x800009, "XGETQUOTA": 0x5803, "XSETQLIM": 0x5804, "XGETQSTAT": 0x5805,
    "XGETNEXTQUOTA": 0x5809, "nothing": 0x1234, "nothing of XFS": 0x5840,
}
PATHS = ("disk", "made", "file", "absent", "file/x", "", None, 1)
buffer = ctypes.create_string_buffer(4096)

def told(*arguments):
    result = libc.syscall(*(ctypes.c_void_p(word) if word is None else word for word in arguments))
    return "done" if result == 0 else errno.errorcode[ctypes.get_errno()]

def place(path):
    return path.encode() if isinstance(path, str) else ctypes.c_void_p(path)

def ask(number):
    for name, command in COMMANDS.items():
        for kind in (0, 1, 2, 3):
            wants = b"absent" if name == "QUOTAON" else None if "SET" in name and kind else buffer
            if name == "SETQUOTA" or name == "XSETQLIM":
                wants = None  # nobody's quota is to be changed, should there be any
            for path in PATHS:
                print(name, kind, path, told(179, command << 8 | kind, place(path), number, wants))
            for what, fd in descriptors.items():
                print(name, kind, what, told(443, fd, command << 8 | kind, number, wants))

os.mknod("made", stat.S_IFBLK | 0o600, os.makedev(259, 77))
open("file", "w").close()
descriptors = {"here": os.open(".", os.O_RDONLY), "path": os.open(".", os.O_PATH), "proc": os.open("/proc", 0), "": 99}
ask(77)
os.setgroups([44]); os.setgid(77); os.setuid(77)
ask(77)
ask(44)
"""


def printed(side: Path, *prefix: str) -> list[str]:
    done = subprocess.run(
        [*prefix, PYTHON, "-c", SCRIPT], cwd=side, env=environment(), capture_output=True, text=True, check=False,
        timeout=TIMEOUT,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("engine", ENGINES)
def test_as_real_root(place: Path, engine: str) -> None:
    for side in ("real", "fake"):
        os.mknod(place / side / "disk", 0o600 | stat.S_IFBLK, place.stat().st_dev)
    real = printed(place / "real")
    assert "GETQUOTA 0 file ENOTBLK" in real
    assert printed(place / "fake", *PLACE, *REMAINROOT[:-1], engine, "--") == real
