# SPDX-License-Identifier: GPL-2.0-or-later
"""A program of the host in a container that lacks it, and what it needs: `remainroot enter --host-exe`.

A static program needs nothing but an open file. Any other sees, together with all it starts, a root of its own in a
private mount namespace: the container's, in which what the container's system directories lack is the host's
(overlayfs, read-only), so that loader, libraries and support files are found where the program expects them. Where the
container has a loader of its own, which is another C library's or another version's, the host's is started by name
and told to look for libraries on the host first.
"""

from __future__ import annotations

import os
import stat

from remainroot.containers import mounts, namespaces, programs
from remainroot.errors import EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND, RemainrootError
from remainroot.kernel import attach_mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, NoReturn

_SHARED: Final = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""Directories of the root in which the two are joined."""
_STAGES: Final = ("tmp", "mnt", "run", "sys", "proc", "dev")
"""Directories of a container to cover for a moment, in a mount namespace that nobody else sees."""
_HOST: Final = ".host"
_LIBRARIES: Final = ("/usr/local/lib", "/usr/lib", "/lib", "/usr/lib64", "/lib64")


class Guest:
    """The program, opened while we are still on the host."""

    def __init__(self, command: list[str]) -> None:
        """Find it and what it needs. RemainrootError if it cannot be started here either."""
        self.command = command
        found = programs.find(command[0], os.environ.get("PATH", os.defpath))
        if not found:
            raise RemainrootError(f"enter: {command[0]}: the host has no such program", EXIT_NOT_FOUND)
        why = programs.obstacle(found)
        if why or not os.access(found, os.X_OK):
            raise RemainrootError(f"enter: {command[0]}: {why or 'it is not executable'}", EXIT_NOT_EXECUTABLE)
        self.path = os.path.realpath(found)
        self.file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        elf = programs.read_elf(self.file)
        self.is_script = elf is None
        self.loader = elf.interpreter if elf is not None else self._loader_of_script()
        self.needs_host = self.is_script or bool(self.loader)
        self.libraries = self._library_path() if self.loader else ""
        self._name = self.path
        """Where it is in the new root: the container's file comes first, where it has one of that name."""
        self._tree = -1
        self._own_loader = False

    def _loader_of_script(self) -> str:
        """The loader of the program that interprets it; the interpreter is started by name, found in the union."""
        words = os.pread(self.file, 256, 0)[2:].split(b"\n", 1)[0].split()
        fd = os.open(words[0] if words else b"/bin/sh", os.O_RDONLY | os.O_CLOEXEC)
        try:
            elf = programs.read_elf(fd)
        finally:
            os.close(fd)
        return elf.interpreter if elf is not None else ""

    def _library_path(self) -> str:
        """Where the host's loader is to look for libraries, under the name the host has inside."""
        near = os.path.dirname(os.path.realpath(self.loader))
        triplets = [f"{path}/{os.path.basename(near)}" for path in _LIBRARIES[:3]]
        seen: dict[str, None] = {}
        for path in (near, *triplets, *_LIBRARIES):
            if os.path.isdir(path):
                seen[f"/{_HOST}{os.path.realpath(path)}"] = None
        return ":".join(seen)

    # -- in CMD's process

    def take_host_along(self) -> None:
        """Copy the host's mounts, before the container's namespace is joined."""
        if not self.needs_host:
            return
        namespaces.unshare(namespaces.NEWNS)
        mounts.make_private()
        root = os.open("/", mounts.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._tree = mounts.copy_tree(root)
        os.close(root)

    def move_in(self) -> None:
        """Make the root of container and host, once the container's is ours."""
        if not self.needs_host:
            return
        self._own_loader = os.path.exists(self.loader)
        if self.path.split("/")[1] not in _SHARED or os.path.lexists(self.path):
            self._name = f"/{_HOST}{self.path}"
        namespaces.unshare(namespaces.NEWNS)
        mounts.make_private()
        container = os.open("/", mounts.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        entries = {name: os.open(name, mounts.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=container)
                   for name in os.listdir("/")}  # fmt: skip
        stage = next((name for name in _STAGES if os.path.isdir(f"/{name}")), "")
        if not stage:
            raise RemainrootError("enter: the container has no directory to mount a root on")
        mounts.mount("tmpfs", f"/{stage}", "tmpfs", 0, "mode=755")
        os.chdir(f"/{stage}")
        os.mkdir(_HOST)
        host = os.open(_HOST, mounts.O_PATH | os.O_CLOEXEC)
        attach_mount(self._tree, host)
        os.close(host)
        host = os.open(_HOST, mounts.O_PATH | os.O_CLOEXEC)
        try:
            mounts.make_read_only(host)
        except OSError:
            pass  # as it was on the host
        for name in {*entries, *(name for name in _SHARED if os.path.lexists(f"{_HOST}/{name}"))}:
            if name in _SHARED:
                _join(name, entries.get(name, -1), host)
            else:
                _copy(name, entries[name])
        os.chroot(".")
        os.chdir("/")

    @staticmethod
    def name_of(directory: int) -> str:
        """What the container's `directory` is called."""
        return os.readlink(f"/proc/self/fd/{directory}")

    def execute(self) -> NoReturn:
        """Start it; OSError if it cannot be."""
        name, *rest = self.command
        if not self.needs_host:
            os.execve(self.file, [name, *rest], os.environ)  # noqa: S606
        if self.is_script or not self._own_loader:
            os.execve(self._name, [name, *rest], os.environ)  # noqa: S606
        words = [name, "--library-path", self.libraries, "--argv0", name, f"/{_HOST}{self.path}"]
        os.execve(f"/{_HOST}{self.loader}", [*words, *rest], os.environ)  # noqa: S606


def _copy(name: str, entry: int) -> None:
    """Show one entry of the container's root in the new one."""
    mode = os.fstat(entry).st_mode
    if stat.S_ISLNK(mode):
        os.symlink(os.readlink("", dir_fd=entry), name)
        return
    if stat.S_ISDIR(mode):
        os.mkdir(name)
    else:
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    target = os.open(name, mounts.O_PATH | os.O_CLOEXEC)
    mounts.bind(entry, target)
    os.close(target)


def _join(name: str, entry: int, host: int) -> None:
    """Show a system directory of the container in the new root, and the host's where it has none."""
    if entry >= 0 and not stat.S_ISDIR(os.fstat(entry).st_mode):
        _copy(name, entry)
        return
    theirs = f"{_HOST}/{name}"
    if not os.path.isdir(theirs):
        _copy(name, entry)
        return
    if entry < 0 and os.path.islink(theirs):
        os.symlink(os.readlink(theirs), name)
        return
    ours = mounts.open_in(host, name, mounts.O_PATH | os.O_DIRECTORY)
    if entry < 0:
        os.mkdir(name)
        target = os.open(name, mounts.O_PATH | os.O_CLOEXEC)
        mounts.bind(ours, target, read_only=True)
        os.close(target)
    elif os.path.samestat(os.fstat(entry), os.fstat(ours)):
        _copy(name, entry)
    else:
        _unite(name, entry, ours)
    os.close(ours)


def _unite(name: str, entry: int, ours: int) -> None:
    os.mkdir(name)
    try:
        mounts.union((entry, ours), name)
    except OSError as error:
        raise RemainrootError(
            f"enter: overlayfs refuses the container's /{name} over the host's ({error.strerror}): try --with-host-root"
        ) from None
