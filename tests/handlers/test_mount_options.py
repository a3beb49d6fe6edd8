# SPDX-License-Identifier: GPL-2.0-or-later
"""File systems that are mounted with ids in their options: tmpfs(5), devpts."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.launching import ENGINES, PLACE, REMAINROOT, TIMEOUT, environment

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = r"""
mkdir m
tmpfs() { mount -t tmpfs -o "$1" none m 2>/dev/null; echo "$1 $?"; stat -c '%u:%g %a' m; }
tmpfs uid=42,gid=43,mode=0750; touch m/f; mkdir -m 2755 m/d; stat -c '%u:%g %a' m/f m/d; umount m
tmpfs size=1m,uid=1000; umount m
tmpfs gid=7; umount m
tmpfs uid=0,gid=0; umount m
tmpfs uid=5,uid=6; umount m
tmpfs uid=4294967295
tmpfs uid=x
tmpfs uid=42,nothing=1
mount -t tmpfs none m; stat -c %u:%g m; umount m
/usr/bin/python3 -c '
import ctypes, fcntl, mmap, os
libc = ctypes.CDLL(None, use_errno=True)
options = ctypes.create_string_buffer(b"uid=42,gid=43")
for _ in range(3):
    print(libc.mount(b"none", b"m", b"tmpfs", 0, options), options.value, os.stat("m").st_uid, os.stat("m").st_gid)
print(libc.mount(b"none", b"nowhere", b"tmpfs", 0, options), ctypes.get_errno(), options.value)
area = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE)
area.write(b"uid=42,gid=43")
constant = ctypes.addressof(ctypes.c_char.from_buffer(area))
libc.mprotect(ctypes.c_void_p(constant), 4096, 1)
for _ in range(2):
    print(libc.mount(b"none", b"m", b"tmpfs", 0, ctypes.c_void_p(constant)), ctypes.string_at(constant))
    print(os.stat("m").st_uid, os.stat("m").st_gid)
def terminal():
    master = os.open("/dev/pts/ptmx", os.O_RDWR)
    fcntl.ioctl(master, 0x40045431, bytes(4))
    number = int.from_bytes(fcntl.ioctl(master, 0x80045430, bytes(4)), "little")
    st = os.stat(f"/dev/pts/{number}")
    print(st.st_uid, st.st_gid, oct(st.st_mode))
    return master
for options in (b"gid=5,mode=620", b"uid=3", b"mode=600"):
    options = b"newinstance,ptmxmode=666," + options
    print(libc.mount(b"none", b"/dev/pts", b"devpts", 0, options), os.stat("/dev/pts").st_gid)
    child = os.fork()
    if not child:
        keep = terminal()
        os.setgid(7); os.setuid(7)
        keep = terminal()
        os._exit(0)
    os.waitpid(child, 0)'
"""

STEPS = r"""
import ctypes, errno, fcntl, os
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    result = libc.syscall(number, *arguments)
    return result if result >= 0 else errno.errorcode[ctypes.get_errno()]
os.mkdir("m")
for kind, options in (
    (b"tmpfs", ((b"uid", b"42"), (b"gid", b"0x2b"), (b"mode", b"0750"))), (b"tmpfs", ((b"gid", b"7"),)), (b"tmpfs", ()),
    (b"tmpfs", ((b"uid", b"x"),)), (b"tmpfs", ((b"uid", b"4294967295"),)), (b"tmpfs", ((b"uid", b"5"), (b"uid", b"6"))),
    (b"devpts", ((b"gid", b"5"), (b"mode", b"620"), (b"ptmxmode", b"666"))), (b"devpts", ((b"uid", b"3"),)),
    (b"devpts", ((b"ptmxmode", b"666"),)),
):
    context = call(430, kind, 1)
    values = [ctypes.create_string_buffer(value) for _, value in options]
    said = [call(431, context, 1, key, value, 0) for (key, _), value in zip(options, values)]
    print(kind, said, [value.value for value in values])
    print(call(431, context, 6, None, None, 0))
    tree = call(432, context, 1, 0)
    os.close(context)
    st = os.fstat(tree)
    print(st.st_uid, st.st_gid, oct(st.st_mode), call(429, tree, b"", -100, b"m", 4))
    st = os.stat("m")
    print(st.st_uid, st.st_gid, oct(st.st_mode))
    if kind == b"devpts" and options[0][0] != b"uid":
        master = os.open("m/ptmx", os.O_RDWR | os.O_NOCTTY)
        fcntl.ioctl(master, 0x40045431, bytes(4))
        st = os.stat("m/0")
        print(st.st_uid, st.st_gid, oct(st.st_mode))
        os.close(master)
    os.close(tree)
    print(libc.umount2(b"m", 2))
# nobody looks before the descriptor is closed
context = call(430, b"tmpfs", 1)
print(call(431, context, 1, b"uid", ctypes.create_string_buffer(b"42"), 0), call(431, context, 6, None, None, 0))
tree = call(432, context, 1, 0)
print(call(429, tree, b"", -100, b"m", 4))
os.close(tree)
print(os.stat("m").st_uid, libc.umount2(b"m", 2))
# nor before the namespace is gone, in which one was mounted on another
child = os.fork()
if not child:
    libc.unshare(0x20000)
    for options in (b"gid=7", b"gid=43"):
        libc.mount(b"none", b"m", b"tmpfs", 0, ctypes.create_string_buffer(options))
    os._exit(0)
os.waitpid(child, 0)
print(os.stat("m").st_gid)
"""


def printed(place: Path, *prefix: str, script: str = SCRIPT) -> tuple[str, str]:
    """What the script prints under `prefix`, in a directory that everybody may enter."""
    place.mkdir()
    done = subprocess.run(
        [*prefix, "unshare", "--mount", "sh", "-c", script], cwd=place, env=environment(),
        capture_output=True, text=True, check=False, timeout=TIMEOUT,
    )  # fmt: skip
    return done.stdout, done.stderr


@pytest.mark.oracle
@pytest.mark.parametrize("options", [(), ("--strict",)], ids=["usual", "strict"])
@pytest.mark.parametrize("engine", ENGINES)
def test_as_real_root(tmp_path: Path, engine: str, options: tuple[str, ...]) -> None:
    real = printed(tmp_path / "real")
    assert "uid=42,gid=43,mode=0750 0\n42:43 750\n0:0 644\n" in real[0]
    shim = [*PLACE, *REMAINROOT[:-1], engine, "--store", "memory", *options, "--"]
    assert printed(tmp_path / "fake", *shim) == real


def test_without_the_shim_it_is_not_so(tmp_path: Path) -> None:
    assert printed(tmp_path / "bare", *PLACE) != printed(tmp_path / "real")


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ENGINES)
def test_in_steps(tmp_path: Path, engine: str) -> None:
    """fsopen(2), fsconfig(2), fsmount(2), as newer programs mount."""
    script = f"exec /usr/bin/python3 -c '{STEPS}'"
    real = printed(tmp_path / "real", script=script)
    assert real[0].startswith("b'tmpfs' [0, 0, 0] [b'42', b'0x2b', b'0750']\n0\n42 43 ")
    shim = [*PLACE, *REMAINROOT[:-1], engine, "--store", "memory", "--"]
    assert printed(tmp_path / "fake", *shim, script=script) == real
