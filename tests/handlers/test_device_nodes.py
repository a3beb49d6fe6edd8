# SPDX-License-Identifier: GPL-2.0-or-later
"""Writing to a device node: what the kernel does, and nothing to the file that stands for it on disk."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.handlers.rooted import as_real_root, under
from tests.launching import ENGINES, PLACE, REMAINROOT, TIMEOUT, environment

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.oracle

SCRIPT = r"""
import os, subprocess

def told(name, flags):
    try:
        fd = os.open(name, flags, 0o600)
    except OSError as error:
        return os.strerror(error.errno)
    st = os.fstat(fd)
    os.close(fd)
    return f"{st.st_mode >> 12:o} {os.major(st.st_rdev)}:{os.minor(st.st_rdev)}"

KINDS = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "none": (99, 99)}
for name, numbers in KINDS.items():
    os.mknod(name, 0o020666, os.makedev(*numbers))
    os.symlink(name, name + "-link")
    for flags in (
        os.O_WRONLY, os.O_RDWR, os.O_RDWR | os.O_TRUNC, os.O_WRONLY | os.O_CREAT, os.O_RDWR | os.O_CREAT | os.O_TRUNC,
        os.O_WRONLY | os.O_CREAT | os.O_EXCL, os.O_RDWR | os.O_DIRECTORY, os.O_WRONLY | os.O_NOFOLLOW,
        os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK,
    ):
        print(name, hex(flags), told(name, flags), told(name + "-link", flags))
    subprocess.run(["touch", "-d", f"@{min(numbers[1], 5)}", name], check=True)
    print(os.stat(name).st_mtime)
    subprocess.run(["touch", name + "-link"], check=True)
    print(os.stat(name).st_mtime > 9)
for name in ("null", "full"):
    try:
        with open(name, "w") as file:
            print(file.write("x" * 10))
    except OSError as error:
        print(os.strerror(error.errno))
    print(os.stat(name).st_size, open("null").read() == "")
with open("zero", "r+b", buffering=0) as file:
    print(file.read(4))
with open("random", "r+b", buffering=0) as file:
    print(len(file.read(4)))
with open("file", "w") as file:
    file.write("kept")
with open("file", "a") as file:
    file.write(" too")
print(open("file").read(), os.stat("file").st_size)
"""


def printed(prefix: list[str], place: Path, script: str = SCRIPT, **variables: str) -> list[str]:
    done = subprocess.run(
        [*prefix, "/usr/bin/python3", "-c", script], cwd=place, capture_output=True, text=True, check=False,
        timeout=TIMEOUT, env=environment() | variables,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("store", ["memory", "durable", "sqlite"])
@pytest.mark.parametrize("engine", ENGINES)
def test_as_real_root(place: Path, engine: str, store: str) -> None:
    kept = store if store == "memory" else f"{store}:{place}/owners.db"
    fake = printed([*PLACE, *REMAINROOT[:-1], engine, f"--store={kept}", "--"], place / "fake")
    assert fake == printed([], place / "real")
    assert all(path.is_symlink() or path.stat().st_size == 0 for path in (place / "fake").glob("[nzru]*"))


def test_the_next_run_knows_them(place: Path) -> None:
    prefix = [*PLACE, *REMAINROOT, f"--store=durable:{place}/owners.db", "--", "sh", "-c"]
    node = place / "fake" / "null"
    subprocess.run([*prefix, f"mknod {node} c 1 3"], check=True, timeout=TIMEOUT, env=environment())
    subprocess.run([*prefix, f"echo text >{node}"], check=True, timeout=TIMEOUT, env=environment())
    assert node.stat().st_size == 0


@pytest.mark.parametrize("option", ["", "--strict"])
def test_a_user_writes_to_what_is_open_to_it(place: Path, option: str) -> None:
    script = """
        mknod null c 1 3; chmod 622 null; mknod own b 8 99; chown 1000 own; chmod 600 own
        exec setpriv --reuid 1000 --regid 1000 --clear-groups sh -c 'echo x >null; echo $?; echo x >own; echo $?'"""
    told = []
    for prefix, side in (([], "real"), ([*PLACE, *REMAINROOT, *([option] if option else []), "--"], "fake")):
        done = subprocess.run(
            [*prefix, "sh", "-c", script], cwd=place / side, capture_output=True, text=True, check=False,
            timeout=TIMEOUT, env=environment(),
        )  # fmt: skip
        told.append(done.stdout)
    assert told[0] == told[1]


@pytest.mark.parametrize("store", ["memory", "durable:owners.db"])
def test_it_may_be_executed_as_its_mode_says(place: Path, store: str) -> None:
    """access(2): root needs some x bit, and it shows what a chmod made of them."""
    script = """
import os
def told(node): return [oct(os.stat(node).st_mode), *(os.access(node, want) for want in (os.R_OK, os.W_OK, os.X_OK))]
for node, mode in (("plain", 0o644), ("executable", 0o755)):
    os.mknod(node, 0o020000 | mode, 0x103)
    print(told(node))
    for other in (0o600, 0o6711, 0o4000, 0o1666, 0o001, 0o777):
        os.chmod(node, other)
        print(told(node))
os.chown("plain", 1000, 1000); os.chmod("plain", 0o500); os.chmod("executable", 0o610)
os.setgroups([]); os.setgid(1000); os.setuid(1000)
print(told("plain"), told("executable"))
"""
    kept = store.replace(":", f":{place}/")
    fake = [*PLACE, *REMAINROOT, f"--store={kept}", "--"]
    printed = [
        subprocess.run(
            [*prefix, "/usr/bin/python3", "-c", script], cwd=place / side, env=environment(), capture_output=True,
            text=True, check=True, timeout=TIMEOUT,
        ).stdout
        for prefix, side in (([], "real"), (fake, "fake"))
    ]  # fmt: skip
    assert printed[1] == printed[0]


STATUS = r"""
import os, socket, subprocess
def told(st): return f"{st.st_mode:o} {st.st_uid}:{st.st_gid} {st.st_rdev:x} {st.st_nlink} {st.st_size} {st.st_mtime}"
def show(what, fd):
    st = os.fstat(fd)
    assert os.path.samestat(st, os.stat(name)) and os.path.samestat(st, os.stat(f"/proc/self/fd/{fd}"))
    print(name, what, told(st), os.readlink(f"/proc/self/fd/{fd}").rpartition("/")[2])
def run(*words, fd): return subprocess.run(words, stdin=fd, capture_output=True, text=True, check=True).stdout
os.mkdir("dev")
for name, minor in (("dev/null", 3), ("dev/zero", 5), ("dev/urandom", 9)):
    os.mknod(name, 0o020640, os.makedev(1, minor)); os.chown(name, 5, 6); os.utime(name, (7, 8))
    fd = os.open(name, os.O_RDWR)
    show("open", fd)
    show("open anew", os.open(f"/proc/self/fd/{fd}", os.O_RDWR))
    print(run("stat", "-L", "-c", "%a %u %g %t %T %Y", "/dev/stdin", "-", fd=fd))  # statx(2), and after an exec
    os.fchmod(fd, 0o606); show("chmod", fd)
    os.fchown(fd, 9, 10); show("chown", fd)
    os.chown(name, 11, 12); show("chown by path", fd)
    subprocess.run(["touch", "-d", "@77", name], check=True); show("touch", fd)
    try: os.setxattr(fd, "user.x", b"")
    except OSError as error: print(error.errno)
    os.setxattr(fd, "trusted.x", b"y"); print(os.getxattr(name, "trusted.x"), os.listxattr(fd))
    a, b = socket.socketpair()
    socket.send_fds(a, [b"x"], [fd]); show("sent", socket.recv_fds(b, 1, 1)[1][0])
    other = os.open("/" + name, os.O_RDWR)
    print(os.path.samestat(os.fstat(other), os.stat(name)))
    pid = os.fork()
    if not pid:
        os.setgroups([]); os.setgid(1000); os.setuid(1000)
        for change in ((os.fchmod, 0o777), (os.fchown, 1000, 1000), (os.utime, None)):
            try: change[0](fd, *change[1:]); print("done", flush=True)
            except PermissionError as error: print(error.errno, flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
    print(os.stat(name).st_mtime > 77); os.unlink(name); print(told(os.fstat(fd)).rpartition(" ")[0])
    print(os.read(fd, 3) if minor < 9 else len(os.read(fd, 3)), os.write(fd, b"xx"))
"""


@pytest.mark.parametrize(
    ("engine", "options", "pure"),
    [
        *((engine, "--store=memory", "") for engine in ENGINES), ("notify", "--store=durable:{}/owners.db", "1"),
        ("notify", "--store=sqlite:{}/owners.db", ""), ("notify", "--store=memory --strict", ""),
    ],
)  # fmt: skip
def test_what_is_opened_of_it_is_the_node(place: Path, engine: str, options: str, pure: str) -> None:
    prefix = [*PLACE, *REMAINROOT[:-1], engine, *options.format(place).split(), "--"]
    fake = printed(prefix, place / "fake", STATUS, **({"REMAINROOT_PURE": pure} if pure else {}))
    assert fake == printed([], place / "real", STATUS)


@pytest.mark.parametrize("how", ["umount", "umount --lazy"])
def test_what_is_open_does_not_keep_its_file_system(place: Path, how: str) -> None:
    """Nothing that is held of a node is in the way of umount(2)."""
    script = f"""
        mkdir m; mount -t tmpfs none m; mknod m/zero c 1 5; mknod m/null c 1 3; head -c 3 m/zero | od -An -tx1
        echo >m/null; exec 3<>m/zero; stat -Lc %t:%T:%a - <&3
        exec 3<&-; head -c 1 m/zero | wc -c; {how} m; echo $?; ls m"""
    told = [
        subprocess.run(
            [*prefix, "sh", "-c", script], cwd=place / side, capture_output=True, text=True, check=True,
            timeout=TIMEOUT, env=environment(),
        ).stdout
        for prefix, side in ((["unshare", "-m"], "real"), ([*PLACE, "-m", *REMAINROOT, "--"], "fake"))
    ]  # fmt: skip
    assert told[1] == told[0]


def test_where_no_mounts_can_be_made_it_is_a_descriptor_of_the_device(place: Path) -> None:
    script = f"""
        echo 0 >/proc/sys/user/max_mnt_namespaces
        exec {" ".join(REMAINROOT)} -- sh -c '
            mknod zero c 1 5; chown 7 zero; head -c 3 <>zero | od -An -tx1
            touch zero && exec 3<>zero && stat -Lc %t:%T - <&3'"""
    done = subprocess.run(
        [*PLACE, "sh", "-c", script], cwd=place / "fake", capture_output=True, text=True, check=False,
        timeout=TIMEOUT, env=environment(),
    )  # fmt: skip
    assert (done.stdout.split(), done.stderr) == (["00", "00", "00", "1:5"], "")


@pytest.mark.parametrize(("engine", "store"), [("notify", "durable"), ("notify", "memory"), ("ptrace", "memory")])
def test_below_a_file_nothing_is_made(engine: str, store: str) -> None:
    expected = as_real_root("made_below_files")
    assert "42 43" in expected[7]
    assert under(engine, "made_below_files", "--store", store) == expected
