# SPDX-License-Identifier: GPL-2.0-or-later
"""chattr and lsattr; tests/oracle/flagfuzz.c tries the calls."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.launching import environment, remainroot

if TYPE_CHECKING:
    from pathlib import Path

MAKE = """
umask 022; mkdir -p t/d; cd t; touch f g h; chattr +i f; chattr +aA g; chattr +i d
for what in "chmod 600 f" "chown 1 g" "setfattr -n user.a -v 1 d" "chattr +d f" "cp -a f copy" "chattr =e h"; do
    $what 2>&1 && echo "$what" || :
done
setpriv --reuid=33 --clear-groups chattr +i h 2>&1 || :
"""
SHOW = "lsattr -d . d f g h copy; stat -c '%n %u:%g %a' f g d; getfattr -dm - f g d"
CLEAR = "cd t; chattr -i f d; chattr -a g; lsattr; chmod 600 f; stat -c %a f"


@pytest.mark.oracle
@pytest.mark.parametrize("store", ["memory", "durable", "sqlite"])
def test_tools_as_real_root(tmp_path: Path, store: str) -> None:
    for name in ("real", "fake"):
        (tmp_path / name).mkdir()
    script = f"trap 'chattr -Rf -ia {tmp_path}' EXIT\n{MAKE}{SHOW}; cd ..; {CLEAR}"
    real = subprocess.run(
        ["sh", "-ec", script], capture_output=True, text=True, check=False, env=environment(), cwd=tmp_path / "real"
    )
    url = store if store == "memory" else f"{store}:{tmp_path}/owners.db"
    fake = remainroot(f"--store={url}", "--", "sh", "-ec", script, cwd=tmp_path / "fake")
    assert "----i---------e------- f" in real.stdout
    assert (real.returncode, real.stderr) == (0, "")
    assert (fake.stdout.splitlines(), fake.stderr) == (real.stdout.splitlines(), "")


@pytest.mark.parametrize("store", ["durable", "sqlite"])
def test_the_next_run_sees_them_and_real_root_makes_them_real(tmp_path: Path, store: str) -> None:
    url = f"{store}:{tmp_path}/owners.db"
    first = remainroot("--store", url, "--", "sh", "-ec", MAKE + SHOW, cwd=tmp_path)
    again = remainroot("--store", url, "--", "sh", "-ec", f"cd t; {SHOW}", cwd=tmp_path)
    assert "-----a-A" in again.stdout
    assert first.stdout.endswith(again.stdout)
    done = subprocess.run(
        [sys.executable, "-m", "remainroot", "owners", "apply", "--store", url, "t"],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    real = subprocess.run(["sh", "-ec", f"cd t; {SHOW}"], cwd=tmp_path, capture_output=True, text=True, check=True)
    subprocess.run(["chattr", "-R", "-ia", "t"], cwd=tmp_path, check=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert real.stdout == again.stdout


def test_a_device_is_asked_itself(tmp_path: Path) -> None:
    """A driver may have a command of the same number, and a pipe has none."""
    script = """
import fcntl, os
for fd in (os.open("/dev/null", os.O_RDONLY), os.pipe()[0]):
    for command in (0x80086601, 0x40086602, 0x801C581F):
        try: fcntl.ioctl(fd, command, bytes(28))
        except OSError as error: print(error.errno)
"""
    done = remainroot("--", "/usr/bin/python3", "-c", script, cwd=tmp_path)
    assert done.stdout == "25\n" * 6
