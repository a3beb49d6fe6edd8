# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules of access, held against the kernel: a child becomes a user and tries."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import random
import tempfile
from functools import partial
from itertools import product
from pathlib import Path
from stat import S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG
from typing import TYPE_CHECKING, Any

import pytest

from remainroot import acl, permissions
from remainroot.credentials import ROOT, SECBIT_NO_SETUID_FIXUP, Credentials, user
from remainroot.store.base import Owner
from tests.handlers.strict_ops import ACL_GROUP, USERS, access_list, become, check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIBC = ctypes.CDLL(None, use_errno=True)
FACCESSAT2, KCMP = 439, {"x86_64": 312, "aarch64": 272}[os.uname().machine]
AT_EACCESS, AT_EMPTY_PATH = 0x200, 0x1000
SETTINGS = Path("/proc/sys/fs")


def credentials(name: str) -> Credentials:
    """What `become` makes of real root."""
    uid, gid, groups, kept = USERS[name]
    if kept is None:
        return ROOT
    if kept == "real":
        return ROOT.setgroups(groups).setresgid(gid, gid, gid).setresuid(uid, 0, 0)
    mask = sum(1 << number for number in kept)
    made = user(uid, gid, groups)
    return made.replace(permitted=mask, effective=mask) if kept else made


def told(name: str, ask: Callable[[], Any]) -> Any:
    """What a child that became this user says."""
    hear, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            become(name)
            os.write(tell, json.dumps(ask()).encode())
        finally:
            os._exit(0)
    os.close(tell)
    with os.fdopen(hear) as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    return json.loads(text)


def succeeds(call: Callable[[], object]) -> str:
    try:
        call()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "ok"


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that everybody may reach."""
    with tempfile.TemporaryDirectory(prefix="permissions.") as name:
        Path(name).chmod(0o755)
        yield Path(name)


class Made:
    """A file of some owner, mode and list."""

    def __init__(self, path: Path, rng: random.Random, *, directory: bool) -> None:
        if directory:
            path.mkdir()
        else:
            path.touch()
        os.chown(path, rng.choice((0, 1000, 1001)), rng.choice((0, 50, 1000, 1001)))
        path.chmod(rng.randrange(0o1000))
        self.entries = None
        if rng.random() < 0.5:
            os.setxattr(path, acl.ACCESS, access_list(rng))
            self.entries = acl.parse(os.getxattr(path, acl.ACCESS))
        st = path.stat()
        self.owner = Owner(st.st_uid, st.st_gid, st.st_mode)
        self.fd = os.open(path, os.O_PATH)

    def __repr__(self) -> str:
        return f"{self.owner} {self.entries}"


@pytest.mark.parametrize("name", USERS)
@pytest.mark.parametrize("effective", [False, True], ids=["access", "eaccess"])
def test_access(place: Path, name: str, *, effective: bool) -> None:
    rng = random.Random(name)
    files = [Made(place / str(index), rng, directory=index % 3 == 0) for index in range(300)]
    assert sum(made.entries is not None and any(tag == ACL_GROUP for tag, _, _ in made.entries) for made in files) > 50
    flags = AT_EMPTY_PATH | (AT_EACCESS if effective else 0)

    def ask() -> list[list[bool]]:
        return [[LIBC.syscall(FACCESSAT2, made.fd, b"", want, flags) == 0 for want in range(1, 8)] for made in files]

    creds = credentials(name) if effective else permissions.of_real_ids(credentials(name))
    ours = [[permissions.may_access(creds, made.owner, made.entries, want) for want in range(1, 8)] for made in files]
    for made, got, expected in zip(files, ours, told(name, ask), strict=True):
        assert got == expected, made
        os.close(made.fd)


@pytest.mark.parametrize("name", USERS)
def test_what_takes_the_owner(place: Path, name: str) -> None:
    rng = random.Random(name)
    files = [Made(place / str(index), rng, directory=False) for index in range(12)]
    creds = credentials(name)

    def ask() -> list[str]:
        return [succeeds(partial(os.utime, path, (1, 1))) for path in sorted(place.iterdir(), key=number)]

    ours = ["ok" if creds.owns(made.owner.uid) else "EPERM" for made in files]
    assert ours == told(name, ask)
    for made in files:
        os.close(made.fd)


def number(path: Path) -> int:
    return int(path.name)


@pytest.mark.parametrize("name", USERS)
def test_sticky_directories(place: Path, name: str) -> None:
    creds = credentials(name)
    cases = list(product((0, 1000, 1001), (0, 1000, 1001), (0o1777, 0o777)))
    owners = []
    for index, (above, below, mode) in enumerate(cases):
        directory = place / str(index)
        directory.mkdir()
        (directory / "f").touch()
        os.chown(directory / "f", below, 0)
        os.chown(directory, above, 0)
        directory.chmod(mode)
        owners.append((Owner(above, 0, S_IFDIR | mode), Owner(below, 0, S_IFREG | 0o644)))

    def ask() -> list[str]:
        return [succeeds((place / str(index) / "f").unlink) for index in range(len(cases))]

    ours = ["EPERM" if permissions.is_kept_by_sticky(creds, *pair) else "ok" for pair in owners]
    assert ours == told(name, ask)


@pytest.mark.parametrize("name", USERS)
def test_hard_links(place: Path, name: str) -> None:
    place.chmod(0o777)
    creds = credentials(name)
    owners = []
    for index, (uid, mode) in enumerate(product((0, 1000), (0o666, 0o664, 0o600, 0o4666, 0o2666, 0o2676, 0o4777))):
        (place / str(index)).touch()
        os.chown(place / str(index), uid, 0)
        (place / str(index)).chmod(mode)
        owners.append(Owner(uid, 0, S_IFREG | mode))
    protected = (SETTINGS / "protected_hardlinks").read_text(encoding="ascii").strip() != "0"

    def ask() -> list[str]:
        return [succeeds(partial(os.link, place / str(i), place / f"{i}.link")) for i in range(len(owners))]

    def rule(owner: Owner) -> str:
        accessible = permissions.may_access(creds, owner, None, permissions.READ | permissions.WRITE)
        return "ok" if permissions.may_link(creds, owner, accessible=accessible, protected=protected) else "EPERM"

    assert [rule(owner) for owner in owners] == told(name, ask)


@pytest.mark.parametrize("target", ["ann", "bob", "reader", "setuid", "root"])
@pytest.mark.parametrize("dumpable", [False, True], ids=["hidden", "dumpable"])
def test_other_processes(target: str, *, dumpable: bool) -> None:
    hear, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            become(target)
            check(LIBC.prctl(4, int(dumpable), 0, 0, 0))
            os.write(tell, b"x")
            LIBC.pause()
        finally:
            os._exit(0)
    try:
        os.read(hear, 1)
        for name in USERS:

            def ask() -> list[bool]:
                linked = succeeds(lambda: os.readlink(f"/proc/{pid}/cwd")) == "ok"
                return [linked, LIBC.syscall(KCMP, os.getpid(), pid, 1, 0, 0) >= 0]

            ours = [
                permissions.may_trace(credentials(name), credentials(target), dumpable=dumpable, by_fs_ids=by_fs_ids)
                for by_fs_ids in (True, False)
            ]
            assert ours == told(name, ask), name
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(hear)
        os.close(tell)


# ---------------------------------------------------------------- what this machine's settings may hide

ANN = user(1000, 1000)
SHARED = Owner(0, 0, S_IFDIR | 0o1777)


@pytest.mark.parametrize(
    ("directory", "link", "protected", "allowed"),
    [
        (SHARED, 1001, True, False),
        (SHARED, 1001, False, True),
        (SHARED, 1000, True, True),
        (SHARED, 0, True, True),
        (Owner(0, 0, S_IFDIR | 0o777), 1001, True, True),
        (Owner(0, 0, S_IFDIR | 0o1775), 1001, True, True),
    ],
)
def test_protected_symlinks(directory: Owner, link: int, *, protected: bool, allowed: bool) -> None:
    assert permissions.may_follow(ANN, directory, Owner(link, 0, S_IFLNK | 0o777), protected=protected) is allowed


@pytest.mark.parametrize(
    ("mode", "kind", "owner", "settings", "allowed"),
    [
        (0o1777, S_IFREG, 1001, (0, 0), True),
        (0o1777, S_IFREG, 1001, (1, 0), True),
        (0o1777, S_IFREG, 1001, (0, 1), False),
        (0o1777, S_IFIFO, 1001, (1, 0), False),
        (0o1777, S_IFIFO, 1001, (0, 1), True),
        (0o1777, S_IFREG, 1000, (2, 2), True),
        (0o1777, S_IFREG, 0, (2, 2), True),
        (0o777, S_IFREG, 1001, (2, 2), True),
        (0o1770, S_IFREG, 1001, (1, 1), True),
        (0o1770, S_IFREG, 1001, (1, 2), False),
        (0o1770, S_IFIFO, 1001, (2, 1), False),
        (0o1750, S_IFIFO, 1001, (2, 2), True),
    ],
)
def test_protected_files(mode: int, kind: int, owner: int, settings: tuple[int, int], *, allowed: bool) -> None:
    directory, file = Owner(0, 0, S_IFDIR | mode), Owner(owner, 0, kind | 0o666)
    fifos, regular = settings
    assert permissions.may_reuse(ANN, directory, file, fifos=fifos, regular=regular) is allowed


def test_real_ids_bring_their_capabilities() -> None:
    lowered = ROOT.replace(effective=0)
    assert permissions.of_real_ids(lowered).effective == lowered.permitted
    assert permissions.of_real_ids(lowered.replace(securebits=SECBIT_NO_SETUID_FIXUP)).effective == 0
    assert permissions.of_real_ids(ROOT.setresuid(1000, 0, 0)).effective == 0
    assert permissions.of_real_ids(user(1000, 7).setresgid(7, 7, 7).replace(fsgid=3, fsuid=4)).fsgid == 7


def test_who_need_not_be_asked() -> None:
    assert permissions.is_powerful(ROOT)
    for creds in (ANN, ROOT.setresuid(1000, 0, 0), ROOT.setresuid(0, 1000, 0), ROOT.setfsuid(1000)):
        assert not permissions.is_powerful(creds)
