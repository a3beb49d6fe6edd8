# SPDX-License-Identifier: GPL-2.0-or-later
"""Paths gone as a task without root's power would go them, for `remainroot.handlers.strict`.

Every directory that a name is looked up in must be one the task may search (path_resolution(7)). Whatever else is
wrong with a path is an OSError, which leaves the answer to the kernel: it has passed no judgement that the task could
not have had by itself.
"""

from __future__ import annotations

import os
from errno import EACCES, ELOOP, ENOENT, ENOTDIR, EXDEV
from stat import S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_ISDIR, S_ISLNK

from remainroot import acl, permissions
from remainroot.credentials import CAP_NET_ADMIN, CAP_SYS_RESOURCE
from remainroot.dispatch import Refused, guards
from remainroot.handlers.peers import owner_of_namespace
from remainroot.kernel import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_SYMLINK_NOFOLLOW,
    O_CLOEXEC,
    O_PATH,
    RESOLVE_BENEATH,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
)
from remainroot.permissions import EXECUTE, WRITE
from remainroot.pids import task_called
from remainroot.store.base import Owner, is_placeholder
from remainroot.tasks import thread_group, user_namespace
from remainroot.tracee import Walk, mountinfo_id, mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from remainroot.credentials import Credentials
    from remainroot.dispatch import Call, When
    from remainroot.quick import Quick

    Check = Callable[["Searcher"], None]

CHANGE: Final = WRITE | EXECUTE
"""What it takes of a directory to add or remove a name."""
_NOFOLLOW: Final = O_PATH | O_CLOEXEC | os.O_NOFOLLOW
_WITHIN: Final = RESOLVE_BENEATH | RESOLVE_IN_ROOT
_MAX_LINKS: Final = 40
_FREEZABLE: Final = (S_IFREG, S_IFDIR, S_IFLNK)
_OWN_LINKS: Final = (b"fd", b"fdinfo", b"map_files")
_MEMORY: Final = (b"auxv", b"environ", b"maps", b"numa_maps", b"pagemap", b"smaps", b"smaps_rollup")
"""What tells of a process' memory."""
_TRACERS: Final = (b"fdinfo", b"map_files", b"mem", *_MEMORY)
"""What procfs refuses to open to those who may not trace the process, whatever its mode: proc(5)."""


def setting(name: str) -> int:
    """A number of /proc/sys/fs; 1, as distributions have it, where it may not be read."""
    try:
        with open(f"/proc/sys/fs/{name}", "rb") as file:
            return int(file.read())
    except OSError:
        return 1


class File:
    """A file that was found: an O_PATH descriptor, closed with `close`, and its status on disk."""

    __slots__ = ("fd", "st")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.st = os.fstat(fd)

    def close(self) -> None:
        """Close it."""
        os.close(self.fd)

    @property
    def is_read_only(self) -> bool:
        """Whether the kernel refuses changes before it asks who wants them (EROFS)."""
        return bool(os.fstatvfs(self.fd).f_flag & os.ST_RDONLY)

    @property
    def mount(self) -> int:
        """The mount that it was found on: nothing is linked or renamed to another (EXDEV)."""
        return mountinfo_id(self.fd)


class Searcher:
    """What one caller may reach; `creds` are those that count. Whatever it finds is closed by `close`."""

    def __init__(self, call: Call, creds: Credentials | None = None) -> None:
        self.call = call
        self.creds = call.creds if creds is None else creds
        self.resolve = 0
        self.top = -1
        self._found: list[File] = []

    def restrict(self, dirfd: int, resolve: int) -> None:
        """Go all ways under these RESOLVE_* restrictions of openat2(2): what they forbid is an OSError."""
        self.resolve = resolve
        if resolve & _WITHIN:
            self.top = self.base(dirfd).fd

    def close(self) -> None:
        """Close all that was found."""
        for file in self._found:
            file.close()
        self._found.clear()

    def _keep(self, fd: int) -> File:
        file = File(fd)
        self._found.append(file)
        return file

    # -- permission

    def owner(self, file: File) -> Owner:
        """Whose it is, with its whole mode."""
        st = file.st
        world = self.call.world
        owner = world.correction(file.fd, st, self.call.tid)
        if owner is None and world.may_be_made_by(self.creds, file.fd, st):
            return Owner(self.creds.fsuid, self.creds.fsgid, st.st_mode)
        return Owner(st.st_uid, st.st_gid, st.st_mode, st.st_rdev) if owner is None else owner

    def permits(self, file: File, want: int) -> bool:
        """Whether the caller may do what is `want`ed (READ, WRITE, EXECUTE) with the file."""
        owner = self.owner(file)
        if self._is_of_own_namespace(file):
            return permissions.may_access(self.creds, Owner(self.creds.fsuid, owner.gid, owner.mode), None, want)
        entries = self._access_list(file) if permissions.needs_list(self.creds, owner) else None
        return permissions.may_access(self.creds, owner, entries, want)

    def demand(self, file: File, want: int) -> None:
        """Refused(EACCES) unless it `permits` that, or it is about the caller's own descriptors: those are its own."""
        if not self.permits(file, want) and not self._has_own_links(file):
            raise Refused(EACCES)
        if S_ISDIR(file.st.st_mode):
            self.may_inspect(file)

    def _access_list(self, file: File) -> list[acl.Entry] | None:
        store = self.call.world.store
        kept = None
        if not store.no_attributes:
            value = store.attributes(file.fd, file.st).get(acl.ACCESS)
            kept = None if value is None else acl.parse(value)
        if kept is not None:
            override = self.call.world.override(file.fd, file.st)
            if override is not None and is_placeholder(override, file.st):
                return acl.of_mode(kept, override.mode)
        try:
            current = acl.parse(os.getxattr(f"/proc/self/fd/{file.fd}", acl.ACCESS))
        except OSError:
            return None
        if kept is None or current is None or acl.named(current):
            return current
        return acl.merged(kept, current)

    def is_frozen(self, file: File) -> bool:
        """Whether its whole file system is read-only: the kernel says so (EROFS) before it asks who wants to write.

        Where only the mount is, the permission is asked for first. A device is written to wherever its node lies.
        """
        if not (file.is_read_only and S_IFMT(self.owner(file).mode) in _FREEZABLE):
            return False
        number = file.mount
        for mount in mounts(f"/proc/{self.call.tid}/mountinfo"):
            if mount.number == number:
                return b"ro" in mount.options.split(b" ")[-1].split(b",")
        return True

    # -- paths

    def base(self, dirfd: int) -> File:
        """What the caller's descriptor names, the working directory for AT_FDCWD."""
        files, tid = self.call.world.files, self.call.tid
        if dirfd == AT_FDCWD:
            return self._keep(files.base(tid, AT_FDCWD))
        fd = files.descriptor(tid, dirfd)
        return self._keep(self.call.world.behind(fd, os.fstat(fd))[0])

    def find(self, dirfd: int, path: bytes, *, follow: bool = True) -> File:
        """What the path names; Refused(EACCES) where the caller may not search a directory on the way."""
        if not path:
            raise OSError(ENOENT, os.strerror(ENOENT))
        fd = _Search(self).resolve(dirfd, path, follow=follow)
        return self._keep(self.call.world.behind(fd, os.fstat(fd))[0])

    def find_at(self, dirfd: int, index: int, flags: int = 0) -> File:
        """As `find`, for a path argument and AT_* flags; nothing is searched for the descriptor itself."""
        call = self.call
        path = b"" if flags & AT_EMPTY_PATH and not call.ptr(index) else call.path(index)
        if not path and flags & AT_EMPTY_PATH:
            return self.base(dirfd)
        return self.find(dirfd, path, follow=not flags & AT_SYMLINK_NOFOLLOW)

    def parent(self, dirfd: int, path: bytes, at: int = -1) -> tuple[File, bytes]:
        """The directory, which may be searched, that the last component is in, and that component; may be ".."."""
        path = path.rstrip(b"/")
        cut = path.rfind(b"/") + 1
        name = path[cut:]
        if not name:
            raise OSError(ENOENT, os.strerror(ENOENT))
        # The dot behind it: a link there is no last one, which protected_symlinks is about.
        directory = self._keep(_Search(self).resolve(dirfd, path[:cut] + b".", follow=True, at=at))
        self.search(directory)
        return directory, name

    def child(self, directory: File, name: bytes) -> File | None:
        """What is there of that name, links not followed, or None."""
        try:
            return self._keep(os.open(name, _NOFOLLOW, dir_fd=directory.fd))
        except FileNotFoundError:
            return None

    def destination(self, dirfd: int, path: bytes, *, follow: bool) -> tuple[File, File | None]:
        """Where open(2) would create a file, and what is there already: the last component, followed if `follow`."""
        directory, name = self.parent(dirfd, path)
        for _ in range(_MAX_LINKS):
            found = self.child(directory, name)
            if found is None or not follow or not S_ISLNK(found.st.st_mode):
                return directory, found
            if self.call.world.files.lies_on_proc(found.fd, found.st):
                break
            self.may_follow(directory, found)
            if self.resolve & RESOLVE_NO_SYMLINKS:
                raise OSError(ELOOP, os.strerror(ELOOP))
            target = os.readlink(b"", dir_fd=found.fd)
            if target.endswith(b"/"):
                break
            directory, name = self.parent(AT_FDCWD, target, directory.fd)
        return directory, self.find(dirfd, path)

    def search(self, directory: File) -> None:
        """Refused(EACCES) unless the caller may look names up in it."""
        if not S_ISDIR(directory.st.st_mode):
            raise OSError(ENOTDIR, os.strerror(ENOTDIR))
        self.demand(directory, EXECUTE)

    def may_follow(self, directory: File, link: File) -> None:
        """Refused(EACCES) for a link at a path's end that protected_symlinks keeps the caller from following."""
        protected = bool(setting("protected_symlinks"))
        if not permissions.may_follow(self.creds, self.owner(directory), self.owner(link), protected=protected):
            raise Refused(EACCES)

    # -- procfs

    def task_of(self, file: File) -> tuple[int, list[bytes]]:
        """Which task's file of procfs it is, by its number here, and the rest of its path; 0: that cannot be told."""
        files = self.call.world.files
        if not files.lies_on_proc(file.fd, file.st):
            return 0, []
        _, _, path = os.readlink(b"/proc/self/fd/%d" % file.fd).rpartition(b"/proc/")
        words = path.split(b"/")
        if words[1:2] == [b"task"] and len(words) > 2:
            words = words[2:]
        if not words[0].isdigit():
            return 0, []
        pid = int(words[0])
        depth = files.proc_depth(file.st, self.call.tid)
        return pid if depth == 1 else task_called(self.call.tid, pid, depth), words[1:]

    def _is_of_own_namespace(self, file: File) -> bool:
        """Whether it is a setting (proc_sys_user(5), proc_sys_net(5)) of a namespace of which the caller is master.

        To him who has the capability for it in there the owner's permissions apply.
        """
        if not self.call.world.files.lies_on_proc(file.fd, file.st):
            return False
        kind = os.readlink(b"/proc/self/fd/%d" % file.fd).partition(b"/proc/sys/")[2].partition(b"/")[0]
        if kind == b"user":
            return self.creds.capable_inside(CAP_SYS_RESOURCE)
        tid = self.call.tid
        return (
            kind == b"net"
            and self.creds.capable_inside(CAP_NET_ADMIN)
            and owner_of_namespace(tid, "net") == user_namespace(tid)
        )

    def may_inspect(self, file: File) -> None:
        """Refused(EACCES) for what procfs shows of another process to those only who may trace it."""
        if self.call.world.files.on_proc(file.st):
            tid, rest = self.task_of(file)
            if not tid or not rest or rest[0] not in _TRACERS or self._is_own(tid) or self._may_trace(tid):
                return
            if rest[0] not in _MEMORY or not permissions.may_profile(self.creds):
                raise Refused(EACCES)

    def _may_trace(self, tid: int) -> bool:
        state = self.call.world.tasks.state(tid)
        return permissions.may_trace(
            self.creds, state.creds, dumpable=state.dumpable == 1, memory=state.memory, by_fs_ids=True
        )

    def _has_own_links(self, file: File) -> bool:
        """Whether this is a directory about the caller's own descriptors, which is always open to it (proc(5))."""
        if not S_ISDIR(file.st.st_mode):
            return False  # a link in it has its own mode
        tid, rest = self.task_of(file)
        return bool(tid) and rest[:1] in ([name] for name in _OWN_LINKS) and self._is_own(tid)

    def _is_own(self, tid: int) -> bool:
        return thread_group(tid) == thread_group(self.call.tid)

    def may_jump(self, file: File) -> None:
        """Refused(EACCES) for a link to another process' files, or a directory of such, that is not for the caller."""
        tid, _ = self.task_of(file)
        if tid and not self._is_own(tid) and not self._may_trace(tid):
            raise Refused(EACCES)


class _Search(Walk):
    """The walk of one path, each step of which the searcher has to allow."""

    def __init__(self, searcher: Searcher) -> None:
        self.searcher = searcher
        self.mount = 0
        super().__init__(searcher.call.world.files, searcher.call.tid, searcher.top)

    def _forbids(self, restriction: int, error: int) -> None:
        if self.searcher.resolve & restriction:
            raise OSError(error, os.strerror(error))

    def searching(self, here: int) -> None:
        """Directories are searched."""
        directory = File(here)
        if self.searcher.resolve & RESOLVE_NO_XDEV:
            if self.mount not in (0, directory.mount):
                self._forbids(RESOLVE_NO_XDEV, EXDEV)
            self.mount = directory.mount
        self.searcher.search(directory)

    def following(self, here: int, link: int, *, last: bool) -> None:
        """Links at the end are followed."""
        if last:
            self.searcher.may_follow(File(here), File(link))
        self._forbids(RESOLVE_NO_SYMLINKS, ELOOP)

    def jumping(self, here: int) -> None:
        """Links of procfs."""
        self.searcher.may_jump(File(here))
        self._forbids(RESOLVE_NO_MAGICLINKS | _WITHIN, ELOOP)

    def restarting(self) -> None:
        """Ways out."""
        self._forbids(RESOLVE_BENEATH, EXDEV)


def searches(*names: str, when: tuple[When, ...] = (), quick: Quick | None = None) -> Callable[[Check], Check]:
    """As `remainroot.dispatch.guards`, of a function that is given a searcher, which is closed after it."""

    def declare(check: Check) -> Check:
        def guard(call: Call) -> None:
            searcher = Searcher(call)
            try:
                check(searcher)
            finally:
                searcher.close()

        guard.__doc__ = check.__doc__
        guard.__name__ = check.__name__
        guard.__module__ = check.__module__
        guards(*names, when=when, quick=quick)(guard)
        return check

    return declare
