# SPDX-License-Identifier: GPL-2.0-or-later
"""Owners in memory: found by what the file is, not by its name or its number.

What all stores have in common is in test_stores.py.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st_

from remainroot import kernel
from remainroot.store.base import Owner, identity, is_placeholder
from remainroot.store.memory import MemoryStore, TableStore
from tests.store.files import KINDS, forget, get, held, make, put

if TYPE_CHECKING:
    from pathlib import Path

MAIL, NEWS = Owner(8, 8), Owner(9, 13)
DEVICE = Owner(0, 6, 0o60640, os.makedev(8, 1))


BOTH = [MemoryStore] if kernel.compiled is None else [MemoryStore, TableStore]


@pytest.fixture(params=BOTH)
def store(request: pytest.FixtureRequest) -> MemoryStore:
    made: MemoryStore = request.param()
    return made


# ---------------------------------------------------------------- hints


def test_hints_say_that_nothing_can_hit(store: MemoryStore, tmp_path: Path) -> None:
    def hints() -> tuple[bool, bool, bool]:
        return store.empty, store.group_directories, store.placeholders

    assert hints() == (True, False, False)
    put(store, make(tmp_path / "file", "regular"), MAIL)
    assert hints() == (False, False, False)
    put(store, make(tmp_path / "directory", "directory"), Owner(8, 0))
    assert hints() == (False, False, False)
    put(store, tmp_path / "directory", Owner(0, 8))
    assert hints() == (False, True, False)
    put(store, make(tmp_path / "device", "regular"), DEVICE)
    assert hints() == (False, True, True)


def test_lookup_in_an_empty_store(store: MemoryStore, tmp_path: Path) -> None:
    assert get(store, tmp_path) is None
    forget(store, tmp_path)


# ---------------------------------------------------------------- identity


@pytest.mark.parametrize("kind", KINDS)
def test_links_and_names_do_not_matter(store: MemoryStore, tmp_path: Path, kind: str) -> None:
    path = make(tmp_path / "first", kind)
    put(store, path, MAIL)
    if kind != "directory":
        os.link(path, tmp_path / "second", follow_symlinks=False)
        assert get(store, tmp_path / "second") == MAIL
        put(store, tmp_path / "second", NEWS)
        path.unlink()
        path = tmp_path / "second"
    else:
        put(store, path, NEWS)
    path.rename(tmp_path / "third")
    assert get(store, tmp_path / "third") == NEWS


def test_copy_is_another_file(store: MemoryStore, tmp_path: Path) -> None:
    path = make(tmp_path / "file", "regular")
    put(store, path, MAIL)
    (tmp_path / "copy").write_bytes(path.read_bytes())
    assert get(store, tmp_path / "copy") is None


def test_rename_over_takes_the_owner_along(store: MemoryStore, tmp_path: Path) -> None:
    old, new = make(tmp_path / "old", "regular"), make(tmp_path / "new", "regular")
    put(store, old, MAIL)
    put(store, new, NEWS)
    new.rename(old)
    assert get(store, old) == NEWS


@pytest.mark.parametrize("kind", ["regular", "directory", "symlink", "fifo", "socket"])
@pytest.mark.parametrize("base", ["", "/dev/shm"], ids=["disk", "tmpfs"])
def test_reused_inode_number(store: MemoryStore, tmp_path: Path, kind: str, base: str) -> None:
    """Whoever removes the file: another that gets its number is nobody's."""
    folder = tmp_path if not base else type(tmp_path)(base) / f"remainroot-test-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    path = folder / "file"
    reused = 0
    try:
        for _ in range(50):
            make(path, kind)
            number = path.lstat().st_ino
            put(store, path, MAIL)
            assert get(store, path) == MAIL
            path.rmdir() if kind == "directory" else path.unlink()
            make(path, kind)
            reused += path.lstat().st_ino == number
            assert get(store, path) is None
            path.rmdir() if kind == "directory" else path.unlink()
    finally:
        if base:
            folder.rmdir()
    # tmpfs counts up; a disk takes the lowest that is free, if no other process was faster.
    assert reused > 0 or base


def test_entry_of_a_lost_file_is_dropped_when_its_number_is_seen(store: MemoryStore, tmp_path: Path) -> None:
    path = make(tmp_path / "file", "regular")
    with held(path) as (fd, st):
        store.put(fd, st, MAIL)
        if store.table is None:
            store._owners[st.st_dev, st.st_ino] = (MAIL, b"the identity of another")
        else:
            store.table.put(st.st_dev, st.st_ino, b"the identity of another", 8, 8, 0, 0)
        assert store.get(fd, st) is None
    assert not (store._owners if store.table is None else len(store.table))


def test_identity_differs_between_files_and_not_between_names(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one", "regular"), make(tmp_path / "two", "regular")
    os.link(one, tmp_path / "same")
    seen = []
    for path in (one, two, tmp_path / "same"):
        with held(path) as (fd, _):
            seen.append(identity(fd))
    assert seen[0] == seen[2] != seen[1]
    assert all(seen)


def test_identity_of_an_open_file_outlives_its_name(store: MemoryStore, tmp_path: Path) -> None:
    path = make(tmp_path / "file", "regular")
    with held(path) as (fd, st):
        store.put(fd, st, MAIL)
        path.unlink()
        assert store.get(fd, os.fstat(fd)) == MAIL


def test_file_without_a_name(store: MemoryStore) -> None:
    fd = os.memfd_create("nameless")
    try:
        store.put(fd, os.fstat(fd), MAIL)
        assert store.get(fd, os.fstat(fd)) == MAIL
    finally:
        os.close(fd)


# ---------------------------------------------------------------- owners


def test_owners_are_values() -> None:
    assert Owner(1, 2) == Owner(1, 2)
    assert hash(Owner(1, 2)) == hash(Owner(1, 2))
    assert len({Owner(1, 2), Owner(1, 2), Owner(2, 1), Owner(1, 2, 0o4755), DEVICE}) == 4
    assert Owner(1, 2) != (1, 2, 0, 0)
    assert repr(DEVICE) == "Owner(0:6 mode=60640 rdev=0x801)"


def test_thousand_files_of_one_owner_share_it(tmp_path: Path) -> None:
    store = MemoryStore()
    for index in range(100):
        put(store, make(tmp_path / str(index), "regular"), Owner(8, 8))
    assert len({id(owner) for owner, _ in store._owners.values()}) == 1


def test_only_another_type_makes_a_placeholder(tmp_path: Path) -> None:
    st = make(tmp_path / "file", "regular").stat()
    assert is_placeholder(DEVICE, st)
    assert not is_placeholder(MAIL, st)
    assert not is_placeholder(Owner(0, 0, 0o104755), st)


def test_shown_mode(tmp_path: Path) -> None:
    """A placeholder shows its own mode and device, everything else the disk's, unless it has a mode of its own."""
    path = make(tmp_path / "file", "regular")
    path.chmod(0o751)
    st = path.stat()
    assert DEVICE.shown(st) == DEVICE
    assert MAIL.shown(st) == Owner(8, 8, 0o100751)
    assert Owner(8, 8, 0o104640).shown(st) == Owner(8, 8, 0o104640)


# ---------------------------------------------------------------- the compiled table


_files = st_.tuples(st_.integers(0, 3), st_.one_of(st_.integers(0, 60), st_.integers(2**64 - 3, 2**64 - 1)))
_identities = st_.binary(min_size=4, max_size=132)
_ids = st_.integers(0, 2**32 - 1)
_steps = st_.tuples(_files, st_.one_of(st_.none(), st_.tuples(_identities, _ids, _ids, _ids, _ids)))


@pytest.mark.skipif(kernel.compiled is None, reason="there is no compiled half, or REMAINROOT_PURE is set")
@given(st_.lists(_steps, max_size=400))
def test_a_table_is_a_dict(steps: list[tuple[tuple[int, int], tuple[bytes, int, int, int, int] | None]]) -> None:
    """Whatever is put and removed in whatever order; None removes."""
    table = kernel.compiled.Owners()
    known: dict[tuple[int, int], tuple[bytes, int, int, int, int]] = {}
    for file, put_ in steps:
        if put_ is None:
            table.remove(*file)
            known.pop(file, None)
        else:
            table.put(*file, *put_)
            known[file] = put_
        assert len(table) == len(known)
    for file, _ in steps:
        assert table.get(*file) == (known[file][1:] if file in known else None)
        if file in known:
            same = known[file][0]
            assert table.is_of(*file, same)
            assert not table.is_of(*file, same[:-1] + bytes([same[-1] ^ 1]))


@pytest.mark.skipif(kernel.compiled is None, reason="there is no compiled half, or REMAINROOT_PURE is set")
def test_a_table_holds_many_files_in_little_memory() -> None:
    table, before = kernel.compiled.Owners(), _resident()
    count = 200_000
    for ino in range(count):
        table.put(1, ino, b"0123456789abcdef", 42, 43, 0, 0)
    assert all(table.get(1, ino) == (42, 43, 0, 0) for ino in range(0, count, 1000))
    assert (_resident() - before) / count < 200


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
