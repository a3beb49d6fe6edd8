# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian roots, and the single-mapping places to run them in.

A root is built once by mmdebstrap and kept as a tar file. A place is a way to become uid 0 of a user
namespace that maps one uid and one gid: unshare(1), bubblewrap, rootless podman, or what remainroot itself
makes for a plain user. In each the same shell script runs, with or without remainroot in front.

The supervisor stands either outside the root (a minimal root has no Python: `remainroot -- chroot ROOT CMD`)
or inside it (an image with Python, where remainroot lies in /opt/remainroot).
"""

from __future__ import annotations

import atexit
import compileall
import contextlib
import fcntl
import functools
import importlib.util
import os
import shlex
import shutil
import signal
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Image = Literal["minimal", "python"]

SUITE = os.environ.get("REMAINROOT_SUITE", "bookworm")
MIRROR = os.environ.get("REMAINROOT_MIRROR", "")
UID = 12345
"""The unprivileged user; it needs no passwd entry and has no subordinate ids."""
INSIDE = "/opt/remainroot"
"""Where remainroot lies in an image that has Python."""
ENGINES = ("notify", "trace", "ptrace")
TIMEOUT = 900
"""Seconds after which one run counts as hung."""

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "DEBIAN_FRONTEND": "noninteractive",
    "PYTHONDONTWRITEBYTECODE": "1",
}


def cache_dir() -> Path:
    """The directory that keeps roots and packages between runs: REMAINROOT_CACHE, or one in /var/cache."""
    path = Path(os.environ.get("REMAINROOT_CACHE") or "/var/cache/remainroot-tests")
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o755)
    return path


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.with_name(path.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@functools.cache
def root_tar(image: Image) -> Path:
    """The tar file of a Debian minbase root, with python3 for "python"; built at the first need."""
    arch = subprocess.run(
        ["dpkg", "--print-architecture"], check=True, capture_output=True, text=True
    ).stdout.strip()
    tar = cache_dir() / f"root-{SUITE}-{arch}-{image}.tar"
    with _locked(tar):
        if tar.exists():
            return tar
        part = tar.with_name(tar.name + ".part")
        command = ["mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", "--format=tar"]
        command += ["--skip=output/dev", '--aptopt=Acquire::Languages "none"', "--dpkgopt=force-unsafe-io"]
        if image == "python":
            command.append("--include=python3")
        command += [SUITE, str(part)]
        if MIRROR:
            command.append(MIRROR)
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        part.chmod(0o644)
        part.rename(tar)
    return tar


def debs() -> Path:
    """The directory of packages that earlier runs have downloaded."""
    path = cache_dir() / f"debs-{SUITE}"
    path.mkdir(exist_ok=True)
    return path


def keep_debs(root: Path) -> None:
    """Remember the packages that apt has downloaded into this root."""
    for deb in (root / "var/cache/apt/archives").glob("*.deb"):
        kept = debs() / deb.name
        if not kept.exists():
            part = kept.with_suffix(f".{os.getpid()}")
            shutil.copyfile(deb, part)
            part.chmod(0o644)
            part.rename(kept)


def install_into(site: Path) -> None:
    """Put remainroot and the Python modules it uses where every user can read them, with a program.

    The clone and its virtual environment may lie in a directory that only root can enter.
    """
    shutil.copytree(_compiled(), site, dirs_exist_ok=True)


@functools.cache
def _compiled() -> Path:
    """What `install_into` copies: a user who cannot write the compiled modules would compile them at each start."""
    site = Path(tempfile.mkdtemp(prefix="remainroot-site-"))
    atexit.register(shutil.rmtree, site, ignore_errors=True)
    for name in ("remainroot", "ptrace", "pyseccomp", "structlog"):
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            msg = f"{name} is not installed"
            raise RuntimeError(msg)
        origin = Path(spec.origin)
        if origin.name == "__init__.py":
            shutil.copytree(origin.parent, site / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(origin, site / origin.name)
    compileall.compile_dir(site, quiet=2)
    program = site / "bin/remainroot"
    program.parent.mkdir()
    program.write_text(
        "#!/usr/bin/python3\n"
        "import os, sys\n"
        "sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))\n"
        "from remainroot.cli import main\n"
        "sys.exit(main())\n"
    )
    for directory, _, files in os.walk(site):
        Path(directory).chmod(0o755)
        for file in files:
            (Path(directory) / file).chmod(0o644)
    program.chmod(0o755)
    return site


def restore_owners(image: Image) -> str:
    """A shell script that gives a root unpacked by a plain user the owners and modes its tar file says."""
    lines = []
    with tarfile.open(root_tar(image)) as tar:
        for member in tar:
            if member.uid or member.gid:
                path = shlex.quote("/" + member.name.removeprefix("./"))
                lines.append(f"chown -h {member.uid}:{member.gid} {path}")
                if not member.issym():
                    lines.append(f"chmod {member.mode:o} {path}")
    return "\n".join(lines)


def unprivileged(argv: Sequence[str]) -> list[str]:
    """Run it as the unprivileged user, with no groups."""
    return ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--", *argv]


def single_mapping(argv: Sequence[str]) -> list[str]:
    """Run it as uid 0 of a user namespace that maps this one user, with its own mounts and processes."""
    unshare = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--"]
    return [*unshare, *argv]


MOUNTS = """
set -e
root=$1; shift
mkdir -p $root/proc $root/sys $root/dev $root/run $root/etc
mount -t proc proc /proc
mount -t proc proc $root/proc
mount --rbind /sys $root/sys
mount --rbind /dev $root/dev
mount -t tmpfs -o mode=755 tmpfs $root/run
mkdir -m 1777 $root/run/lock
"""
"""What a root needs mounted; the supervisor's own /proc must show its own pid namespace."""

LIST = r"""(
find / /run -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /opt/remainroot \) -prune -o -print0 |
sort -z | xargs -0 stat --printf='%n\t%A %u:%g %t,%T\n'
)"""
"""Print every file of the root, with type, mode, owner and device number, as a task sees them."""


@dataclass
class Room:
    """One directory tree for one run: the root, and room beside it that the unprivileged user may write."""

    top: Path
    image: Image

    @property
    def root(self) -> Path:
        """The Debian root."""
        return self.top / "root"

    @property
    def site(self) -> Path:
        """Where remainroot is installed for this run."""
        return self.top / "site"

    def unpack(self) -> None:
        """Unpack the root as the unprivileged user: all that had another owner loses it."""
        tar = ["tar", "--no-same-owner", "-xpf", str(root_tar(self.image)), "-C", str(self.root)]
        subprocess.run(unprivileged(tar), check=True)
        resolv = Path("/etc/resolv.conf").read_text(encoding="utf-8")
        (self.root / "etc/resolv.conf").write_text(resolv, encoding="utf-8")
        for name in ("opt/remainroot", "mnt/debs"):
            subprocess.run(unprivileged(["mkdir", "-p", str(self.root / name)]), check=True)


def scratch_dir() -> str:
    """Where rooms are made: REMAINROOT_SCRATCH, or memory if there is plenty (3 times as fast), or /tmp."""
    given = os.environ.get("REMAINROOT_SCRATCH")
    if given:
        return given
    with contextlib.suppress(OSError):
        shm = os.statvfs("/dev/shm")
        if shm.f_bavail * shm.f_bsize > 4 << 30 and not shm.f_flag & (os.ST_NOEXEC | os.ST_NOSUID):
            return "/dev/shm"
    return tempfile.gettempdir()


@contextlib.contextmanager
def room(image: Image, *, owner: int = UID) -> Iterator[Room]:
    """Make an empty room in the directory for temporary files, and remove it at the end."""
    top = Path(tempfile.mkdtemp(prefix="remainroot-", dir=scratch_dir()))
    try:
        top.chmod(0o755)
        made = Room(top, image)
        made.site.mkdir()
        install_into(made.site)
        for name in ("root", "home", "run"):
            (top / name).mkdir(mode=0o755 if name == "root" else 0o700)
            os.chown(top / name, owner, owner)
        yield made
    finally:
        shutil.rmtree(top)


def unpack_script(room: Room, *, keep: bool) -> str:
    """Fill the root of a place whose supervisor stands outside; keep owners if there is one, or real root."""
    options = " ".join(f"--exclude=./{name}" for name in ("dev", "proc", "sys", "run"))
    if not keep:
        options += " --no-same-owner"
    return f"""
        tar {options} -xpf {root_tar(room.image)} -C {room.root}
        cat /etc/resolv.conf >{room.root}/etc/resolv.conf
        find {debs()} -name '*.deb' -exec cp -t {room.root}/var/cache/apt/archives '{{}}' +
    """


def chroot_script(room: Room, script: str, *, keep: bool) -> str:
    """Fill the root and run the script in it, in one go (owners are remembered for one run)."""
    return f"set -e; {unpack_script(room, keep=keep)}\nexec chroot {room.root} sh -ec {shlex.quote(script)}"


def inside_script(room: Room, script: str, *, keep: bool) -> str:
    """Mend the root that a plain user unpacked and run the script, the supervisor inside the root."""
    copy = "find /mnt/debs -name '*.deb' -exec cp -t /var/cache/apt/archives {} +"
    owners = restore_owners(room.image) if keep else ""
    return f"set -e; {owners}\n{copy}\n{script}"


def real_root(room: Room, script: str, shim: Sequence[str]) -> list[str]:
    """The truth: real root in a chroot, no user namespace."""
    assert not shim
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--"]
    return [*unshare, "sh", "-c", MOUNTS + 'exec "$@"', "enter", str(room.root), "sh", "-c",
            chroot_script(room, script, keep=True)]  # fmt: skip


def unshare_outside(room: Room, script: str, shim: Sequence[str]) -> list[str]:
    """unshare(1), the supervisor outside a minimal root: `remainroot -- chroot ROOT CMD`."""
    inner = [*shim, "sh", "-c", chroot_script(room, script, keep=bool(shim))]
    return unprivileged(
        single_mapping(["sh", "-c", MOUNTS + 'exec "$@"', "enter", str(room.root), *inner])
    )


def unshare_inside(room: Room, script: str, shim: Sequence[str]) -> list[str]:
    """unshare(1), the supervisor in the root, as `python3 -m remainroot`."""
    room.unpack()
    enter = (
        MOUNTS + f"mount --bind {room.site} $root{INSIDE}; mount --bind {debs()} $root/mnt/debs\n"
        'exec chroot $root "$@"'
    )
    if shim:
        shim = ["env", f"PYTHONPATH={INSIDE}", "python3", "-m", "remainroot", *shim[1:]]
    inner = [*shim, "sh", "-c", inside_script(room, script, keep=bool(shim))]
    return unprivileged(single_mapping(["sh", "-c", enter, "enter", str(room.root), *inner]))


def _bwrap(room: Room, script: str, shim: Sequence[str], *more: str) -> list[str]:
    room.unpack()
    if shim:
        shim = [f"{INSIDE}/bin/remainroot", *shim[1:]]
    return unprivileged([
        "bwrap", "--unshare-user", "--uid", "0", "--gid", "0", "--unshare-pid",
        "--bind", str(room.root), "/", "--dev", "/dev", "--proc", "/proc", "--ro-bind", "/sys", "/sys",
        "--tmpfs", "/run", "--ro-bind", "/etc/resolv.conf", "/etc/resolv.conf",
        "--ro-bind", str(room.site), INSIDE, "--ro-bind", str(debs()), "/mnt/debs", *more, "--",
        *shim, "sh", "-c", inside_script(room, script, keep=bool(shim)),
    ])  # fmt: skip


def bwrap_caps(room: Room, script: str, shim: Sequence[str]) -> list[str]:
    """bubblewrap with every capability of its namespace, and no_new_privs."""
    return _bwrap(room, script, shim, "--cap-add", "ALL")


def bwrap_bare(room: Room, script: str, shim: Sequence[str]) -> list[str]:
    """bubblewrap as it is by default: uid 0 without a single capability, and no_new_privs."""
    return _bwrap(room, script, shim)


def podman(room: Room, script: str, shim: Sequence[str]) -> list[str]:
    """Rootless podman with runc, its default seccomp profile and capabilities.

    podman wants its user to have a name: it gets one in a private mount of /etc/passwd.
    """
    room.unpack()
    if shim:
        shim = [f"{INSIDE}/bin/remainroot", *shim[1:]]
    passwd = room.top / "passwd"
    passwd.write_text(
        Path("/etc/passwd").read_text(encoding="utf-8")
        + f"remainroot-test:x:{UID}:{UID}::{room.top}/home:/bin/sh\n",
        encoding="utf-8",
    )
    environment = [f"HOME={room.top}/home", f"XDG_RUNTIME_DIR={room.top}/run"]
    inner = [word for name, value in ENVIRONMENT.items() for word in ("--env", f"{name}={value}")]
    run = [
        "env", *environment, "podman", "--runtime", "runc", "run", "--rm", "--network=host", *inner,
        "--volume", f"{room.site}:{INSIDE}:ro", "--volume", f"{debs()}:/mnt/debs:ro",
        "--rootfs", str(room.root), *shim, "sh", "-c", inside_script(room, script, keep=bool(shim)),
    ]  # fmt: skip
    mount = 'mount --bind "$1" /etc/passwd; shift; exec "$@"'
    return ["unshare", "--mount", "sh", "-ec", mount, "enter", str(passwd), *unprivileged(run)]


def plain_host(room: Room, script: str, shim: Sequence[str]) -> list[str]:
    """A plain user on a plain host: remainroot makes the user namespace, and CMD its mounts."""
    mounts = MOUNTS.replace("mount -t proc proc /proc\n", "").replace("-t proc proc", "--rbind /proc")
    inner = ["sh", "-c", mounts + chroot_script(room, script, keep=bool(shim)), "enter", str(room.root)]
    if not shim:
        inner = ["unshare", "--user", "--map-root-user", "--mount", *inner]
    else:
        inner = [*shim, "unshare", "--mount", *inner]
    return unprivileged(inner)


@dataclass(frozen=True)
class Place:
    """A way to run a script as uid 0 in a Debian root."""

    image: Image
    argv: Callable[[Room, str, Sequence[str]], list[str]]
    unlike: tuple[str, ...] = ()
    """Files that the place itself makes or hides, in the root's view."""


_BOX = ("/run", "/etc/resolv.conf", "/mnt")

PLACES = {
    "unshare-outside": Place("minimal", unshare_outside),
    "unshare-inside": Place("python", unshare_inside, ("/mnt",)),
    "bwrap-all-caps": Place("python", bwrap_caps, _BOX),
    "bwrap-no-caps": Place("python", bwrap_bare, _BOX),
    "podman": Place("python", podman, (*_BOX, "/etc/hosts", "/etc/hostname", "/etc/mtab")),
    "plain-host": Place("minimal", plain_host),
}
TRUTH = {image: Place(image, real_root) for image in ("minimal", "python")}


@dataclass(frozen=True)
class Result:
    """What one run left: exit status (negative: signal), standard output, and the log (standard error)."""

    status: int
    output: str
    log: str

    def tail(self, lines: int = 40) -> str:
        """The end of the log, for the message of a failed test."""
        return "\n".join(self.log.splitlines()[-lines:])


def run_in(
    place: Place, script: str, *, engine: str | None = None, options: Sequence[str] = (), truth: bool = False
) -> Result:
    """Run a shell script in a fresh root of this place, under remainroot if an engine is named.

    The root is real root's for the truth, the unprivileged user's otherwise.
    """
    truth = truth or place.argv is real_root
    with room(place.image, owner=0 if truth else UID) as where:
        shim = [f"{where.site}/bin/remainroot", "--engine", engine, *options, "--"] if engine else []
        result = run(place.argv(where, script, shim), where.top)
        if truth:
            keep_debs(where.root)
        pause = where.top / "run/libpod/tmp/pause.pid"
        if pause.exists():
            os.kill(int(pause.read_text()), signal.SIGKILL)
    return result


def run(argv: Sequence[str], directory: Path) -> Result:
    """Run it with a clean environment, its log in this directory; kill it and say so where it hangs."""
    log = directory / "log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
            env=ENVIRONMENT, cwd="/", start_new_session=True,
        )  # fmt: skip
        try:
            output, _ = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            errors.write(b"\nhung: killed\n")
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    text = log.read_text(encoding="utf-8", errors="replace")
    return Result(process.returncode, output.decode("utf-8", "surrogateescape"), text)
