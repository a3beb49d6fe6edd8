# SPDX-License-Identifier: GPL-2.0-or-later
"""Owners in memory, read from and written to a file as fakeroot(1) has it with -i and -s.

One line per file: `dev=%x,ino=%u,mode=%o,uid=%u,gid=%u,nlink=%u,rdev=%u`. The file says which device and inode number
an owner belongs to, and nothing else, so it holds for a tree that stays where it is between the two runs.
"""

from __future__ import annotations

import os
from stat import S_IFMT, S_IMODE, S_ISREG

from remainroot.errors import RemainrootError
from remainroot.store.base import Owner, identity, is_placeholder
from remainroot.store.memory import MemoryStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Final

    from remainroot._fast import Keys

    Key = tuple[int, int]

_NAMES: Final = ("dev", "ino", "mode", "uid", "gid", "nlink", "rdev")
_BASES: Final = (16, 10, 8, 10, 10, 10, 10)


class Line:
    """One file of a fakeroot file; `owner.mode` is its whole mode."""

    __slots__ = ("dev", "ino", "links", "owner")

    def __init__(self, dev: int, ino: int, owner: Owner, links: int = 1) -> None:
        self.dev = dev
        self.ino = ino
        self.owner = owner
        self.links = links

    def __str__(self) -> str:
        owner = self.owner
        return (
            f"dev={self.dev:x},ino={self.ino},mode={owner.mode:o},uid={owner.uid},gid={owner.gid},"
            f"nlink={self.links},rdev={owner.rdev}"
        )


def parse_line(text: str) -> Line:
    """A line's meaning; ValueError for what is none."""
    fields = [field.partition("=") for field in text.strip().split(",")]
    if tuple(name for name, _, _ in fields) != _NAMES or not all(value.isalnum() for _, _, value in fields):
        raise ValueError(f"not a line of a fakeroot file: {text!r}")
    dev, ino, mode, uid, gid, links, rdev = (
        int(value, base) for (_, _, value), base in zip(fields, _BASES, strict=True)
    )
    return Line(dev, ino, Owner(uid, gid, mode, rdev), links)


class _Whole(Owner):
    """An owner whose mode is shown in full: fakeroot has on disk one that it can work with, perhaps another."""

    __slots__ = ()

    def shown(self, st: os.stat_result) -> Owner:
        """With its own mode, if the file is of that type."""
        return self if S_IFMT(self.mode) == S_IFMT(st.st_mode) or is_placeholder(self, st) else super().shown(st)


class _Seen:
    """What was last known of a file that has an override."""

    __slots__ = ("disk", "links", "mode", "path", "rdev")

    def __init__(self, path: bytes, st: os.stat_result) -> None:
        self.path = path
        self.disk = st.st_mode
        self.mode = st.st_mode
        self.links = st.st_nlink
        self.rdev = st.st_rdev


class FakerootStore(MemoryStore):
    """`load` reads such a file; `saved_as`, if not empty, is where `save` writes one."""

    def __init__(self, saved_as: str = "") -> None:
        super().__init__()
        self.saved_as = os.path.abspath(saved_as) if saved_as else ""
        self.keeps_modes = True
        self._saved: str | None = None
        self._loaded: dict[Key, Line] = {}
        self._seen: dict[Key, _Seen] = {}

    # -- the file

    def load(self, path: str) -> None:
        """Take over what the file says. RemainrootError where it cannot be read or is no such file."""
        try:
            with open(path, encoding="ascii", errors="replace") as file:
                for number, text in enumerate(file, 1):
                    try:
                        line = parse_line(text)
                    except ValueError:
                        raise RemainrootError(f"{path}, line {number}: not as fakeroot saves it") from None
                    self._loaded[line.dev, line.ino] = line
        except OSError as error:
            raise RemainrootError(f"cannot read {path}: {error.strerror}") from None
        if self._loaded:
            self.assume_anything()
            self.no_attributes = True
            self.default_lists = False

    def lines(self) -> Iterator[Line]:
        """What `save` writes: every override whose file is still there, as far as can be told."""
        for (dev, ino), line in self._loaded.items():
            yield Line(dev, ino, line.owner, line.links)
        gone = self._gone()
        for key, (owner, _) in self._owners.items():
            if key not in gone:
                seen = self._seen[key]
                mode = owner.mode or seen.mode
                yield Line(*key, Owner(owner.uid, owner.gid, mode, owner.rdev or seen.rdev), seen.links)

    def save(self) -> None:
        """Write the file, if one is asked for; what goes wrong is said on standard error."""
        if not self.saved_as:
            return
        try:
            text = "".join(f"{line}\n" for line in self.lines())
            if text != self._saved:
                _write(self.saved_as, text)
                self._saved = text
        except OSError as error:
            message = f"remainroot: cannot save owners in {self.saved_as}: {error.strerror}\n"
            os.write(2, message.encode(errors="surrogateescape"))

    def close(self) -> None:
        """Save again: what outlived CMD may have changed something."""
        self.save()

    def watched_by(self, keys: Keys) -> bool:
        """As in Store: what was loaded counts."""
        for dev, ino in self._loaded:
            keys.add(dev, ino)
        return super().watched_by(keys)

    # -- owners

    def get(self, fd: int, st: os.stat_result) -> Owner | None:
        """The override; one that was loaded is the first's that has the inode number and the right type."""
        key = (st.st_dev, st.st_ino)
        line = self._loaded.pop(key, None) if self._loaded else None
        if line is not None:
            owner = _Whole(line.owner.uid, line.owner.gid, line.owner.mode, line.owner.rdev)
            if S_IFMT(owner.mode) == S_IFMT(st.st_mode) or S_ISREG(st.st_mode):
                super().put(fd, st, owner)
                self._see(fd, st)
                return owner
        return super().get(fd, st)

    def put(self, fd: int, st: os.stat_result, owner: Owner) -> None:
        """Record it, with the mode of now; a mode that was loaded stays until a chmod."""
        before = self.get(fd, st)
        now = os.fstat(fd)
        if isinstance(before, _Whole) and not owner.mode and S_IMODE(now.st_mode) == S_IMODE(self._disk(st)):
            owner = _Whole(owner.uid, owner.gid, before.mode, before.rdev)
        self._put(fd, now, owner)

    def put_after_chmod(self, fd: int, st: os.stat_result, owner: Owner) -> None:
        """As in Store: what was loaded counts no longer."""
        self._loaded.pop((st.st_dev, st.st_ino), None)
        self._put(fd, os.fstat(fd), owner)

    def _put(self, fd: int, now: os.stat_result, owner: Owner) -> None:
        super().put(fd, now, owner)
        self._see(fd, now)

    def forget(self, fd: int, st: os.stat_result) -> None:
        """Remove the override."""
        self._loaded.pop((st.st_dev, st.st_ino), None)
        super().forget(fd, st)

    def drop(self, dev: int, ino: int) -> None:
        """As in MemoryStore."""
        self._seen.pop((dev, ino), None)
        super().drop(dev, ino)

    def _disk(self, st: os.stat_result) -> int:
        seen = self._seen.get((st.st_dev, st.st_ino))
        return seen.disk if seen is not None else 0

    def _see(self, fd: int, st: os.stat_result) -> None:
        try:
            path = os.readlink(b"/proc/self/fd/%d" % fd)
        except OSError:
            path = b""
        self._seen[st.st_dev, st.st_ino] = _Seen(path, st)

    # -- which files are still there

    def _gone(self) -> set[Key]:
        """The files that were removed: neither where they were last seen nor, renamed, near there."""
        missing = set()
        for key in self._owners:
            if not self._is_at(key, self._seen[key].path):
                missing.add(key)
        tops: set[bytes] = set()
        for key in missing:
            top = os.path.dirname(self._seen[key].path)
            while len(top) > 1 and not os.path.isdir(top):
                top = os.path.dirname(top)
            if len(top) > 1:
                tops.add(top)
        for top in sorted(tops):
            if not missing:
                break
            self._search(top, missing)
        return missing

    def _is_at(self, key: Key, path: bytes) -> bool:
        try:
            st = os.lstat(path)
            if (st.st_dev, st.st_ino) != key:
                return False
            fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            if self._owners[key][1] != identity(fd):
                return False
        finally:
            os.close(fd)
        seen = self._seen[key]
        seen.mode, seen.links, seen.rdev = st.st_mode, st.st_nlink, st.st_rdev
        return True

    def _search(self, top: bytes, missing: set[Key]) -> None:
        """Look for the `missing` files (found ones are taken out) below `top`, on the same file system."""
        numbers = {ino for _, ino in missing}
        todo = [top]
        try:
            device = os.lstat(top).st_dev
        except OSError:
            return
        while todo and missing:
            for entry in _entries(todo.pop()):
                ino = entry.inode()
                if ino in numbers:
                    for key in [key for key in missing if key[1] == ino and self._is_at(key, entry.path)]:
                        missing.discard(key)
                        self._seen[key].path = entry.path
                if _is_directory(entry, device):
                    todo.append(entry.path)


def _write(path: str, text: str) -> None:
    """Write a file at once, so that nobody reads half of it; a device, or a file in another's directory, as it goes."""
    if os.path.isfile(path) or not os.path.lexists(path):
        new = f"{path}.{os.getpid()}"
        try:
            with open(new, "x", encoding="ascii") as file:
                file.write(text)
            os.replace(new, path)
        except PermissionError:
            pass
        else:
            return
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _entries(directory: bytes) -> Iterable[os.DirEntry[bytes]]:
    try:
        with os.scandir(directory) as found:
            return list(found)
    except OSError:
        return ()


def _is_directory(entry: os.DirEntry[bytes], device: int) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_dev == device
    except OSError:
        return False
