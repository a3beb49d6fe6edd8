# SPDX-License-Identifier: GPL-2.0-or-later
"""Building a box's file system, in the process that will be CMD: once its own namespaces are made, until it is `/`."""

from __future__ import annotations

import os
import sys

from remainroot.containers import archive, mounts, namespaces
from remainroot.errors import RemainrootError
from remainroot.kernel import attach_mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    import tarfile
    from collections.abc import Callable
    from typing import Final
else:
    import _signal as signal

_STAGES: Final = ("/tmp", "/mnt", "/run", "/var/tmp")  # noqa: S108  # each only covered by a mount of ours
_DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS: Final = {
    "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx",
}  # fmt: skip
_QUIET: Final = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC


class Plan:
    """What a box's file system consists of.

    `binds` are (from, to, read-only); `overlay` is None for none, "" for one that is thrown away, or the directory that
    keeps the changes; `image` is set where `source` must be unpacked.
    """

    __slots__ = ("binds", "image", "network", "overlay", "read_only", "source", "tmpfs")

    def __init__(self, source: str) -> None:
        self.source = source
        self.image: archive.Image | None = None
        self.overlay: str | None = None
        self.read_only = False
        self.network = "host"
        self.binds: list[tuple[str, str, bool]] = []
        self.tmpfs: list[str] = []


def _blame(what: str, error: OSError) -> RemainrootError:
    return RemainrootError(f"box: {what}: {error.strerror}")


def _open(path: str, what: str, flags: int = 0) -> int:
    try:
        return os.open(path, mounts.O_PATH | os.O_CLOEXEC | flags)
    except OSError as error:
        raise _blame(f"{what} {path}", error) from None


def build(plan: Plan) -> None:
    """Make everything that `plan` says the root of this process, which has a mount namespace of its own.

    RemainrootError that names what could not be had.
    """
    mounts.make_private()
    # Everything is opened before anything is covered.
    binds = [(_open(source, "cannot bind"), source, target, ro) for source, target, ro in plan.binds]
    resolver = _resolver(plan)
    console = _console()
    host = {name: _open(f"/{name}", "there is no") for name in ("sys", "proc", "dev")}
    stage = _stage(plan)
    root = _open(stage, "cannot use", os.O_DIRECTORY)
    try:
        _furnish(plan, root, host)
        if console >= 0:
            mounts.bind(console, mounts.file_in(root, "/dev/console"))
        for source, name, target, read_only in binds:
            _bind(root, source, target, name, read_only=read_only)
        if resolver >= 0:
            _bind_resolver(root, resolver)
        if plan.read_only:
            mounts.make_read_only(root, recursive=False)
    except OSError as error:
        name = f" ({os.fsdecode(error.filename)})" if error.filename else ""
        raise _blame(f"cannot prepare {plan.source}{name}", error) from None
    try:
        os.fchdir(root)
    except OSError as error:
        raise _blame(f"cannot use {plan.source}", error) from None
    mounts.become_root()


# ---------------------------------------------------------------- the tree itself


def _stage(plan: Plan) -> str:
    """Put the tree of files itself somewhere; the path of that place."""
    stage = next((path for path in _STAGES if os.path.isdir(path)), "")
    if not stage:
        raise RemainrootError(f"box: none of {', '.join(_STAGES)} is here to mount a root on")
    if plan.image is not None:
        opened = [archive.open_archive(layer) for layer in plan.image.layers]
        _fresh(stage, "755")
        for layer, one in zip(plan.image.layers, opened, strict=True):
            why = run_child(lambda one=one: _unpack_below(one, stage))  # type: ignore[misc]
            if why:
                raise RemainrootError(f"box: {layer} could not be unpacked: {why}")
        return stage
    source = _open(plan.source, "cannot use", os.O_DIRECTORY)
    if plan.overlay is None:
        tree = mounts.copy_tree(source)
        attach_mount(tree, _open(stage, "cannot use"))
        os.close(tree)
        return stage
    directory = plan.overlay
    kept = _layers(directory) if directory else None
    _fresh(stage, "700")
    upper, work = kept or _layers(stage)
    os.mkdir(f"{stage}/root")
    try:
        mounts.overlay(source, upper, work, f"{stage}/root")
    except OSError as error:
        hint = "another directory for --overlay" if directory else "--overlay=DIR on a file system with user xattrs"
        raise RemainrootError(f"box: overlayfs refuses {plan.source} ({error.strerror}): try {hint}") from None
    return f"{stage}/root"


def _fresh(stage: str, mode: str) -> None:
    """A file system in memory, gone with the last process of the box."""
    mounts.mount("tmpfs", stage, "tmpfs", 0, f"mode={mode}")


def _layers(directory: str) -> tuple[int, int]:
    """The upper and the working directory of an overlay, made where they are missing."""
    found = []
    for name in ("upper", "work"):
        try:
            os.makedirs(f"{directory}/{name}", 0o755, exist_ok=True)
        except OSError as error:
            raise _blame(f"cannot keep changes in {directory}", error) from None
        found.append(_open(f"{directory}/{name}", "cannot use", os.O_DIRECTORY))
    return found[0], found[1]


def _unpack_below(one: tarfile.TarFile, stage: str) -> None:
    """Unpack one layer with the new root as root, so that nothing leads out."""
    import tarfile

    os.chroot(stage)
    os.chdir("/")
    try:
        archive.unpack(one)
    except (OSError, tarfile.TarError, EOFError) as error:
        raise RemainrootError(str(error)) from None


def run_child(work: Callable[[], None]) -> str:
    """Run `work` in a child that the terminal's signals reach; why it failed, "" if it did not."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        text = "it was killed"
        try:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            work()
            text = ""
        except RemainrootError as error:
            text = str(error)
        except BaseException as error:  # noqa: BLE001  # nothing of ours may go on in the child
            text = f"{type(error).__name__}: {error}"
        finally:
            os.write(writer, b"." + text.encode(errors="surrogateescape"))
            os._exit(0)
    os.close(writer)
    text = os.fsdecode(os.read(reader, 4096))
    os.close(reader)
    status = os.waitpid(pid, 0)[1]
    return text[1:] if text else f"signal {os.WTERMSIG(status)}"


# ---------------------------------------------------------------- what every box has


def _furnish(plan: Plan, root: int, host: dict[str, int]) -> None:
    """proc, sys, dev, and the file systems in memory."""
    proc = mounts.directory_in(root, "/proc")
    try:
        mounts.mount_on(proc, "proc", _QUIET)
    except PermissionError:
        # The surrounding container hides parts of its own, and a fresh one would show them.
        mounts.bind(host["proc"], proc)
    sys_directory = mounts.directory_in(root, "/sys")
    # The host's, for a fresh one belongs to whoever owns the network namespace.
    mounts.bind(host["sys"], sys_directory, read_only=True)
    _devices(root, host["dev"])
    for target in plan.tmpfs:
        mode = "mode=1777" if target.rstrip("/") in {"/tmp", "/var/tmp"} else "mode=755"  # noqa: S108
        mounts.mount_on(mounts.directory_in(root, target), "tmpfs", mounts.MS_NOSUID | mounts.MS_NODEV, mode)


def _devices(root: int, host: int) -> None:
    """A /dev of its own: the host's harmless devices, and terminals of its own."""
    mounts.mount_on(mounts.directory_in(root, "/dev"), "tmpfs", mounts.MS_NOSUID, "mode=755")
    for name in _DEVICES:
        try:
            device = os.open(name, mounts.O_PATH | os.O_CLOEXEC, dir_fd=host)
        except FileNotFoundError:
            continue
        mounts.bind(device, mounts.file_in(root, f"/dev/{name}"))
        os.close(device)
    pts = mounts.directory_in(root, "/dev/pts")
    mounts.mount_on(pts, "devpts", mounts.MS_NOSUID | mounts.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    shm = mounts.directory_in(root, "/dev/shm")  # noqa: S108
    mounts.mount_on(shm, "tmpfs", mounts.MS_NOSUID | mounts.MS_NODEV, "mode=1777")
    here = mounts.path_in(root, "/dev")
    for name, target in _LINKS.items():
        os.symlink(target, name, dir_fd=here)
    os.close(here)


def _console() -> int:
    """The caller's terminal, -1 if it has none. Inside, its name on the host's /dev/pts would mean nothing."""
    for fd in (0, 1, 2):
        try:
            # By its name, for the descriptor is of a mount in the caller's namespace.
            return os.open(os.ttyname(fd), mounts.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
    return -1


# ---------------------------------------------------------------- binds


def _bind(root: int, source: int, target: str, name: str, *, read_only: bool) -> None:
    is_directory = os.path.isdir(f"/proc/self/fd/{source}")
    try:
        place = mounts.directory_in(root, target) if is_directory else mounts.file_in(root, target)
        mounts.bind(source, place, read_only=read_only)
    except OSError as error:
        raise _blame(f"cannot bind {name} to {target}", error) from None
    os.close(place)


def _resolver(plan: Plan) -> int:
    """The host's resolv.conf, where the box shares its network; -1 if it gets none."""
    if plan.network != "host" or any(target == "/etc/resolv.conf" for _, target, _ in plan.binds):
        return -1
    try:
        return os.open("/etc/resolv.conf", mounts.O_PATH | os.O_CLOEXEC)
    except OSError:
        return -1


def _bind_resolver(root: int, source: int) -> None:
    """Show it in a root that has an /etc; without one, nobody would look."""
    try:
        os.close(mounts.path_in(root, "/etc"))
    except FileNotFoundError:
        return
    try:
        mounts.bind(source, mounts.file_in(root, "/etc/resolv.conf"), read_only=True)
    except OSError as error:
        sys.stderr.write(f"remainroot: box: no /etc/resolv.conf: {error.strerror}\n")


def isolate(plan: Plan) -> int:
    """Give this process the namespaces of a box but for the user, pid and cgroup ones; which they are."""
    flags = namespaces.NEWNS | namespaces.NEWIPC | namespaces.NEWUTS
    if plan.network == "none":
        flags |= namespaces.NEWNET
    try:
        namespaces.unshare(flags)
    except OSError as error:
        raise RemainrootError(
            f"box: namespaces are refused ({error.strerror}): the surrounding container or security module forbids them"
        ) from None
    return flags


def isolate_cgroup() -> int:
    """The same for the cgroup namespace, in which this process's cgroup is the root; 0 where there can be none."""
    try:
        namespaces.unshare(namespaces.NEWCGROUP)
    except OSError:
        return 0
    return namespaces.NEWCGROUP
