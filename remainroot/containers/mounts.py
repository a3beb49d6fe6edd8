# SPDX-License-Identifier: GPL-2.0-or-later
"""Mounts: mount(2), the newer mount API, pivot_root(2); and ways into a foreign root that no link leads out of."""

from __future__ import annotations

import os
from errno import EAGAIN, EEXIST, EINVAL, ENOENT, ENOSYS
from struct import Struct

from remainroot import kernel
from remainroot.kernel import AT_RECURSIVE, MNT_DETACH, attach_mount, copy_mount
from remainroot.libc import syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18

_AARCH64: Final = os.uname().machine == "aarch64"
_SYS_PIVOT_ROOT: Final = 41 if _AARCH64 else 155
_SYS_OPENAT2, _SYS_MOUNT_SETATTR = 437, 442

_AT_FDCWD: Final = -100
_AT_EMPTY_PATH: Final = 0x1000
_AT_RECURSIVE: Final = 0x8000
_MOUNT_ATTR_RDONLY: Final = 1
_RESOLVE_IN_ROOT: Final = 0x10
O_PATH: Final = 0o10000000

_attributes: Final = Struct("=QQQQ")
_how: Final = Struct("=QQQ")


# ---------------------------------------------------------------- mounts


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    kernel.mount(os.fsencode(source), os.fsencode(target), kind.encode(), flags, os.fsencode(data) or None)


def unmount(target: str) -> None:
    """Detach what is mounted at `target`, and all below it: umount2(2) with MNT_DETACH."""
    kernel.unmount(os.fsencode(target), MNT_DETACH)


def make_private() -> None:
    """Keep every mount of this namespace to itself."""
    mount("none", "/", flags=MS_REC | MS_PRIVATE)


def copy_tree(fd: int) -> int:
    """A detached copy of the mounts at what `fd` (O_PATH) names and below."""
    return copy_mount(fd, AT_RECURSIVE)


def make_read_only(fd: int, *, recursive: bool = True) -> None:
    """Make the mount that `fd` names the root of read-only, and those below it: mount_setattr(2)."""
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    request = _attributes.pack(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    try:
        syscall(_SYS_MOUNT_SETATTR, fd, b"", flags, request, len(request))
    except OSError as error:
        if error.errno not in (ENOSYS, EINVAL):
            raise
        # Before Linux 5.12: one mount at a time, and the flags that it was given once must be repeated.
        path = f"/proc/self/fd/{fd}"
        kept = os.statvfs(fd).f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC)
        mount("none", path, flags=MS_REMOUNT | MS_BIND | MS_RDONLY | kept)


def bind(source: int, target: int, *, read_only: bool = False) -> None:
    """Show what `source` names (with what is mounted below it) at `target` as well; both are descriptors."""
    tree = copy_tree(source)
    try:
        if read_only:
            make_read_only(tree)
        attach_mount(tree, target)
    finally:
        os.close(tree)


def mount_on(target: int, kind: str, flags: int, data: str = "") -> None:
    """Mount a new file system of this `kind` on what the descriptor `target` names."""
    mount(kind, f"/proc/self/fd/{target}", kind, flags, data)


def overlay(lower: int, upper: int, work: int, target: str) -> None:
    """Mount `lower` with changes going to `upper`, as root of a user namespace may (overlayfs, Linux 5.11).

    `lower`, `upper` and `work` are descriptors: nothing in a path needs escaping then.
    """
    options = ",".join(
        [*(f"{name}dir=/proc/self/fd/{fd}" for name, fd in (("lower", lower), ("upper", upper), ("work", work))),
         "userxattr"]
    )  # fmt: skip
    mount("overlay", target, "overlay", 0, options)


def union(directories: tuple[int, ...], target: str) -> None:
    """Mount what is in these directories (descriptors) over each other, the first on top, for reading only."""
    lower = ":".join(f"/proc/self/fd/{fd}" for fd in directories)
    mount("overlay", target, "overlay", MS_RDONLY, f"lowerdir={lower},userxattr")


def become_root() -> None:
    """Make the current directory (a mount) the root of every process of this mount namespace, and drop the old one."""
    syscall(_SYS_PIVOT_ROOT, b".", b".")
    unmount(".")
    os.chdir("/")


# ---------------------------------------------------------------- paths inside a root


def open_in(root: int, path: str, flags: int, mode: int = 0) -> int:
    """Open `path` as a process would whose root directory is `root` (a descriptor): openat2(2)."""
    name = os.fsencode(path)
    how = _how.pack(flags | os.O_CLOEXEC, mode, _RESOLVE_IN_ROOT)
    while True:
        try:
            return syscall(_SYS_OPENAT2, root, name, how, len(how))
        except OSError as error:
            if error.errno != EAGAIN:
                raise


def path_in(root: int, path: str) -> int:
    """An O_PATH descriptor of `path` in `root`."""
    return open_in(root, path, O_PATH)


def directory_in(root: int, path: str) -> int:
    """As `path_in`, for a directory, which is made where it is missing, and those it is in as well."""
    here = path_in(root, "/")
    done = ""
    for name in path.split("/"):
        if not name:
            continue
        done += "/" + name
        os.close(here)
        try:
            here = open_in(root, done, O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            _make(root, done)
            here = open_in(root, done, O_PATH | os.O_DIRECTORY)
    return here


def _make(root: int, path: str) -> None:
    """mkdir(2) the last component of `path`, or what a link there points to."""
    parent = directory_in(root, os.path.dirname(path))
    name = os.path.basename(path)
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
    except FileExistsError:
        # A symbolic link that leads nowhere.
        target = os.readlink(name, dir_fd=parent)
        os.close(directory_in(root, os.path.normpath(os.path.join(os.path.dirname(path), target))))
    finally:
        os.close(parent)


def file_in(root: int, path: str) -> int:
    """As `path_in`, for a file that is not a directory; an empty one is made where it is missing."""
    try:
        return path_in(root, path)
    except OSError as error:
        if error.errno != ENOENT:
            raise
    parent = directory_in(root, os.path.dirname(path))
    os.close(parent)
    try:
        os.close(open_in(root, path, os.O_CREAT | os.O_WRONLY, 0o644))
    except OSError as error:
        if error.errno not in (ENOENT, EEXIST):
            raise
        # A link into a directory that is missing.
        target = os.readlink(os.path.basename(path), dir_fd=(parent := directory_in(root, os.path.dirname(path))))
        os.close(parent)
        return file_in(root, os.path.normpath(os.path.join(os.path.dirname(path), target)))
    return path_in(root, path)
