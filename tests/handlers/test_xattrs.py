# SPDX-License-Identifier: GPL-2.0-or-later
"""Extended attributes: the same operations as real root and under the shim, and the tools that use them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from remainroot import acl
from tests.compiling import FIXTURES, abis, program
from tests.handlers.xattr_ops import ACLS
from tests.launching import ENGINES, environment, remainroot

if TYPE_CHECKING:
    from collections.abc import Sequence

OPS = Path(__file__).with_name("xattr_ops.py")
PYTHON = "/usr/bin/python3"
COUNT = 400


def compare(tmp_path: Path, arguments: Sequence[str], store: str) -> None:
    """Run the operations twice and find the same output."""
    for name in ("real", "fake"):
        (tmp_path / name).mkdir()
    seed, *who = arguments
    real = subprocess.run(
        [PYTHON, str(OPS), seed, str(COUNT), str(tmp_path / "real"), *who],
        capture_output=True, text=True, check=False, env=environment(),
    )  # fmt: skip
    url = store if store == "memory" else f"{store}:{tmp_path}/owners.db"
    fake = remainroot(f"--store={url}", "--", PYTHON, str(OPS), seed, str(COUNT), str(tmp_path / "fake"), *who)
    assert (real.returncode, real.stderr) == (0, "")
    assert fake.stderr == ""
    assert fake.stdout.splitlines() == real.stdout.splitlines()
    assert len(real.stdout.splitlines()) == COUNT
    assert " ok " in real.stdout


@pytest.mark.oracle
@pytest.mark.parametrize("store", ["memory", "durable", "durable+override_stat", "sqlite"])
@pytest.mark.parametrize("arguments", [["1"], ["2"], ["3"], ["4", "user"], ["5", "user"]], ids="-".join)
def test_as_real_root(tmp_path: Path, arguments: list[str], store: str) -> None:
    compare(tmp_path, arguments, store)


BY_CWD = """
import ctypes, errno, sys
libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(99)
for fd in (-100, -1, -101):
    for name in (b"trusted.a", b"security.b", b"user.c", b"nonsense"):
        for call, *rest in (
            ("fsetxattr", name, b"xy", 2, 0), ("fgetxattr", name, buffer, 99), ("fgetxattr", name, buffer, 1),
            ("flistxattr", buffer, 99), ("fremovexattr", name), ("fgetxattr", name, buffer, 99),
        ):
            result = getattr(libc, call)(fd, *rest)
            print(fd, name, call, result if result >= 0 else errno.errorcode[ctypes.get_errno()])
"""


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ENGINES)
def test_of_the_working_directory(tmp_path: Path, engine: str) -> None:
    """fsetxattr and fgetxattr of AT_FDCWD, which Linux takes since 6.13, and the calls that it does not."""
    for name in ("real", "fake"):
        (tmp_path / name).mkdir()
    real = subprocess.run(
        [PYTHON, "-c", BY_CWD], capture_output=True, text=True, check=True, env=environment(), cwd=tmp_path / "real"
    )
    fake = remainroot("--engine", engine, "--store", "memory", "--", PYTHON, "-c", BY_CWD, cwd=tmp_path / "fake")
    assert fake.stdout.splitlines() == real.stdout.splitlines()
    assert real.stdout.count("EBADF") > 40


TOOLS = """
touch f; chmod 640 f; setfacl -m u:42:rw,g:43:r,m::rw f; getfacl -n f; stat -c %A f; chmod 600 f; getfacl -cn f
cp -a f g; getfacl -cn g; mkdir d; setfacl -d -m u:42:rwx d; touch d/x; mkdir d/y; getfacl -cn d/x d/y
setfacl -b f; getfacl -cn f
cp /bin/true t; setcap cap_net_raw+ep t; getcap t; chown 42 t; getcap t
setcap cap_net_raw+ep t; cp -a t u; getcap u
setfattr -n trusted.overlay.opaque -v y d; getfattr -n trusted.overlay.opaque d
setfattr -n security.ima -v 0x01 f; getfattr -d -m - f
setfattr -n user.rootlesscontainers -v x f; getfattr -d -m - f; stat -c %u f; setfattr -x user.rootlesscontainers f
tar --xattrs --xattrs-include='*' --acls -cf a.tar d g t f; mkdir x; cd x
tar --xattrs --xattrs-include='*' --acls -xpf ../a.tar
getfattr -Rdm - . | sort; getfacl -Rcn .; getcap -r .
"""


@pytest.mark.oracle
@pytest.mark.parametrize("store", ["memory", "durable"])
def test_tools_as_real_root(tmp_path: Path, store: str) -> None:
    for name in ("real", "fake"):
        (tmp_path / name).mkdir()
    real = subprocess.run(
        ["sh", "-ec", TOOLS], capture_output=True, text=True, check=False, env=environment(), cwd=tmp_path / "real"
    )
    url = store if store == "memory" else f"{store}:{tmp_path}/owners.db"
    fake = remainroot(f"--store={url}", "--", "sh", "-ec", TOOLS, cwd=tmp_path / "fake")
    assert real.returncode == 0, real.stderr
    assert "user:42:rw" in real.stdout
    assert (fake.stdout.splitlines(), fake.stderr) == (real.stdout.splitlines(), real.stderr)


ORDER = """
import os, random, struct
entries = (1, 6, 0xffffffff), (2, 7, 33), (4, 4, 0xffffffff), (16, 7, 0xffffffff), (32, 4, 0xffffffff)
some = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
values = {
    "user.b": b"1", "user.a": b"", "trusted.b": b"2", "trusted.a": b"", "security.s": b"3",
    "system.posix_acl_access": some, "system.posix_acl_default": some,
}
os.chdir("m")
for seed in range(20):
    os.mkdir(str(seed))
    for name in random.Random(seed).sample(sorted(values), 5):
        os.setxattr(str(seed), name, values[name])
    print(os.listxattr(str(seed)))
"""


@pytest.mark.oracle
@pytest.mark.parametrize("store", ["memory", "xattr"])
def test_order_in_a_tmpfs_as_real_root(tmp_path: Path, store: str) -> None:
    (tmp_path / "m").mkdir()
    words = ["sh", "-ec", 'mount -t tmpfs none m; exec "$@"', "sh", PYTHON, "-c", ORDER]
    real = subprocess.run(
        ["unshare", "--mount", *words], capture_output=True, text=True, check=True, env=environment(), cwd=tmp_path
    )
    fake = remainroot(f"--store={store}", "--", "unshare", "--mount", *words, cwd=tmp_path)
    assert (fake.stdout.splitlines(), fake.stderr) == (real.stdout.splitlines(), "")


def test_what_the_next_run_sees(tmp_path: Path) -> None:
    store = f"--store=durable:{tmp_path}/owners.db"
    make = "touch f; ln -s f l; setfattr -n trusted.a -v 1 f; setfattr -hn trusted.b -v 2 l; setfacl -m u:42:rw f"
    make += "; mknod n c 1 3; setfattr -n trusted.c -v 3 n"
    show = "getfattr -hdm - f l n; getfacl -cn f"
    first = remainroot(store, "--", "sh", "-ec", f"{make}; {show}", cwd=tmp_path)
    again = remainroot(store, "--", "sh", "-ec", show, cwd=tmp_path)
    assert (first.returncode, first.stderr) == (0, "")
    assert 'trusted.b="2"' in first.stdout
    assert again.stdout == first.stdout


@pytest.mark.parametrize("store", ["durable", "xattr", "durable+override_stat"])
def test_the_stores_own_attributes_are_not_seen_and_not_forged(tmp_path: Path, store: str) -> None:
    url = store if store == "xattr" else f"{store}:{tmp_path}/owners.db"
    script = """
    touch f; chown 42:43 f
    getfattr -dm - f; getfattr -n user.rootlesscontainers f 2>&1; setfattr -x user.containers.override_stat f 2>&1
    setfattr -n user.rootlesscontainers -v 0x0807 f; setfattr -n user.containers.override_stat -v 7:7:0644:file f
    setfattr -n user.remainroot.trusted.z -v 1 f
    stat -c %u:%g f; getfattr -dm - f | sort; setfattr -x user.rootlesscontainers f; stat -c %u:%g f
    """
    done = remainroot(f"--store={url}", "--", "sh", "-c", script, cwd=tmp_path)
    assert done.stdout.splitlines() == [
        "f: user.rootlesscontainers: No such attribute",
        "setfattr: f: No such attribute",
        "42:43",
        "",
        "# file: f",
        'user.containers.override_stat="7:7:0644:file"',
        'user.remainroot.trusted.z="1"',
        "user.rootlesscontainers=0sCAc=",
        "42:43",
    ]
    assert done.stderr == ""


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("abi", abis())
def test_no_call_sees_or_forges_them(tmp_path: Path, abi: str, engine: str) -> None:
    """To real root they are names like any other, and so they are to CMD."""
    command = str(program(FIXTURES / "own_xattrs.c", abi))
    places = {name: tmp_path / name for name in ("real", "xattr", "durable")}
    for place in places.values():
        place.mkdir()
    real = subprocess.run([command], capture_output=True, text=True, check=True, cwd=places["real"]).stdout
    assert real.endswith("42:43 100644\n")
    for store, url in (("xattr", "xattr"), ("durable", f"durable+override_stat:{tmp_path}/owners.db")):
        done = remainroot("--engine", engine, "--store", url, "--", command, cwd=places[store])
        assert (done.stdout.splitlines(), done.stderr) == (real.splitlines(), "")


@pytest.mark.parametrize("raw", ACLS)
def test_a_list_is_taken_apart_and_put_together(raw: bytes) -> None:
    entries = acl.parse(raw)
    if not entries or not acl.is_valid(entries):
        return
    assert acl.pack(entries) == raw
    assert acl.merged(entries, acl.skeleton(entries)) == entries
    for mode in (0o000, 0o640, 0o777):
        assert acl.mode_of(acl.of_mode(entries, mode)) == mode
