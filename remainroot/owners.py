# SPDX-License-Identifier: GPL-2.0-or-later
"""remainroot owners: list, export, import, convert, clean and really apply what a store knows of a tree."""

from __future__ import annotations

import os
import sys
from fcntl import ioctl
from stat import S_IFBLK, S_IFCHR, S_IFMT, S_IMODE, S_ISDIR, S_ISLNK, S_ISREG

from remainroot import acl, listing
from remainroot.errors import RemainrootError
from remainroot.kernel import chown_fd
from remainroot.listing import Item
from remainroot.settings import Settings
from remainroot.store.base import FLAGS, SET_ID, Owner, is_placeholder
from remainroot.store.choice import open_store
from remainroot.store.codec import KEEP
from remainroot.store.durable import DurableStore
from remainroot.store.sqlite import SqliteStore, file_of
from remainroot.store.xattr import XattrStore, carries_xattrs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final

    from remainroot.store.base import Store

USAGE: Final = """usage: remainroot owners ACTION [OPTION...] [TREE...]

  list TREE...           the files below TREE that have a fake owner
  export TREE            the same as JSON lines, for import
  import TREE < LIST     give the files below TREE the owners of a list
  convert TREE           move what one store knows (--store) to another (--to)
  prune TREE...          remove rows of files that are no more from the database
  apply TREE             (also --apply) as real root: make the fake owners real, and forget them

  --store STORE          where owners are kept (default: durable)
  --to STORE             convert: where they are to be kept
  --format FORMAT        table, json, mtree or fakeroot
  --all                  list, export, convert: every file, also those that nobody gave an owner;
                         prune: also rows of files that lay elsewhere and are not found
"""
_ACTIONS: Final = ("list", "export", "import", "convert", "prune", "apply")
_OVERFLOW: Final = 65534
_GETFLAGS: Final = 0x8008_6601
_SETFLAGS: Final = 0x4008_6602


class Options:
    """The command line."""

    def __init__(self, arguments: list[str]) -> None:
        self.action = ""
        self.trees: list[bytes] = []
        self.values = {"--store": "durable", "--to": "", "--format": ""}
        self.every = False
        words = iter(arguments)
        for word in words:
            name, equals, value = word.partition("=")
            if name in self.values:
                self.values[name] = value if equals else next(words, "")
            elif word == "--all":
                self.every = True
            elif word == "--apply":
                self.action = "apply"
            elif word.startswith("-") and word != "-":
                raise RemainrootError(f"owners: unknown option {word} (see remainroot owners --help)")
            elif not self.action:
                self.action = word
            else:
                self.trees.append(os.fsencode(word))
        if self.action not in _ACTIONS:
            raise RemainrootError(f"owners: no such action: {self.action!r} (see remainroot owners --help)")
        if not self.trees:
            raise RemainrootError(f"owners: {self.action} needs a TREE (see remainroot owners --help)")
        self.form = self.values["--format"] or ("table" if self.action == "list" else "json")
        if self.form not in listing.FORMATS:
            raise RemainrootError(f"owners: option --format is one of {', '.join(listing.FORMATS)}, not {self.form!r}")


# ---------------------------------------------------------------- a tree


class Entry:
    """A file of a tree, open (O_PATH) for as long as it is looked at."""

    __slots__ = ("directory", "fd", "name", "path", "st")

    def __init__(self, directory: int, name: bytes, path: bytes) -> None:
        self.directory = directory
        self.name = name
        self.path = path
        self.fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        self.st = os.fstat(self.fd)


def _open(tree: bytes) -> int:
    try:
        return os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise RemainrootError(f"owners: {os.fsdecode(tree)}: {error.strerror}") from None


def walk(tree: bytes) -> Iterator[Entry]:
    """Every file of `tree`, `.` first, by name; links are not followed, other file systems are entered."""
    top = _open(tree)
    try:
        entry = Entry(top, b".", b".")
        yield entry
        os.close(entry.fd)
        yield from _below(top, b"")
    finally:
        os.close(top)


def _below(directory: int, prefix: bytes) -> Iterator[Entry]:
    for name in sorted(os.fsencode(name) for name in os.listdir(directory)):
        try:
            entry = Entry(directory, name, prefix + name)
        except FileNotFoundError:
            continue
        try:
            yield entry
            if S_ISDIR(entry.st.st_mode):
                yield from _inside(entry)
        finally:
            os.close(entry.fd)


def _inside(entry: Entry) -> Iterator[Entry]:
    try:
        inner = os.open(entry.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=entry.directory)
    except OSError as error:
        complain(f"{os.fsdecode(entry.path)}: {error.strerror}")
        return
    try:
        yield from _below(inner, entry.path + b"/")
    finally:
        os.close(inner)


def complain(text: str) -> None:
    """One line on standard error."""
    os.write(2, f"remainroot: owners: {text}\n".encode(errors="surrogateescape"))


def default_owner(st: os.stat_result) -> Owner:
    """Who a file without an override belongs to: the ids that are not mapped are taken for root's, as in a run."""
    uid = 0 if st.st_uid == _OVERFLOW else st.st_uid
    gid = 0 if st.st_gid == _OVERFLOW else st.st_gid
    return Owner(uid, gid, st.st_mode, st.st_rdev)


def _item(store: Store, entry: Entry, *, every: bool) -> Item | None:
    """What the store knows of a file."""
    found = store.get(entry.fd, entry.st)
    attributes = store.attributes(entry.fd, entry.st)
    if found is None and not attributes and not every:
        return None
    owner = default_owner(entry.st)
    if found is not None:
        uid = owner.uid if found.uid == KEEP else found.uid
        gid = owner.gid if found.gid == KEEP else found.gid
        owner = Owner(uid, gid, found.mode, found.rdev).shown(entry.st)
    item = Item(entry.path, owner)
    item.attributes = dict(attributes)
    item.dev, item.ino, item.links = entry.st.st_dev, entry.st.st_ino, entry.st.st_nlink
    if S_ISLNK(entry.st.st_mode):
        item.target = os.readlink(b"", dir_fd=entry.fd)
    return item


# ---------------------------------------------------------------- the actions


def export(options: Options, store: Store) -> int:
    """Print a list."""
    sys.stdout.write(listing.header(options.form))
    for tree in options.trees:
        for entry in walk(tree):
            item = _item(store, entry, every=options.every)
            if item is not None:
                sys.stdout.write(listing.line(options.form, item))
    return 0


def give(store: Store, fd: int, st: os.stat_result, item: Item) -> None:
    """Record what `item` says about the file behind `fd`."""
    owner = item.owner
    kind = S_IFMT(owner.mode)
    if kind in (S_IFBLK, S_IFCHR) and kind != S_IFMT(st.st_mode):
        store.put(fd, st, owner)
    else:
        default = default_owner(st)
        kept = owner.mode & SET_ID if S_ISREG(st.st_mode) else 0
        if (owner.uid, owner.gid) == (default.uid, default.gid) and not kept:
            store.forget(fd, st)
        else:
            store.put(fd, st, Owner(owner.uid, owner.gid, st.st_mode & ~SET_ID | kept if kept else 0))
    for name, value in item.attributes.items():
        store.put_attribute(fd, st, name, value)


def import_(options: Options, store: Store) -> int:
    """Read a list from standard input."""
    tree = options.trees[0]
    items = list(listing.read(options.form, sys.stdin.read()))
    if options.form == "fakeroot":
        wanted = {(item.dev, item.ino): item for item in items}
        for entry in walk(tree):
            item = wanted.pop((entry.st.st_dev, entry.st.st_ino), None)
            if item is not None:
                give(store, entry.fd, entry.st, item)
        missing = len(wanted)
    else:
        missing = 0
        for item in items:
            try:
                fd = os.open(os.path.join(tree, item.path), os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError as error:
                complain(f"{os.fsdecode(item.path)}: {error.strerror}")
                missing += 1
                continue
            try:
                give(store, fd, os.fstat(fd), item)
            finally:
                os.close(fd)
    if missing:
        complain(f"{missing} of {len(items)} files of the list were not found")
    return 1 if missing else 0


def convert(options: Options, store: Store) -> int:
    """From one store to another."""
    if not options.values["--to"]:
        raise RemainrootError("owners: convert needs --to STORE")
    new = open_store(options.values["--to"])
    same_database = _database(store) is not None and _database(store) == _database(new)
    on_files = isinstance(store, XattrStore | DurableStore) and isinstance(new, XattrStore | DurableStore)
    for tree in options.trees:
        for entry in walk(tree):
            fd, st = entry.fd, entry.st
            owner = store.get(fd, st)
            if owner is None and options.every and carries_xattrs(st):
                owner = Owner(default_owner(st).uid, default_owner(st).gid)
            kept = store.attributes(fd, st)
            shared = on_files if carries_xattrs(st) else same_database
            if owner is not None:
                new.put(fd, st, owner)
                if not shared:
                    store.forget(fd, st)
            for name, value in kept.items():
                new.put_attribute(fd, st, name, value)
                if not shared:
                    store.forget_attribute(fd, st, name)
    new.close()
    return 0


def _database(store: Store) -> str | None:
    """The path of the store's database, if it has one."""
    inner = store.other if isinstance(store, DurableStore) else store
    return os.path.realpath(inner.database.path) if isinstance(inner, SqliteStore) else None


def prune(options: Options, store: Store) -> int:
    """Remove the rows of files that are no more."""
    database = store.other if isinstance(store, DurableStore) else store
    if not isinstance(database, SqliteStore):
        raise RemainrootError("owners: this store has no database to prune")
    found = {file_of(entry.fd, entry.st).key for tree in options.trees for entry in walk(tree)}
    tops = [os.path.realpath(tree) for tree in options.trees]
    removed = 0
    for row in list(database.rows()):
        inside = any(row.path == top or row.path.startswith(top.rstrip(b"/") + b"/") for top in tops)
        if row.file not in found and (inside or options.every) and not _is_there(row.file, row.path):
            database.remove(row.file)
            removed += 1
    sys.stdout.write(f"{removed} stale rows removed\n")
    return 0


def _is_there(key: bytes, path: bytes) -> bool:
    try:
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return file_of(fd, os.fstat(fd)).key == key
    finally:
        os.close(fd)


def apply(options: Options, store: Store) -> int:
    """Make fake owners real. Only real root can."""
    with open("/proc/self/uid_map", "rb") as file:
        if os.geteuid() != 0 or file.read().split() != [b"0", b"0", b"4294967295"]:
            raise RemainrootError("owners: apply is for real root, outside of every user namespace")
    failed = 0
    for tree in options.trees:
        for entry in walk(tree):
            try:
                _apply(store, entry)
            except OSError as error:
                complain(f"{os.fsdecode(entry.path)}: {error.strerror}")
                failed += 1
    return 1 if failed else 0


def _apply(store: Store, entry: Entry) -> None:
    fd, st = entry.fd, entry.st
    kept = dict(store.attributes(fd, st))
    owner = store.get(fd, st)
    old = os.dup(fd)
    try:
        _apply_owner(entry, owner)
        for name, value in kept.items():
            if not store.hides(name) and name != FLAGS:
                os.setxattr(f"/proc/self/fd/{fd}", name, _current(f"/proc/self/fd/{old}", name, value))
        for name in kept:
            store.forget_attribute(old, st, name)
        if owner is not None:
            store.forget(old, st)
        if FLAGS in kept:
            _apply_flags(fd, int.from_bytes(kept[FLAGS], "little"))
    finally:
        os.close(old)


def _apply_flags(fd: int, flags: int) -> None:
    """Last of all, for nothing can be changed afterwards."""
    file = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        own = int.from_bytes(ioctl(file, _GETFLAGS, bytes(4)), "little")
        ioctl(file, _SETFLAGS, (own | flags).to_bytes(4, "little"))
    finally:
        os.close(file)


def _current(path: str, name: str, value: bytes) -> bytes:
    """An attribute's value; an access list with the permissions it has now."""
    entries = acl.parse(value) if name in acl.NAMES else None
    if entries:
        try:
            now = acl.parse(os.getxattr(path, name))
        except OSError:
            now = None
        if now:
            return acl.pack(acl.merged(entries, now))
    return value


def _apply_owner(entry: Entry, owner: Owner | None) -> None:
    fd, st = entry.fd, entry.st
    if owner is not None and is_placeholder(owner, st):
        new = entry.name + b".remainroot"
        os.mknod(new, owner.mode, owner.rdev, dir_fd=entry.directory)
        os.chown(new, owner.uid, owner.gid, dir_fd=entry.directory, follow_symlinks=False)
        os.chmod(new, S_IMODE(owner.mode), dir_fd=entry.directory)
        os.rename(new, entry.name, src_dir_fd=entry.directory, dst_dir_fd=entry.directory)
        fd = os.open(entry.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=entry.directory)
        os.dup2(fd, entry.fd, inheritable=False)
        os.close(fd)
    elif owner is not None:
        chown_fd(fd, owner.uid, owner.gid)
        if not S_ISLNK(st.st_mode):  # chown took the set-id bits
            os.chmod(f"/proc/self/fd/{fd}", S_IMODE(owner.shown(st).mode))


_DO: Final[dict[str, Callable[[Options, Store], int]]] = {
    "list": export,
    "export": export,
    "import": import_,
    "convert": convert,
    "prune": prune,
    "apply": apply,
}


def main(arguments: list[str]) -> int:
    """Entry point of the subcommand; the exit status: 0, 1 if a file failed, 125."""
    if not arguments:
        raise RemainrootError("owners: no action given (see remainroot owners --help)")
    if arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(USAGE)
        return 0
    options = Options(arguments)
    if options.action != "apply":
        from remainroot.launch import enter_namespace

        # The same place as a run's: there every file of ours can be read, whatever its mode.
        enter_namespace(Settings(), anyway=True)
    for tree in options.trees:
        os.close(_open(tree))
    store = open_store(options.values["--store"])
    try:
        return _DO[options.action](options, store)
    finally:
        store.close()
