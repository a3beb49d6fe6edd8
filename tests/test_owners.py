# SPDX-License-Identifier: GPL-2.0-or-later
"""remainroot owners, on trees made by whole runs."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from remainroot import listing
from tests.launching import PLACE, environment, remainroot

if TYPE_CHECKING:
    from pathlib import Path

MAKE = """
mkdir -p t/d; cd t; echo x > f; ln -s f l; mknod null c 1 3; touch 'a b' plain "$(printf 'q#\\303\\251\\n')"; mkfifo p
chown 1:2 f d; chown -h 3:4 l; chown 5:6 'a b' q*; chmod 4755 f; chown 7 p; setfattr -n trusted.x -v y plain
setfacl -m u:42:r d
"""
SHOW = """
cd t; find . -printf '%P|%m|%y|%U:%G|%l\\n' | LC_ALL=C sort
stat -c %t:%T null; getfattr -dm trusted plain; getfacl -nc d
"""


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"durable:{tmp_path}/owners.db"


@pytest.fixture
def shown(tmp_path: Path, store: str) -> str:
    """The tree, made; and what a run shows of it."""
    done = remainroot("--store", store, "--", "sh", "-ec", MAKE, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    return show(tmp_path, store)


def show(tmp_path: Path, store: str) -> str:
    done = remainroot("--store", store, "--", "sh", "-ec", SHOW, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def owners(tmp_path: Path, *arguments: str, text: str = "", status: int = 0) -> str:
    done = subprocess.run(
        [*PLACE, sys.executable, "-m", "remainroot", "owners", *arguments],
        cwd=tmp_path, env=environment(), input=text, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    return done.stdout if not status else done.stderr


def test_table(tmp_path: Path, store: str, shown: str) -> None:
    del shown
    assert owners(tmp_path, "list", "--store", store, "t").splitlines() == [
        r"-rw-r--r-- 5:6                   a\040b",
        "drwxr-xr-x 1:2                   d  system.posix_acl_access",
        "-rwsr-xr-x 1:2                   f",
        "lrwxrwxrwx 3:4                   l",
        "crw-r--r-- 0:0               1,3 null",
        "prw-r--r-- 7:0                   p",
        "-rw-r--r-- 0:0                   plain  trusted.x",
        r"-rw-r--r-- 5:6                   q#\303\251",
    ]


@pytest.mark.parametrize("form", ["json", "mtree"])
def test_export_and_import(tmp_path: Path, store: str, shown: str, form: str) -> None:
    text = owners(tmp_path, "export", "--format", form, "--store", store, "t")
    if form == "json":
        lines = [json.loads(line) for line in text.splitlines()]
        assert lines[4] == {"path": "null", "type": "char", "uid": 0, "gid": 0, "mode": "0644", "device": [1, 3]}
    other = f"durable:{tmp_path}/other.db"
    (tmp_path / "t").rename(tmp_path / "old")
    done = remainroot("--store", store, "--", "cp", "-r", "--preserve=mode,links", "old", "t", cwd=tmp_path)
    assert done.stderr == ""
    os.remove(tmp_path / "t/null")
    (tmp_path / "t/null").touch(0o644)
    (tmp_path / "t/f").chmod(0o755)  # as the kernel does when root of a user namespace writes to it
    assert show(tmp_path, other) != shown
    owners(tmp_path, "import", "--format", form, "--store", other, "t", text=text)
    if form == "json":
        assert show(tmp_path, other) == shown
    else:  # which tells of no attributes
        assert show(tmp_path, other).split("user::", 1)[0] == shown.split("# file", 1)[0]


def test_fakeroot_s_format(tmp_path: Path, store: str, shown: str) -> None:
    text = owners(tmp_path, "export", "--format", "fakeroot", "--store", store, "t")
    st = (tmp_path / "t/null").stat()
    assert f"dev={st.st_dev:x},ino={st.st_ino},mode=20644,uid=0,gid=0,nlink=1,rdev=259\n" in text
    other = f"sqlite:{tmp_path}/other.db"
    owners(tmp_path, "import", "--format", "fakeroot", "--store", other, "t", text=text)
    assert show(tmp_path, other).split("# file", 1)[0] == shown.split("# file", 1)[0]


def test_mtree_is_read_by_bsdtar(tmp_path: Path, store: str, shown: str) -> None:
    """A list of all files is what makes an archive with the right owners, with nothing run under the shim.

    But for devices: bsdtar refuses one where it finds a file of another type on disk.
    """
    del shown
    text = owners(tmp_path, "export", "--all", "--format", "mtree", "--store", store, "t")
    (tmp_path / "t.mtree").write_text("".join(line for line in text.splitlines(True) if "type=char" not in line))
    env = environment() | {"LC_ALL": "C.UTF-8"}
    subprocess.run(["bsdtar", "-cf", "../t.tar", "@../t.mtree"], cwd=tmp_path / "t", check=True, env=env)
    done = subprocess.run(
        ["tar", "--numeric-owner", "-tvf", "t.tar"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    words = [(line.split()[0], line.split()[1], line.split()[-1]) for line in done.stdout.splitlines()]
    assert ("-rwsr-xr-x", "1/2", "./f") in words
    assert ("prw-r--r--", "7/0", "./p") in words
    assert ("lrwxrwxrwx", "3/4", "f") in words


def test_convert(tmp_path: Path, store: str, shown: str) -> None:
    names = set(os.listxattr(tmp_path / "t/d"))
    assert "user.rootlesscontainers" in names
    other = f"durable+override_stat:{tmp_path}/owners.db"
    owners(tmp_path, "convert", "--store", store, "--to", other, "t")
    assert "user.containers.override_stat" in os.listxattr(tmp_path / "t/d")
    assert show(tmp_path, other) == shown
    database = f"sqlite:{tmp_path}/all.db"
    owners(tmp_path, "convert", "--store", other, "--to", database, "t")
    assert not [name for name in os.listxattr(tmp_path / "t/d") if name.startswith("user.")]
    assert show(tmp_path, database) == shown
    assert owners(tmp_path, "list", "--store", other, "t") == ""


def test_prune(tmp_path: Path, store: str, shown: str) -> None:
    del shown
    (tmp_path / "t/p").unlink()
    (tmp_path / "t/l").rename(tmp_path / "t/d/moved")
    assert owners(tmp_path, "prune", "--store", store, "t") == "1 stale rows removed\n"
    assert owners(tmp_path, "prune", "--store", store, "t") == "0 stale rows removed\n"
    assert "3:4" in owners(tmp_path, "list", "--store", store, "t")


def test_apply(tmp_path: Path, store: str, shown: str) -> None:
    """What a run shows is, afterwards, what is."""
    refused = owners(tmp_path, "apply", "--store", store, "t", status=125)
    assert "real root" in refused
    done = subprocess.run(
        [sys.executable, "-m", "remainroot", "owners", "--apply", "--store", store, "t"],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    real = subprocess.run(
        ["sh", "-ec", SHOW], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    assert real.stdout == shown
    assert stat.S_ISCHR((tmp_path / "t/null").stat().st_mode)
    assert owners(tmp_path, "list", "--store", store, "t") == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["x"], "no such action"), (["list"], "needs a TREE"), (["list", "--no", "t"], "unknown option --no"),
     (["list", "--format", "x", "t"], "is one of"), (["list", "nowhere"], "No such file"),
     (["convert", "t"], "needs --to"), (["prune", "--store", "xattr", "t"], "no database")],
)  # fmt: skip
def test_what_is_wrong_is_said(tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "t").mkdir()
    assert message in owners(tmp_path, *arguments, status=125)


def test_mtree_as_others_write_it() -> None:
    text = (
        "#mtree\n/set type=file uid=1 gid=2 mode=644\n. type=dir mode=755\n./a\\040b \\\n    uid=5\n"
        "./n type=char device=native,1,3\n./m type=block device=0x801\n..\n"
    )
    items = list(listing.read("mtree", text))
    assert [(item.path, item.owner.uid, item.owner.gid, item.owner.mode, item.owner.rdev) for item in items] == [
        (b".", 1, 2, 0o040755, 0),
        (b"a b", 5, 2, 0o100644, 0),
        (b"n", 1, 2, 0o020644, os.makedev(1, 3)),
        (b"m", 1, 2, 0o060644, 0x801),
    ]
