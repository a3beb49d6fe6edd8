# SPDX-License-Identifier: GPL-2.0-or-later
"""fakeroot's files: it reads ours, we read its; and its options. All is run by a plain user on the plain host."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from remainroot.errors import RemainrootError
from remainroot.store.base import Owner
from remainroot.store.fakeroot_file import FakerootStore, parse_line
from tests.launching import environment, for_everybody
from tests.store.files import get, make, put

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHIM = (for_everybody(), "--engine", "auto")
USER = 12345
MAKE = """
touch a plain z; mkdir d; chown 1:2 a d; ln -s a l; chown -h 3:4 l; mknod n c 1 3; mknod disk b 8 1; chmod 4755 a
chmod 600 plain; chmod 000 z; mkfifo p; chown 7 p
"""
CHANGE = """
chown 9:9 a; chmod 644 plain; mv l l2; rm n; chown 10 p; touch x; chown 5 x; rm x; mkdir e; chown 8:8 e; mv e d/f
"""
LIST = "find . -printf '%P %m %y %U:%G %l\\n' | grep -v state | LC_ALL=C sort; stat -c %t:%T:%u [dn]*"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A directory of the plain user's own, below one that it may pass."""
    base = f"/var/tmp/remainroot-test-{os.getpid()}"
    os.mkdir(base)
    os.chown(base, USER, USER)
    yield type(tmp_path)(base)
    shutil.rmtree(base)


def run(home: Path, *command: str) -> subprocess.CompletedProcess[str]:
    place = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
    env = environment() | {"HOME": str(home)}
    return subprocess.run(
        [*place, *command], cwd=home, env=env, capture_output=True, text=True, check=False, timeout=60
    )


def sh(home: Path, *command: str) -> str:
    done = run(home, *command)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(params=["fakeroot", "remainroot"])
def writer(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return ("fakeroot",) if request.param == "fakeroot" else SHIM


def test_both_read_what_either_wrote(home: Path, writer: tuple[str, ...]) -> None:
    sh(home, *writer, "-s", "state", "--", "sh", "-ec", MAKE)
    theirs = sh(home, "fakeroot", "-i", "state", "sh", "-c", LIST)
    ours = sh(home, *SHIM, "-i", "state", "--", "sh", "-c", LIST)
    assert "a 4755 f 1:2" in theirs
    assert "l 777 l 3:4 a" in theirs
    assert "n 644 c 0:0" in theirs
    assert ours == theirs


def test_a_chain_of_runs(home: Path, writer: tuple[str, ...]) -> None:
    """Each run reads the file and writes it anew, as packaging scripts do; files are renamed and removed in between."""
    sh(home, *SHIM, "-s", "state", "--", "sh", "-ec", MAKE)
    sh(home, *writer, "-i", "state", "-s", "state", "--", "sh", "-ec", CHANGE)
    numbers = {os.lstat(home / name).st_ino for name in os.listdir(home)} | {os.lstat(home / "d/f").st_ino}
    written = {parse_line(line).ino for line in (home / "state").read_text().splitlines()}
    assert written <= numbers, "a removed file is still in the list"
    theirs = sh(home, "fakeroot", "-i", "state", "sh", "-c", LIST)
    ours = sh(home, *SHIM, "-i", "state", "--", "sh", "-c", LIST)
    assert "d/f 755 d 8:8" in theirs
    assert ours == theirs


def test_the_end_of_cmd_is_reported_after_the_file_is_written(home: Path) -> None:
    for _ in range(5):
        done = run(home, *SHIM, "-s", "state", "--", "sh", "-c", "touch f; chown 5 f; exit 3")
        assert done.returncode == 3
        assert (home / "state").read_text().count("uid=5,gid=0") == 1
        (home / "state").unlink()


def test_unknown_is_real(home: Path) -> None:
    script = "stat -c %u:%g:%n old /etc"
    (home / "old").touch()
    os.chown(home / "old", USER, USER)
    theirs = sh(home, "fakeroot", "-u", "sh", "-c", script)
    assert sh(home, *SHIM, "-u", "--", "sh", "-c", script) == theirs == f"{USER}:{USER}:old\n0:0:/etc\n"
    more = "touch new; mkdir dir; chown 0:0 old; stat -c %u:%g new dir old; id -u; chown 0 dir/.; stat -c %u dir"
    assert sh(home, *SHIM, "-u", "--", "sh", "-c", more) == "0:0\n0:0\n0:0\n0\n0\n"


def test_a_file_that_is_not_there_is_said_and_passed_over(home: Path) -> None:
    done = run(home, *SHIM, "-b", "100", "-i", "none", "--", "echo", "ran")
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert done.stderr == "remainroot: none does not exist: no owners to load\n"


def test_a_file_that_is_something_else_is_refused(home: Path) -> None:
    (home / "state").write_text("dev=1,ino=2,mode=100644,uid=0,gid=0,nlink=1,rdev=0\nhello\n")
    done = run(home, *SHIM, "-i", "state", "--", "echo", "ran")
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr == "remainroot: state, line 2: not as fakeroot saves it\n"


def test_a_place_that_cannot_be_written_is_said(home: Path) -> None:
    done = run(home, *SHIM, "-s", "/nowhere/state", "--", "echo", "ran")
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert done.stderr == "remainroot: cannot save owners in /nowhere/state: No such file or directory\n"


@pytest.mark.parametrize("text", ["", "dev=1", "ino=1,dev=1,mode=1,uid=1,gid=1,nlink=1,rdev=1",
                                  "dev=g,ino=1,mode=1,uid=1,gid=1,nlink=1,rdev=1",
                                  "dev=1,ino=-1,mode=1,uid=1,gid=1,nlink=1,rdev=1"])  # fmt: skip
def test_what_is_no_line(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # whatever its words
        parse_line(text)


def test_a_line_both_ways() -> None:
    text = "dev=fe00,ino=2326605,mode=20644,uid=0,gid=4294967294,nlink=1,rdev=259"
    assert str(parse_line(text + "\n")) == text


def test_a_stale_line_is_not_taken_for_another_type_of_file(tmp_path: Path) -> None:
    path = make(tmp_path / "x", "directory")
    st = path.stat()
    (tmp_path / "state").write_text(f"dev={st.st_dev:x},ino={st.st_ino},mode=100644,uid=5,gid=5,nlink=1,rdev=0\n")
    store = FakerootStore()
    store.load(str(tmp_path / "state"))
    assert get(store, path) is None
    with pytest.raises(RemainrootError, match="cannot read"):
        store.load(str(tmp_path / "none"))


def test_only_files_that_are_there_are_saved(tmp_path: Path) -> None:
    store = FakerootStore(str(tmp_path / "state"))
    for name in ("kept", "moved", "removed"):
        put(store, make(tmp_path / name, "regular"), Owner(1, 2))
    make(tmp_path / "sub", "directory")
    (tmp_path / "moved").rename(tmp_path / "sub/there")
    (tmp_path / "removed").unlink()
    make(tmp_path / "removed", "regular")
    store.save()
    lines = [parse_line(line) for line in (tmp_path / "state").read_text().splitlines()]
    assert {line.ino for line in lines} == {(tmp_path / name).stat().st_ino for name in ("kept", "sub/there")}
