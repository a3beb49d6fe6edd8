# SPDX-License-Identifier: GPL-2.0-or-later
"""Modes of files that really are another's, whose ids are not mapped: to root they are as good as its own."""

from __future__ import annotations

import os
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.launching import ENGINES, PLACE, REMAINROOT, TIMEOUT, environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.oracle

NAMES = ("file", "program", "grouped", "directory", "shared", "fifo", "null")
ANOTHER = 4242

SCRIPT = r"""
import ctypes, errno, os, struct, sys
NAMES, FCHMODAT2 = sys.argv[1].split(), 452
libc = ctypes.CDLL(None, use_errno=True)

def attempt(what, call, *arguments, **more):
    try:
        print(what, call(*arguments, **more))
    except OSError as error:
        print(what, errno.errorcode[error.errno])

def fchmodat2(*arguments):
    if libc.syscall(FCHMODAT2, *arguments):
        raise OSError(ctypes.get_errno(), "")

def show(name):
    fd = os.open(name, os.O_PATH)
    found = [os.stat(name), os.lstat(name), os.fstat(fd), os.stat(os.path.abspath(name))]
    os.close(fd)
    print(name, {f"{st.st_mode:o} {st.st_uid}:{st.st_gid}" for st in found})
    extended = ctypes.create_string_buffer(256)
    assert not libc.statx(-100, name.encode(), 0, 0x7FF, extended)
    uid, gid, mode = struct.unpack_from("=IIH", extended, 20)
    assert (mode, uid, gid) == found[0][:1] + found[0][4:6]

def as_user(body):
    sys.stdout.flush()
    if pid := os.fork():
        return os.waitpid(pid, 0)
    os.setgroups([8]); os.setgid(1000); os.setuid(1000)
    body()
    sys.stdout.flush()
    os._exit(0)

def reach():
    for name in NAMES:
        print(name, [os.access(name, want) for want in (os.R_OK, os.W_OK, os.X_OK)])
        attempt("chmod", os.chmod, name, 0o777)
        show(name)

for name in NAMES:
    show(name)
    for mode in (0o644, 0o600, 0o4711, 0o2755, 0o6750, 0o1777, 0o2644, 0o100755):
        attempt(name, os.chmod, name, mode)
        show(name)
    here = os.open(".", os.O_PATH)
    attempt(name, os.chmod, name, 0o640, dir_fd=here)
    show(name)
    fd = os.open(name, os.O_PATH)
    attempt("path only", os.fchmod, fd, 0o777)
    attempt("empty path", fchmodat2, fd, b"", 0o604, 0x1000)
    show(name)
    attempt("wrong flag", fchmodat2, here, name.encode(), 0o777, 1)
as_user(reach)
fd = os.open("file", os.O_RDONLY)
attempt("descriptor", os.fchmod, fd, 0o4755)
os.chmod("program", 0o6755)
for name in NAMES:
    attempt("chown", os.chown, name, 1000, 9)
    show(name)
os.chmod("shared", 0o2777)
as_user(reach)
as_user(lambda: attempt("not in the group", os.chmod, "directory", 0o2777))
for name in NAMES:
    show(name)
    attempt("chown", os.chown, name, 0, 8)
    show(name)
os.chmod("file", 0o644)
os.chmod("directory", 0o2777)
os.chmod("shared", 0o2777)
for name in ("directory", "shared"):
    os.mkdir(name + "/new")
    show(name + "/new")
    open(name + "/made", "w").close()
    show(name + "/made")
as_user(lambda: attempt("shared", open, "shared/of user", "w") if len(sys.argv) > 2 else None)
os.symlink("file", "link")
attempt("link", fchmodat2, -100, b"link", 0o777, 0x100)
attempt("link", os.chmod, "link", 0o750)
show("file")
attempt("immutable", os.chmod, "immutable", 0o600)
attempt("immutable", os.chown, "immutable", 5, 5)
attempt("read-only", os.chmod, "frozen", 0o600)
attempt("task", os.chmod, "/proc/self/status", 0o600)
attempt("setting", os.chmod, "/proc/sys/kernel/ostype", 0o600)
for name in NAMES:  # as they were
    os.chmod(name, 0o777)
    os.chown(name, 0, 0)
    show(name)
"""


def prepare(top: Path, owner: int) -> None:
    """Files of `owner`; "grouped" and "shared" are root's, with the owner's group."""
    for name in ("file", "program", "grouped", "immutable", "frozen"):
        (top / name).touch()
    for name in ("directory", "shared"):
        (top / name).mkdir()
    os.mkfifo(top / "fifo")
    os.mknod(top / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    for path in top.iterdir():
        os.chown(path, 0 if path.name in ("grouped", "shared") else owner, owner)
        path.chmod(0o6777 if path.name == "program" else 0o777)  # what it refuses nobody could have here
    subprocess.run(["chattr", "+i", top / "immutable"], check=True)


@pytest.fixture
def sides(place: Path) -> Iterator[tuple[Path, Path]]:
    """Where real root's files are root's; and where they are another's."""
    try:
        prepare(place / "real", 0)
        prepare(place / "fake", ANOTHER)
        yield place / "real", place / "fake"
    finally:
        subprocess.run(["chattr", "-i", *place.glob("*/immutable")], check=True)


def printed(side: Path, *prefix: str, **variables: str) -> list[str]:
    """What the script finds, "frozen" mounted read-only."""
    freeze = 'mount --bind frozen frozen; mount -o remount,bind,ro frozen; exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", freeze, "sh", *prefix, "/usr/bin/python3", "-c", SCRIPT, " ".join(NAMES)],
        cwd=side, env=environment() | variables, capture_output=True, text=True, check=False, timeout=TIMEOUT,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("engine", "options", "pure"),
    [
        *((engine, "--store=memory", "") for engine in ENGINES),
        ("notify", "--store=durable:{}/owners.db", ""), ("notify", "--store=durable+override_stat:{}/owners.db", ""),
        ("notify", "--store=sqlite:{}/owners.db", "1"), ("notify", "--store=memory --strict", ""),
        ("notify", "--store=durable:{}/owners.db --strict", "1"),
    ],
)  # fmt: skip
def test_as_real_root(sides: tuple[Path, Path], place: Path, engine: str, options: str, pure: str) -> None:
    real, fake = sides
    before = {path.name: path.stat().st_mode for path in fake.iterdir() if path.stat().st_uid == ANOTHER}
    words = [*REMAINROOT[:-1], engine, *options.format(place).split(), "--"]
    assert printed(fake, *PLACE, *words, **({"REMAINROOT_PURE": pure} if pure else {})) == printed(real)
    assert {name: (fake / name).stat().st_mode for name in before} == before


def modes(side: Path, *options: str, change: str = "true") -> list[str]:
    """What stat(1) says of the files once `change`, a shell's command, is done."""
    script = f"{change}; stat --format=%a/%u:%g {' '.join(NAMES)}"
    done = subprocess.run(
        [*PLACE, *REMAINROOT, *options, "--", "sh", "-ec", script], cwd=side, env=environment(), capture_output=True,
        text=True, check=False, timeout=TIMEOUT,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("--store=durable:{}", "--store=durable:{}"), ("--store=sqlite:{}", "--store=sqlite:{}"),
        ("--save={}", "--load={}"),
    ],
)  # fmt: skip
def test_the_next_run_knows_them(sides: tuple[Path, Path], place: Path, first: str, then: str) -> None:
    change = f"chmod 4750 {' '.join(NAMES)}; chown 7 null; chmod 602 grouped null"
    expected = modes(sides[1], first.format(place / "kept"), change=change)
    assert expected == ["4750/0:0"] * 2 + ["602/0:0"] + ["4750/0:0"] * 3 + ["602/7:0"]
    assert modes(sides[1], then.format(place / "kept")) == expected


def test_a_real_change_ends_a_remembered_mode(sides: tuple[Path, Path], place: Path) -> None:
    """The file has become ours meanwhile; from then on the disk tells, whoever changes it."""
    store = f"--store=sqlite:{place}/owners.db"
    file = sides[1] / "file"
    assert modes(sides[1], store, change="chmod 600 file")[0] == "600/0:0"
    os.chown(file, 0, 0)
    assert modes(sides[1], store, change="chmod 640 file")[0] == "640/0:0"
    assert file.stat().st_mode & 0o7777 == 0o640
    file.chmod(0o604)
    assert modes(sides[1], store)[0] == "604/0:0"


def test_a_loaded_mode_ends_with_the_first_chmod(tmp_path: Path) -> None:
    """As fakeroot has it on disk: with other permissions than it shows. Also where that chmod changes nothing there."""
    file, saved = tmp_path / "file", tmp_path / "saved"
    file.touch()
    file.chmod(0o644)
    st = file.stat()
    saved.write_text(f"dev={st.st_dev:x},ino={st.st_ino},mode=100400,uid=0,gid=0,nlink=1,rdev=0\n")
    script = ["sh", "-ec", f"stat -c %a {file}; chmod 644 {file}; stat -c %a {file}"]
    done = subprocess.run(
        [*PLACE, *REMAINROOT, "--load", saved, "--", *script], env=environment(), capture_output=True, text=True,
        check=True, timeout=TIMEOUT,
    )  # fmt: skip
    assert done.stdout.split() == ["400", "644"]


def test_a_users_write_takes_remembered_set_id_bits_away(sides: tuple[Path, Path]) -> None:
    """An open alone does not, nor does root's write."""
    script = """
        user() { setpriv --reuid 1000 --regid 1000 --clear-groups -- sh -c "$1"; stat -c %a file; }
        chmod 6777 file; echo root >file; stat -c %a file; user ': <>file'; user 'true <file'; user 'echo x >>file'
        echo root >file; chmod 6777 file; echo root >file; stat -c %a file; user 'echo y >file'; chmod 2767 file
        user 'exec 3<>file; stat -c %a file; sleep 0.1; echo z >&3; stat -c %a file'"""

    def told(side: Path, *prefix: str) -> list[str]:
        return subprocess.run(
            [*prefix, "sh", "-ec", script], cwd=side, env=environment(), capture_output=True, text=True, check=True,
            timeout=TIMEOUT,
        ).stdout.split()

    for engine in ENGINES:
        assert told(sides[1], *PLACE, *REMAINROOT[:-1], engine, "--") == told(sides[0])
