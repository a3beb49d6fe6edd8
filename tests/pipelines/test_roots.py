# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian roots that a plain user makes: every file with the owner, mode and device number that real root gives it."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.e2e.containers import MIRROR, SUITE
from tests.pipelines.test_packages import home, run
from tests.pipelines.test_tools import CONTAINER, PLAIN, USER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["home"]  # a fixture
pytestmark = pytest.mark.e2e

MMDEBSTRAP = ("mmdebstrap", "--quiet", "--mode=root", "--skip=chroot/mount", "--format=tar")
LIST = "tar --numeric-owner -tvf root.tar"
SIZE_AND_TIME = re.compile(r" +([^ ]+) \d{4}-\d\d-\d\d \d\d:\d\d ")


def listing(text: str) -> list[str]:
    """What is to be the same: all but sizes and times; where a device's size would be its number is."""
    lines = text.splitlines()
    return sorted(SIZE_AND_TIME.sub(lambda m: f" {m[1]} " if "," in m[1] else " ", line, count=1) for line in lines)


def by_real_root(where: Path, script: str) -> list[str]:
    where.mkdir()
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", f"{script}; {LIST}"],
        cwd=where, capture_output=True, text=True, check=False, timeout=900, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return listing(done.stdout)


def by_plain_user(home: Path, place: Sequence[str], script: str) -> list[str]:
    where = home / "fake"
    where.mkdir()
    shutil.chown(where, USER, USER)
    return listing(run(home, tuple(place), f"cd fake; remainroot -- sh -ec {shlex.quote(script)}; {LIST}", 900))


def mmdebstrap(variant: str, *more: str) -> str:
    words = [*MMDEBSTRAP, f"--variant={variant}", '--aptopt=Acquire::Languages "none"', *more, SUITE, "root.tar"]
    return shlex.join([*words, MIRROR] if MIRROR else words)


def compare(real: list[str], fake: list[str]) -> None:
    assert fake == real
    assert len(real) > 1000
    assert any(" 0/50 " in line and line.endswith(" ./var/local/") for line in real)
    assert any(line.startswith("crw-rw-rw- 0/0 1,3 ") and line.endswith("dev/null") for line in real)
    assert any(line.startswith("-rwsr-xr-x 0/0 ") for line in real)


def test_mmdebstrap_unpacks(home: Path) -> None:
    make = mmdebstrap("extract", "--include=base-passwd,base-files,login")
    compare(by_real_root(home / "real", make), by_plain_user(home, CONTAINER, make))


@pytest.mark.slow
@pytest.mark.parametrize("place", [PLAIN, CONTAINER], ids=["plain-host", "container"])
def test_mmdebstrap(home: Path, place: tuple[str, ...]) -> None:
    make = mmdebstrap("minbase")
    inner = make if place == CONTAINER else f"unshare --mount sh -ec {shlex.quote(make)}"
    real = by_real_root(home / "real", make)
    assert any("0/42 " in line and line.endswith("./etc/shadow") for line in real)
    compare(real, by_plain_user(home, place, inner))


@pytest.mark.slow
@pytest.mark.parametrize("place", [PLAIN, CONTAINER], ids=["plain-host", "container"])
def test_debootstrap(home: Path, place: tuple[str, ...]) -> None:
    (home / "cache").mkdir(mode=0o777)
    (home / "cache").chmod(0o777)
    words = ["debootstrap", f"--cache-dir={home}/cache", "--variant=minbase", SUITE, "root", *filter(None, [MIRROR])]
    make = f"{shlex.join(words)} > log || {{ cat log; exit 1; }}; umount -R root/proc root/sys 2> /dev/null || :"
    make = f"mkdir root; {make}; tar -C root --numeric-owner -cf root.tar ."
    inner = make if place == CONTAINER else f"unshare --mount sh -ec {shlex.quote(make)}"
    compare(by_real_root(home / "real", make), by_plain_user(home, place, inner))
