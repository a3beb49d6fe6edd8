# SPDX-License-Identifier: GPL-2.0-or-later
"""Mounts of proc, sysfs and their kin where the namespaces are not one's own: what is there already is bound."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.launching import ENGINES, PLACE, REMAINROOT, TIMEOUT, environment

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = r"""
say() { "$@" >said 2>&1; echo "$*: $?"; }
mkdir -p root/usr root/proc root/sys root/dev "a b"
for name in bin lib lib64; do ln -s usr/$name root/$name; done
mount --bind /usr root/usr
say chroot root mount -t proc proc /proc
chroot root sh -c 'exec 2>&1; read pid rest </proc/self/stat; [ $pid = $$ ]; echo $?; ls -d /proc/self/fd/1
    readlink /proc/self/ns/pid /proc/1/ns/pid | sort -u | wc -l; awk "/^Uid/ {print \$2}" /proc/self/status'
say chroot root mount -t sysfs -o nosuid,noexec,nodev,ro sysfs /sys
ls root/sys | sort | head -n 5; touch root/sys/new; stat -f -c %T root/sys root/proc
findmnt -n -o FSTYPE,VFS-OPTIONS root/sys; findmnt -n -o FSTYPE,VFS-OPTIONS root/proc
say mount -t sysfs sysfs root/sys; say mount -t proc proc root/proc; say umount root/proc
say chroot root umount /sys; say chroot root umount /proc; ls root/sys root/proc; say umount root/proc
say mount -t proc proc said; say mount -t proc proc nowhere; say mount -t sysfs none said
say mount -t proc -o hidepid=9 proc root/proc
say mount -t proc proc "a b"; mount -t proc nothing "a b"; ls -d "a b/self"; umount "a b"; umount "a b"; ls "a b"
mount -t tmpfs none root/dev; mkdir root/dev/proc; say busybox mount -t proc proc root/dev/proc; say umount -R root/dev
ls root/dev
(cd root/proc; say mount -t proc proc .; ls .; ls -d ../proc/self; say umount ../proc)
unshare --mount sh -c "mount -t tmpfs none root/sys; mount -t sysfs none root/sys && ls root/sys | sort | head -n 3"
unshare --mount --propagation shared sh -c "
    mount -t proc none root/proc; mount -t tmpfs none root/proc/fs; ls /proc/fs | wc -l"
"""

NEWER = r"""
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    result = libc.syscall(number, *arguments)
    return result if result >= 0 else errno.errorcode[ctypes.get_errno()]
def told(result):
    return result if isinstance(result, str) else "ok"
os.makedirs("m")
for kind, settings, attributes in (
    (b"proc", ((1, b"source", b"none"), (6, None, None)), 0xE),
    (b"sysfs", ((0, b"ro", None), (1, b"source", b"a"), (1, b"source", b"b"), (6, None, None), (6, None, None)), 0),
    (b"sysfs", ((6, None, None), (0, b"rw", None)), 1),
    (b"sysfs", (), 0),
    (b"proc", ((0, b"ro", None), (6, None, None)), 0),
    (b"tmpfs", ((1, b"mode", b"700"), (6, None, None)), 2),
):
    context = call(430, kind, 1)
    print(kind, os.get_inheritable(context), *(told(call(431, context, *each, 0)) for each in settings))
    print(told(call(432, context, 7, 0)), told(call(432, context, 1, 1 << 30)))
    tree = call(432, context, 1, attributes)
    print(told(tree), told(call(432, context, 1, attributes)))
    os.close(context)
    if not isinstance(tree, str):
        flags = os.fstatvfs(tree).f_flag
        print(os.get_inheritable(tree), flags & 15, sorted(os.listdir(f"/proc/self/fd/{tree}"))[-3:])
        print(told(call(429, tree, b"", -100, b"m", 4)), sorted(os.listdir("m"))[-3:])
        os.close(tree)
        print(libc.umount2(b"m", 0), os.listdir("m"), libc.umount2(b"m", 0))
print(told(call(430, b"nothing", 1)), told(call(430, b"proc", 2)), told(call(430, None, 1)))
print(told(call(431, 0, 6, None, None, 0)), told(call(431, 99, 6, None, None, 0)))
print(told(call(432, 0, 1, 0)), told(call(432, 99, 1, 0)))
"""


def printed(place: Path, *prefix: str, script: str = SCRIPT) -> list[str]:
    """What the script prints under `prefix`."""
    place.mkdir()
    done = subprocess.run(
        [*prefix, "unshare", "--mount", "sh", "-c", script], cwd=place, env=environment(),
        capture_output=True, text=True, check=False, timeout=TIMEOUT,
    )  # fmt: skip
    return (done.stdout + done.stderr).splitlines()


@pytest.mark.oracle
@pytest.mark.parametrize("options", [(), ("--strict",)], ids=["", "strict"])
@pytest.mark.parametrize("engine", ENGINES)
def test_as_real_root(tmp_path: Path, engine: str, options: tuple[str, ...]) -> None:
    real = printed(tmp_path / "real")
    assert real[:4] == ["chroot root mount -t proc proc /proc: 0", "0", "/proc/self/fd/1", "1"]
    shim = [*PLACE, *REMAINROOT[:-1], engine, "--store", "memory", *options, "--"]
    assert printed(tmp_path / "fake", *shim) == real


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ENGINES)
def test_by_fsopen(tmp_path: Path, engine: str) -> None:
    """As newer programs mount: each step for itself."""
    script = f"exec /usr/bin/python3 -c '{NEWER}'"
    real = printed(tmp_path / "real", script=script)
    assert "b'proc' False ok ok" in real
    shim = [*PLACE, *REMAINROOT[:-1], engine, "--store", "memory", "--"]
    assert printed(tmp_path / "fake", *shim, script=script) == real
