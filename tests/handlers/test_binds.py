# SPDX-License-Identifier: GPL-2.0-or-later
"""Binds of one mount alone, where mounts below it were there before the user namespace: mount_namespaces(7)."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.launching import ENGINES, PLACE, REMAINROOT, TIMEOUT, environment

if TYPE_CHECKING:
    from pathlib import Path

PREPARE = """
mkdir outer inner other
touch at-file other/of-other
mount -t tmpfs none outer
mkdir outer/below outer/plain
echo text >outer/file
mount -t tmpfs none outer/below
exec "$@"
"""
"""The mounts of the place's maker, which the kernel keeps together in a user namespace that is made later."""

SCRIPT = """
say() { "$@" >said 2>&1; echo "$*: $?"; }
say mount --bind outer inner; ls inner; stat -f -c %T inner
say umount inner; ls inner
say umount inner
say mount --bind outer/file at-file; cat at-file; umount at-file
say mount --bind outer/file inner
say mount --bind outer at-file
say mount --bind nowhere inner
say mount --bind outer nowhere
mount --bind outer inner; mount --bind other inner/below; ls inner/below
say umount inner/below; say umount inner; ls inner
mount --bind outer inner; mount --bind other inner; ls inner; umount inner; ls inner; umount inner
mount -o bind,ro outer inner; touch inner/new; touch outer/new; ls inner; say umount inner
ln -s inner link; mount --bind outer link; ls inner; say umount link; ls inner
mount --bind outer inner; mount --make-private inner; say umount --lazy inner; ls inner
mkdir root; mount --bind / root; test -e root/etc/passwd; echo $?; say umount root; ls root
(cd other; mount --bind ../outer ../inner; ls ../inner; umount ../inner)
say mount --rbind outer inner; ls inner
say umount inner; say umount inner/plain; say umount inner/below; say umount inner/below; say umount inner; ls inner
mount --rbind outer inner; mount --bind other inner/plain; say umount inner/below; say umount inner
say umount inner/plain; say umount inner; ls inner
mount --rbind outer inner; say umount --recursive inner; ls inner
mount --rbind outer inner; say umount --lazy inner; ls inner
mount --rbind / root; say umount --recursive root; ls root
mkdir alone; mount --rbind alone inner; say umount inner
NEWER='
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
tree = libc.syscall(428, -100, b"outer", 1 | os.O_CLOEXEC)
print(os.get_inheritable(tree), sorted(os.listdir(f"/proc/self/fd/{tree}")))
print(libc.syscall(429, tree, b"", -100, b"inner", 4), sorted(os.listdir("inner")))
os.close(tree)
print(libc.umount2(b"inner", 0), os.listdir("inner"), libc.umount2(b"inner", 0), ctypes.get_errno())'
/usr/bin/python3 -c "$NEWER"
"""


def printed(place: Path, *prefix: str, script: str = SCRIPT) -> tuple[str, str]:
    """What the script prints under `prefix`, in a directory with mounts that were there before."""
    place.mkdir()
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", PREPARE, "sh", *prefix, "unshare", "--mount", "sh", "-c", script],
        cwd=place, env=environment(), capture_output=True, text=True, check=False, timeout=TIMEOUT,
    )  # fmt: skip
    return done.stdout, done.stderr


@pytest.mark.oracle
@pytest.mark.parametrize("options", [(), ("--strict",)], ids=["", "strict"])
@pytest.mark.parametrize("engine", ENGINES)
def test_as_real_root(tmp_path: Path, engine: str, options: tuple[str, ...]) -> None:
    real = printed(tmp_path / "real")
    assert "of-other" in real[0]
    shim = [*PLACE, *REMAINROOT[:-1], engine, "--store", "memory", *options, "--"]
    assert printed(tmp_path / "fake", *shim) == real


def test_the_kernel_refuses_them(tmp_path: Path) -> None:
    """Otherwise the comparison above would be worth nothing."""
    assert printed(tmp_path / "bare", *PLACE) != printed(tmp_path / "real")


OURS = """
mount --bind outer inner && findmnt -no TARGET -R "$PWD/inner" | wc -l
umount inner/below; echo $?; umount -R inner; echo $?; ls inner
mount --rbind outer inner; umount inner 2>/dev/null; echo $?
umount --lazy inner; echo $?; umount --lazy inner 2>/dev/null; echo $?
"""


def test_what_is_below_comes_along(tmp_path: Path) -> None:
    """It goes with the bind, and alone it seems to go; what was bound with all below it on purpose is the kernel's."""
    shim = [*PLACE, *REMAINROOT, "--store", "memory", "--"]
    assert printed(tmp_path / "fake", *shim, script=OURS) == ("2\n0\n0\n32\n0\n32\n", "")


INSIDE = "unshare --user --map-root-user --mount sh -c 'mount --bind outer inner 2>&1 | head -n 1 | cut -c1-6'"


def test_in_a_user_namespace_of_ones_own_it_is_refused(tmp_path: Path) -> None:
    real = printed(tmp_path / "real", script=INSIDE)
    assert real == ("mount:\n", "")
    shim = [*PLACE, *REMAINROOT, "--store", "memory", "--"]
    assert printed(tmp_path / "fake", *shim, script=INSIDE) == real
