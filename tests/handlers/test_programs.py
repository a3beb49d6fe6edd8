# SPDX-License-Identifier: GPL-2.0-or-later
"""execve(2): whom the first line of a script names, what set-id bits give, and that it is given at once."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.launching import ENGINES, PLACE, REMAINROOT, TIMEOUT, environment

if TYPE_CHECKING:
    from pathlib import Path

PYTHON = "/usr/bin/python3"
SCRIPTS = r"""
import errno, os, shutil, subprocess
os.chmod(".", 0o755)
source = b'''
    #include <stdio.h>
    #include <unistd.h>
    int main(int argc, char **argv) { return !printf("%d of %d", argc, geteuid()); }
'''
subprocess.run(["cc", "-xc", "-", "-o", "program"], input=source, check=True)
for name, mode in (("who", 0o4755), ("mine", 0o4700), ("name\r", 0o4755)):
    shutil.copy("program", name)
    os.chown(name, 42, 42)
    os.chmod(name, mode)
lines = [
    b"#!%s", b"#!%s\n", b"#! \t%s\n", b"#!%s -u\n", b"#!%s\t-u \n", b"#!%s\r\n", b"#!%s\v\n", b"#!%s\f-u\n",
    b"#!%s\0\n", b"#!%s\0-u\n", b"#!%s -u\0\n", b"#!%s -u\0-x\n", b"#!\0%s\n", b"#!", b"#!\n", b"#! \n", b"#! \0",
    b"# !%s\n", b"#!\n%s\n", b"#!%s \0", b"#!" + b" " * 253, b"#!%s " + b" " * 300 + b"\n",
    b"#!%s" + b"x" * 300 + b"\n", b"#!%s -u" + b" " * 300, b"#!" + b"/" * 250 + b"%s\n",
]
for size in range(248, 258):
    lines.append(b"#!" + b" " * (size - 2 - 3) + b"%s\n")
for uid in (33, 1000):
    for line in lines:
        for name in (b"who", b"mine", b"name"):
            with open("script", "wb") as file:
                file.write(line.replace(b"%s", name))
            os.chmod("script", 0o755)
            out, into = os.pipe()
            child = os.fork()
            if child == 0:
                os.setresuid(uid, uid, uid)
                os.dup2(into, 1)
                os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
                try:
                    os.execv("./script", ["script"])
                except OSError as error:
                    os.write(1, errno.errorcode[error.errno].encode())
                    os._exit(99)
            os.close(into)
            said = os.read(out, 999)
            os.close(out)
            print(uid, line[:20], len(line), name, os.waitpid(child, 0)[1], said)
"""


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ENGINES)
def test_first_lines_of_scripts(engine: str) -> None:
    printed = []
    for prefix in ([], [*PLACE, *REMAINROOT[:-1], engine, "--strict", "--store=memory", "--"]):
        with tempfile.TemporaryDirectory() as place:
            done = subprocess.run(
                [*prefix, PYTHON, "-c", SCRIPTS],
                capture_output=True, text=True, check=False, env=environment(), timeout=TIMEOUT, cwd=place,
            )  # fmt: skip
        assert done.stderr == ""
        printed.append(done.stdout.splitlines())
    for result in ("ENOEXEC", "ENOENT", "EACCES", "2 of 42", "3 of 42"):
        assert any(result in line for line in printed[0])
    assert printed[1] == printed[0]


HASTY = """
import sys
from remainroot.engines import notify
notify._EXEC_PATIENCE = 0
from remainroot.cli import main
sys.exit(main())
"""
"""Waits for no exec, as if each took longer than that."""
SET_ID = "cp /usr/bin/id mine; chown 33 mine; chmod u+s mine; ./mine -u; ./mine -u"


def test_the_first_who_is_not_root_is_known_at_once(place: Path) -> None:
    command = [*PLACE, sys.executable, "-c", HASTY, "--engine", "notify", "--store", "memory", "--", "sh", "-c", SET_ID]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=TIMEOUT, env=environment(), cwd=place / "fake"
    )
    assert (done.stdout.split(), done.stderr) == (["33", "33"], "")
