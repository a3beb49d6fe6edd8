# SPDX-License-Identifier: GPL-2.0-or-later
"""Which file a task means: paths resolved as the task would, by the kernel (path_resolution(7)).

The kernel resolves: openat2(2) from a descriptor of the task's own root, working directory or dirfd, with O_PATH, so
that nothing is opened for real. Two things it cannot do for somebody else: follow a magic link of procfs (it would
take the supervisor's /proc/self), and start at the working directory of a task that has another root. It refuses both
(ELOOP, EXDEV), and then `Walk` goes the path component by component, each step still made by the kernel.
"""

from __future__ import annotations

import os
from errno import ELOOP, ENOENT, ENOTDIR, EXDEV
from stat import S_ISDIR, S_ISLNK

from remainroot.kernel import (
    AT_FDCWD,
    O_CLOEXEC,
    O_PATH,
    PROC_SUPER_MAGIC,
    RESOLVE_BENEATH,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    fs_type,
    mount_id,
    open_path,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_O_DIR: Final = O_PATH | O_CLOEXEC | os.O_DIRECTORY
_O_ANY: Final = O_PATH | O_CLOEXEC
_MAX_LINKS: Final = 40
_PROC_ROOT_INO: Final = 1


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def _field(path: str, name: bytes) -> bytes:
    """The value of the line `name` (no colon) of a small file of procfs; OSError if there is no such file or line."""
    fd = os.open(path, os.O_RDONLY | O_CLOEXEC)
    try:
        text = b"\n" + os.read(fd, 8192)
    finally:
        os.close(fd)
    start = text.find(b"\n" + name + b":")
    if start < 0:
        raise _error(ENOENT)
    start += len(name) + 2
    return text[start : text.index(b"\n", start)].strip()


def status_field(tid: int, name: bytes) -> bytes:
    """What /proc/TID/status says of the task: proc_pid_status(5). OSError if it is gone."""
    return _field(f"/proc/{tid}/status", name)


def descriptor_field(tid: int, fd: int, name: bytes) -> bytes:
    """What /proc/TID/fdinfo says of the task's descriptor `fd`: proc_pid_fdinfo(5). OSError if there is none."""
    return _field(f"/proc/{tid}/fdinfo/{fd}", name)


def open_flags(tid: int, fd: int) -> int:
    """What the task's descriptor `fd` was opened with, and O_CLOEXEC if an exec closes it. OSError if there is none."""
    return int(descriptor_field(tid, fd, b"flags"), 8)


def mountinfo_id(fd: int) -> int:
    """The number that our descriptor's mount has in proc_pid_mountinfo(5): another gets it when this one is gone."""
    return int(descriptor_field(os.getpid(), fd, b"mnt_id"))


class Mount:
    """A line of proc_pid_mountinfo(5): number, the parent's, device, root, place, kind of file system, its options."""

    __slots__ = ("device", "kind", "number", "options", "parent", "place", "root")

    def __init__(self, line: bytes) -> None:
        before, _, after = line.rstrip(b"\n").partition(b" - ")
        number, parent, device, self.root, place, *_ = before.split(b" ")
        self.number, self.parent = int(number), int(parent)
        self.device = os.makedev(*map(int, device.split(b":")))
        first, *parts = place.split(b"\\")
        self.place = first + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in parts)
        self.kind, _, self.options = after.split(b" ", 2)


def mounts(source: int | str) -> list[Mount]:
    """What a file `mountinfo` of procfs tells: a path, or a descriptor, which is closed."""
    with open(source, "rb") as file:
        return [Mount(line) for line in file]


def umask_of(tid: int) -> int:
    """The task's umask."""
    return int(status_field(tid, b"Umask"), 8)


def _depth_of(top: int, tid: int) -> int:
    """As `Files.proc_depth`, of the procfs with this first directory."""
    try:
        # It shows us by our number, or a number that is none of ours, or not at all.
        if os.readlink("self", dir_fd=top) == str(os.getpid()):
            return 1
    except OSError:
        pass
    numbers = status_field(tid, b"NStgid").split()
    for depth in range(2, len(numbers) + 1):
        number = numbers[depth - 1]
        try:
            if _field(f"/proc/self/fd/{top}/{int(number)}/status", b"NStgid").split() == numbers[depth - 1 :]:
                return depth
        except OSError:
            continue  # nobody there has that number
    return 0


def _is_link(start: int, path: bytes, flags: int) -> bool:
    """Whether the path, its last component not followed, names a symbolic link."""
    try:
        fd = open_path(start, path, flags, follow=False)
    except OSError:
        return False
    try:
        return S_ISLNK(os.fstat(fd).st_mode)
    finally:
        os.close(fd)


class Files:
    """Resolves what tasks mean. Every descriptor handed out is O_PATH and the caller's to close."""

    def __init__(self) -> None:
        self.roots_differ = False
        """A task may have another root directory or mount namespace than the supervisor (it made such a call)."""
        self._proc_devices: dict[int, bool] = {}
        self._own: dict[int, int] = {}
        try:
            self._own[os.stat("/proc/self/").st_dev] = 1
        except OSError:
            pass
        self._depths = self._own.copy()
        """By device number of a procfs: `proc_depth`."""

    # -- descriptors

    def descriptor(self, tid: int, fd: int) -> int:
        """What the task's descriptor `fd` names; OSError(ENOENT) if it has none of that number."""
        return os.open(f"/proc/{tid}/fd/{fd}", _O_ANY)

    def base(self, tid: int, dirfd: int) -> int:
        """The directory that relative paths start at.

        The working directory for AT_FDCWD, else the task's descriptor.
        """
        if dirfd == AT_FDCWD:
            return os.open(f"/proc/{tid}/cwd", _O_DIR)
        return os.open(f"/proc/{tid}/fd/{dirfd}", _O_DIR)

    def is_path_only(self, tid: int, fd: int) -> bool:
        """Whether the task's descriptor `fd` was opened with O_PATH (most calls refuse it: EBADF)."""
        if os.lstat(f"/proc/{tid}/fd/{fd}").st_mode & 0o600:
            return False  # open for reading or writing, as the link's mode tells (proc_pid_fd(5))
        return bool(open_flags(tid, fd) & O_PATH)

    # -- paths

    def resolve(self, tid: int, dirfd: int, path: bytes, *, follow: bool = True, at: int = -1) -> int:
        """What `path` names to the task, its last component followed if it is a symbolic link and `follow`.

        A relative path starts at the task's `dirfd`, or at our own descriptor `at` if one is given.
        """
        if not path:
            raise _error(ENOENT)
        start, flags = self._start(tid, dirfd, path, at)
        try:
            try:
                if not (flags & RESOLVE_BENEATH and b".." in path and self._is_outside(tid, start)):
                    return open_path(start, path, flags, follow=follow)
            except OSError as error:
                if error.errno != ELOOP and error.errno != EXDEV and not self._by_way_of_proc(start, path, flags):
                    raise
        finally:
            if start >= 0:
                os.close(start)
        return Walk(self, tid).resolve(dirfd, path, follow=follow, at=at)

    def resolve_restricted(self, tid: int, dirfd: int, path: bytes, resolve: int) -> int:
        """As `resolve`, under the RESOLVE_* restrictions of openat2(2); OSError too where only the task can."""
        confined = resolve & (RESOLVE_IN_ROOT | RESOLVE_BENEATH)
        start, flags = self._start(tid, dirfd, b"." if confined else path, -1)
        try:
            return open_path(start, path, resolve | (RESOLVE_NO_MAGICLINKS if confined else flags))
        finally:
            if start >= 0:
                os.close(start)

    def _start(self, tid: int, dirfd: int, path: bytes, at: int) -> tuple[int, int]:
        """Where the kernel is to start (a descriptor to close, or AT_FDCWD), and the flags that keep it there."""
        if path[:1] != b"/":
            start = self.base(tid, dirfd) if at < 0 else os.dup(at)
            return start, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS if self.roots_differ else RESOLVE_NO_MAGICLINKS
        if not self.roots_differ:
            return AT_FDCWD, RESOLVE_NO_MAGICLINKS
        return os.open(f"/proc/{tid}/root", _O_DIR), RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS

    @staticmethod
    def _is_outside(tid: int, start: int) -> bool:
        """Whether a relative path begins outside the task's root (chroot(2)), so that it may meet it on its way."""
        root = os.readlink(b"/proc/%d/root" % tid).rstrip(b"/") + b"/"
        return not (os.readlink(b"/proc/self/fd/%d" % start) + b"/").startswith(root)

    def _by_way_of_proc(self, start: int, path: bytes, flags: int) -> bool:
        """Whether a path that names nothing to us may name something to the task.

        It does if it goes through /proc/self: then what remains of it, without the components that are not there, is on
        procfs, or ends at a symbolic link that leads there.
        """
        follow = False
        while path:
            try:
                fd = open_path(start, path, flags, follow=follow)
            except OSError:
                path = path.rstrip(b"/")
                if follow and _is_link(start, path, flags):
                    return True  # to what is not there for us
                path = path[: path.rfind(b"/") + 1]
                follow = True
                continue
            try:
                return not follow or fs_type(fd) == PROC_SUPER_MAGIC
            finally:
                os.close(fd)
        return False

    def resolve_again(self, tid: int, dirfd: int, path: bytes, *, follow: bool = True) -> int:
        """As `resolve`, for a path whose result lies on procfs.

        /proc/self is taken for the task's, not the supervisor's.
        """
        return Walk(self, tid).resolve(dirfd, path, follow=follow)

    def parent(self, tid: int, dirfd: int, path: bytes, *, at: int = -1) -> tuple[int, bytes]:
        """The directory that the last component of `path` is in, and that component: where something may be created.

        OSError(ENOENT) if it is not a plain name, or the directory is procfs', where nothing is.
        """
        cut = path.rfind(b"/")
        name = path[cut + 1 :]
        if name in (b"", b".", b".."):
            raise _error(ENOENT)
        if cut >= 0:
            directory = self.resolve(tid, dirfd, path[: cut + 1], at=at)
        else:
            directory = self.base(tid, dirfd) if at < 0 else os.dup(at)
        if fs_type(directory) == PROC_SUPER_MAGIC:
            os.close(directory)
            raise _error(ENOENT)
        return directory, name

    def on_proc(self, st: os.stat_result) -> bool:
        """Whether the file of `st` may lie on procfs, as far as its device number tells (`note_device` teaches it)."""
        return self._proc_devices.get(st.st_dev, True)

    def note_device(self, fd: int, st: os.stat_result) -> bool:
        """Learn what file system the device of `st` is, from `fd`; True if it is procfs."""
        proc = self._proc_devices[st.st_dev] = fs_type(fd) == PROC_SUPER_MAGIC
        return proc

    def lies_on_proc(self, fd: int, st: os.stat_result) -> bool:
        """Whether the file of `st`, which `fd` is of, lies on procfs."""
        return self.on_proc(st) and self.note_device(fd, st)

    def forget_devices(self) -> None:
        """A file system was mounted; its device may have the number of one that is gone."""
        self._proc_devices.clear()
        self._depths = self._own.copy()

    def proc_depth(self, st: os.stat_result, tid: int, top: int = -1) -> int:
        """Of which pid namespace this file's procfs is: 1 the supervisor's, 2 one within that, and so on.

        It is that of a number in the task's NSpid. `top` is the first directory of the procfs; else the task's /proc
        may be it. 0: that cannot be told; it is taken to be the task's own.
        """
        depth = self._depths.get(st.st_dev, 0)
        if not depth:
            try:
                fd = os.open(f"/proc/{tid}/root/proc", _O_ANY) if top < 0 else os.dup(top)
                try:
                    if os.fstat(fd).st_dev == st.st_dev:
                        depth = _depth_of(fd, tid)
                finally:
                    os.close(fd)
            except OSError:
                pass
            if depth:
                self._depths[st.st_dev] = depth
        return depth

    def self_name(self, tid: int, top: int, name: bytes) -> bytes:
        """What /proc/self and /proc/thread-self point to for the task, in the procfs whose first directory is `top`."""
        level = self.proc_depth(os.fstat(top), tid, top) - 1
        tgid = status_field(tid, b"NStgid").split()[level]
        if name == b"self":
            return tgid  # for each field the kernel writes the whole status
        return tgid + b"/task/" + status_field(tid, b"NSpid").split()[level]


class Walk:
    """One path gone component by component in the task's root, or in `top`.

    For one `resolve`; subclasses may object on the way.
    """

    def __init__(self, files: Files, tid: int, top: int = -1) -> None:
        self.files = files
        self.tid = tid
        self.root = os.open(f"/proc/{tid}/root", _O_DIR) if top < 0 else os.dup(top)
        st = os.fstat(self.root)
        self.root_key = (st.st_dev, st.st_ino)
        self.links = 0

    def resolve(self, dirfd: int, path: bytes, *, follow: bool, at: int = -1) -> int:
        """As `Files.resolve`, once."""
        here = -1
        try:
            if path[:1] == b"/":
                self.restarting()
                at = self.root
            here = self.files.base(self.tid, dirfd) if at < 0 else os.dup(at)
            rest = path.split(b"/")[::-1]
            while rest:
                name = rest.pop()
                if not name:
                    # A trailing slash: what was named must be a directory, and a link there is followed.
                    if not rest and not os.path.isdir(f"/proc/self/fd/{here}"):
                        raise _error(ENOTDIR)
                    continue
                at, here = here, -1
                here = self._step(at, name, rest, follow=follow)
            found, here = here, -1
            return found
        finally:
            os.close(self.root)
            if here >= 0:
                os.close(here)

    def searching(self, here: int) -> None:
        """A name, "." and ".." too, is about to be looked up in `here`."""

    def following(self, here: int, link: int, *, last: bool) -> None:
        """The symbolic link `link` in `here` is about to be followed; `last`: it ends the path."""

    def jumping(self, here: int) -> None:
        """A magic link in `here` is about to be followed."""

    def restarting(self) -> None:
        """An absolute path is about to lead to the root, or ".." to be held there."""

    def _step(self, here: int, name: bytes, rest: list[bytes], *, follow: bool) -> int:
        """From the directory `here` (closed) to `name`; what a link points to is pushed on `rest`."""
        replaced = False
        try:
            self.searching(here)
            if name == b".":
                if not S_ISDIR(os.fstat(here).st_mode):
                    raise _error(ENOTDIR)
                replaced = True
                return here
            if name == b"..":
                st = os.fstat(here)
                if (st.st_dev, st.st_ino) == self.root_key and mount_id(here) == mount_id(self.root):
                    self.restarting()
                    replaced = True
                    return here
                return os.open(name, _O_DIR, dir_fd=here)
            found = os.open(name, _O_ANY | os.O_NOFOLLOW, dir_fd=here)
            st = os.fstat(found)
            if not S_ISLNK(st.st_mode) or (not rest and not follow):
                return found
            self.links += 1
            if self.links > _MAX_LINKS:
                os.close(found)
                raise _error(ELOOP)
            return self._follow(here, name, found, rest)
        finally:
            if not replaced:
                os.close(here)

    def _follow(self, here: int, name: bytes, link: int, rest: list[bytes]) -> int:
        """Where the symbolic link `link` (closed), found as `name` in `here`, leads to: the directory to go on from."""
        try:
            self.following(here, link, last=not any(rest))
            if fs_type(link) == PROC_SUPER_MAGIC:
                at_top = os.fstat(here).st_ino == _PROC_ROOT_INO
                if at_top and name in (b"self", b"thread-self"):
                    target = self.files.self_name(self.tid, here, name)
                    rest.extend(target.split(b"/")[::-1])
                    return os.dup(here)
                if not at_top:
                    try:
                        os.close(open_path(here, name, RESOLVE_NO_MAGICLINKS))
                    except OSError as error:
                        if error.errno == ELOOP:  # a magic link: the kernel jumps
                            self.jumping(here)
                            return os.open(name, _O_ANY, dir_fd=here)
            target = os.readlink(b"", dir_fd=link)
        finally:
            os.close(link)
        if target[:1] == b"/":
            self.restarting()
            here = self.root
        rest.extend(target.split(b"/")[::-1])
        return os.dup(here)
