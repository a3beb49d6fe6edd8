# SPDX-License-Identifier: GPL-2.0-or-later
"""What every store does, and what only the lasting ones do."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from remainroot.errors import RemainrootError
from remainroot.store.base import Owner
from remainroot.store.choice import open_store
from remainroot.store.codec import KEEP
from remainroot.store.durable import DurableStore
from remainroot.store.memory import MemoryStore, memory_store
from remainroot.store.sqlite import SqliteStore
from remainroot.store.xattr import XattrStore
from tests.store.files import KINDS, forget, get, held, make, put

if TYPE_CHECKING:
    from collections.abc import Callable

    from remainroot.store.base import Store

    Opener = Callable[[], Store]

ALL = ("memory", "sqlite", "durable", "durable+override_stat", "xattr", "xattr+override_stat")
LASTING = ALL[1:]
FOR_ANY_FILE = ALL[:4]


@pytest.fixture
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """Opens the same store again and again, as one run after the other does."""
    name: str = request.param
    url = name if name.startswith(("memory", "xattr")) else f"{name}:{tmp_path}/state/owners.db"
    return lambda: open_store(url)


def stores(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("opener", names, indirect=True)


@stores(*FOR_ANY_FILE)
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_put_is_got_until_it_is_forgotten(opener: Opener, tmp_path: Path, kind: str) -> None:
    store = opener()
    path = make(tmp_path / "file", kind)
    other = make(tmp_path / "other", kind)
    assert get(store, path) is None
    put(store, path, Owner(42, 43))
    put(store, path, Owner(44, KEEP - 1))
    assert get(store, path) == Owner(44, KEEP - 1)
    assert get(store, other) is None
    assert not store.empty
    forget(store, path)
    assert get(store, path) is None
    forget(store, path)


@stores(*ALL)
def test_root_is_an_owner_and_not_none(opener: Opener, tmp_path: Path) -> None:
    store = opener()
    put(store, make(tmp_path / "file", "regular"), Owner(0, 0))
    assert get(store, tmp_path / "file") == Owner(0, 0)


@stores(*ALL)
def test_hard_links_share_and_renames_keep(opener: Opener, tmp_path: Path) -> None:
    store = opener()
    path = make(tmp_path / "file", "regular")
    put(store, path, Owner(1, 2))
    os.link(path, tmp_path / "link")
    path.rename(tmp_path / "renamed")
    assert get(store, tmp_path / "link") == get(store, tmp_path / "renamed") == Owner(1, 2)


@stores(*FOR_ANY_FILE)
@pytest.mark.parametrize("kind", ["regular", "symlink", "fifo"])
@pytest.mark.parametrize("base", ["", "/dev/shm"])
def test_a_reused_inode_number_is_another_file(opener: Opener, tmp_path: Path, kind: str, base: str) -> None:
    store = opener()
    where = tmp_path / "x" if not base else type(tmp_path)(base) / f"reuse-{os.getpid()}"
    reused = 0
    for _ in range(50):
        number = make(where, kind).lstat().st_ino
        put(store, where, Owner(7, 7))
        where.unlink()
        reused += make(where, kind).lstat().st_ino == number
        found = get(store, where)
        where.unlink()
        assert found is None
    if not base:
        assert reused > 0, "the file system did not reuse a number: nothing was tested"


@stores(*ALL)
def test_a_device_placeholder(opener: Opener, tmp_path: Path) -> None:
    store = opener()
    null = Owner(0, 6, stat.S_IFCHR | 0o4666, os.makedev(1, 300))
    path = make(tmp_path / "null", "regular")
    put(store, path, null)
    assert get(store, path) == null
    assert store.placeholders
    disk = Owner(3, 4, stat.S_IFBLK | 0o660, os.makedev(259, 70000))
    put(store, path, disk)
    assert get(store, path) == disk
    put(store, path, Owner(5, 6))
    assert get(store, path) == Owner(5, 6)


@stores(*LASTING)
def test_the_next_run_and_another_supervisor_see_it(opener: Opener, tmp_path: Path) -> None:
    one, two = opener(), opener()
    path = make(tmp_path / "file", "regular")
    put(one, path, Owner(1, 2))
    assert get(two, path) == Owner(1, 2)
    put(two, path, Owner(3, 4))
    assert get(one, path) == Owner(3, 4)
    forget(two, path)
    assert get(one, path) is None
    put(one, path, Owner(5, 6))
    one.close()
    two.close()
    assert get(opener(), path) == Owner(5, 6)


@stores("sqlite", "durable")
def test_the_next_run_sees_the_owner_of_a_link(opener: Opener, tmp_path: Path) -> None:
    one, two = opener(), opener()
    path = make(tmp_path / "link", "symlink")
    put(one, path, Owner(1, 2))
    assert get(two, path) == Owner(1, 2)
    one.close()
    assert get(opener(), path) == Owner(1, 2)


@stores(*ALL)
def test_attributes(opener: Opener, tmp_path: Path) -> None:
    store = opener()
    path = make(tmp_path / "file", "regular")
    with held(path) as (fd, st):
        assert store.attributes(fd, st) == {}
        store.put_attribute(fd, st, "trusted.a", b"1")
        store.put_attribute(fd, st, "security.b", b"")
        store.put_attribute(fd, st, "trusted.a", b"\0\xff")
        assert not store.no_attributes
        assert store.attributes(fd, st) == {"trusted.a": b"\0\xff", "security.b": b""}
        store.forget_attribute(fd, st, "trusted.a")
        store.forget_attribute(fd, st, "trusted.a")
        assert store.attributes(fd, st) == {"security.b": b""}
        store.forget_attribute(fd, st, "security.b")
        assert store.attributes(fd, st) == {}
        assert store.get(fd, st) is None


@stores(*FOR_ANY_FILE)
def test_attributes_of_a_link(opener: Opener, tmp_path: Path) -> None:
    store = opener()
    with held(make(tmp_path / "link", "symlink")) as (fd, st):
        store.put_attribute(fd, st, "trusted.a", b"1")
        assert store.attributes(fd, st) == {"trusted.a": b"1"}
        store.forget_attribute(fd, st, "trusted.a")
        assert store.attributes(fd, st) == {}


def test_a_database_that_many_make_at_once(tmp_path: Path) -> None:
    """Whoever comes first, last or in between: no change fails."""
    with ProcessPoolExecutor(8, get_context("spawn")) as pool:
        for round_ in range(5):
            list(pool.map(put_in_new_stores, [f"{tmp_path}/{round_}/owners.db"] * 8, range(8), [str(tmp_path)] * 8))


def put_in_new_stores(path: str, number: int, where: str) -> None:
    file = Path(where, f"f{number}")
    file.touch()
    for turn in range(3):
        store = SqliteStore(path)
        put(store, file, Owner(number, turn))
        assert get(store, file) == Owner(number, turn)
        store.close()


# ---------------------------------------------------------------- attributes that others read and write


def test_a_file_carries_what_other_tools_read(tmp_path: Path) -> None:
    path = make(tmp_path / "file", "regular")
    path.chmod(0o4750)
    put(XattrStore(), path, Owner(33, 44))
    assert {name: os.getxattr(path, name) for name in os.listxattr(path)} == {
        "user.rootlesscontainers": bytes.fromhex("0821102c")
    }
    put(XattrStore("containers"), path, Owner(33, 44))
    assert {name: os.getxattr(path, name) for name in os.listxattr(path)} == {
        "user.containers.override_stat": b"33:44:4750:file"
    }
    put(XattrStore(), path, Owner(0, 0, stat.S_IFBLK | 0o660, os.makedev(8, 1)))
    assert os.getxattr(path, "user.containers.override_stat") == b"0:0:0660:block-8-1"
    forget(XattrStore(), path)
    assert os.listxattr(path) == []


@pytest.mark.parametrize("spelling", ["rootlesscontainers", "containers"])
def test_what_other_tools_wrote_is_read(tmp_path: Path, spelling: str) -> None:
    path = make(tmp_path / "file", "regular")
    store = XattrStore(spelling)
    os.setxattr(path, "user.rootlesscontainers", b"")
    assert get(store, path) == Owner(0, 0)
    os.setxattr(path, "user.rootlesscontainers", bytes.fromhex("08ffffffff0f102c"))
    assert get(store, path) == Owner(KEEP, 44)
    os.setxattr(path, "user.containers.override_stat", b"5:6:644")
    assert get(store, path) == (Owner(5, 6) if spelling == "containers" else Owner(KEEP, 44))
    os.removexattr(path, "user.rootlesscontainers")
    assert get(store, path) == Owner(5, 6)


@pytest.mark.parametrize("raw", [b"\xff", b"\x0b", b"\x08"])
def test_an_attribute_without_sense_says_nothing(tmp_path: Path, raw: bytes) -> None:
    path = make(tmp_path / "file", "regular")
    os.setxattr(path, "user.rootlesscontainers", raw)
    os.setxattr(path, "user.containers.override_stat", raw)
    assert get(XattrStore(), path) is None


def test_only_our_names_are_hidden(tmp_path: Path) -> None:
    for store in (XattrStore(), DurableStore(f"{tmp_path}/db")):
        assert store.hides("user.rootlesscontainers")
        assert store.hides("user.containers.override_stat")
        assert store.hides("user.remainroot.trusted.x")
        assert not store.hides("user.rootless")
        assert not store.hides("trusted.x")
    assert not MemoryStore().hides("user.rootlesscontainers")


# ---------------------------------------------------------------- --store


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", type(memory_store())),
        ("memory", type(memory_store())),
        ("xattr", XattrStore),
        ("sqlite:x.db", SqliteStore),
        ("durable:y", DurableStore),
    ],
)
def test_store_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, kind: type) -> None:
    monkeypatch.chdir(tmp_path)
    assert type(open_store(text)) is kind
    assert list(tmp_path.iterdir()) == [], "a database was made before anything was kept in it"


@pytest.mark.parametrize("text", ["x", "memory:", "memory:x", "sqlite", "sqlite:", "xattr:x", "durable:", "durable+x"])
def test_no_store_of_that_name(text: str) -> None:
    with pytest.raises(RemainrootError, match="names no store"):
        open_store(text)


def test_a_file_that_is_no_database_is_not_taken_for_one(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("hello, this is no database\n")
    with pytest.raises(RemainrootError, match="is not a database"):
        open_store(f"sqlite:{path}")
    assert path.read_text() == "hello, this is no database\n"


def test_where_the_database_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    store = open_store("", lasting=True)
    assert isinstance(store, DurableStore)
    assert isinstance(store.other, SqliteStore)
    assert store.other.database.path == f"{tmp_path}/remainroot/owners.db"


def test_where_no_place_is_writable_files_still_carry_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_args: False)
    with pytest.raises(RemainrootError, match="no place for the database"):
        open_store("durable")
    store = open_store("", lasting=True)
    put(store, make(tmp_path / "file", "regular"), Owner(1, 2))
    put(store, make(tmp_path / "link", "symlink"), Owner(3, 4))
    assert os.listxattr(tmp_path / "file") == ["user.rootlesscontainers"]
    assert get(store, tmp_path / "link") == Owner(3, 4)
