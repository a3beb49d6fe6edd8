# SPDX-License-Identifier: GPL-2.0-or-later
"""`remainroot enter --with-host-root`: the host's files with a container's among them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.compiling import abis
from tests.containers.entering import enter, running
from tests.containers.roots import BUSYBOX, UID, Roots, as_user
from tests.launching import until
from tests.test_terminal import Terminal, waited

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = "cd /srv; export MARK=inherited; echo up; exec sleep 600"


@pytest.fixture(scope="module")
def roots() -> Iterator[Roots]:
    with Roots() as made:
        yield made


@pytest.fixture(scope="module")
def busybox(roots: Roots) -> Iterator[int]:
    """A box whose root has some programs of its own; the pid of its CMD."""
    root = roots.top / "with-programs"
    shutil.copytree(roots.busybox, root, symlinks=True)
    (root / "bin/cat").unlink()
    (root / "bin/cat").symlink_to("/bin/busybox")
    (root / "link").symlink_to("/bin")
    (root / "bin/dangling").symlink_to("/usr/bin/id")
    (root / "only-here").write_text("of the container\n")
    for name, text in (("script", "#!/bin/sh\necho $0 $1; cat /only-here\n"), ("orphan", "#!/no/such\n")):
        (root / "bin" / name).write_text(text)
        (root / "bin" / name).chmod(0o755)
    _add_dynamic(root)
    subprocess.run(["chown", "-hR", f"{UID}:{UID}", str(root)], check=True)
    with running("--overlay", "--hostname", "target", root, "sh", "-c", SCRIPT) as pid:
        yield pid


def _add_dynamic(root: Path) -> None:
    """A dynamic program whose loader and library exist in the container alone, and a copy of it without them."""
    source = '#include <stdio.h>\nint main(void) { puts("dynamic"); return fopen("/only-here", "r") == NULL; }\n'
    (root / "own").mkdir()
    for loader in ("/own/loader.so", "/own/missing.so"):
        words = ["gcc", "-x", "c", f"-Wl,--dynamic-linker={loader}", "-Wl,-rpath,/own", "-o",
                 str(root / "bin" / ("dynamic" if loader.endswith("loader.so") else "broken")), "-"]  # fmt: skip
        subprocess.run(words, input=source, text=True, check=True)
    listed = subprocess.run(["ldd", "/bin/true"], capture_output=True, text=True, check=True).stdout
    for line in listed.splitlines():
        words = line.split()
        path = next((word for word in words if word.startswith("/")), "")
        if path:
            name = "loader.so" if "ld-" in Path(path).name else Path(path).name
            shutil.copyfile(path, root / "own" / name)
            (root / "own" / name).chmod(0o755)


def test_the_hosts_root_and_the_containers_below(busybox: int) -> None:
    script = "pwd; hostname; cat /mnt/only-here; echo $MARK; cat /proc/1/comm /proc/2/comm"
    out = enter("--with-host-root", busybox, "--", "sh", "-c", script, cwd="/usr").splitlines()
    assert out == ["/usr", "target", "of the container", "", "remainroot-init", "sleep"]


def test_a_program_of_the_container_is_in_it(busybox: int) -> None:
    script = "/mnt/bin/busybox ls /; /mnt/bin/busybox pwd; /mnt/bin/env; /mnt/bin/readlink /proc/self/exe"
    out = enter("--with-host-root", busybox, "sh", "-c", script, env=os.environ | {"OURS": "yes"}).splitlines()
    assert out[:10] == ["bin", "dev", "etc", "link", "only-here", "own", "proc", "srv", "sys", "tmp"]
    assert out[10] == "/srv"
    assert "MARK=inherited" in out
    assert "container=remainroot" in out
    assert not [line for line in out if line.startswith("OURS=")]
    assert out[-1] == "/bin/busybox"


def test_another_place_for_it(busybox: int, tmp_path: Path) -> None:
    for path in (tmp_path, *tmp_path.parents):
        path.chmod(path.stat().st_mode | 0o111)
    (tmp_path / "link").symlink_to("place")
    (tmp_path / "place").mkdir()
    at = f"{tmp_path}/place"
    script = f"{at}/bin/ls /; cat {at}/only-here"
    out = enter(f"--with-host-root={tmp_path}/link", busybox, "sh", "-c", script)
    assert out.endswith("tmp\nof the container\n")
    assert not list((tmp_path / "place").iterdir())


def test_every_kind_of_program(busybox: int) -> None:
    """Symbolic links and interpreters are the container's, whatever the host has of that name."""
    script = """
        cd /mnt/bin; ./pwd; ../bin/pwd
        cd /; /mnt/bin/cat /only-here; /mnt/link/echo linked; /mnt/bin/script one; /mnt/bin/dynamic
        /mnt/bin/sh -c 'A=b env | grep ^A='
    """
    out = enter("--with-host-root", busybox, "bash", "-c", script).splitlines()
    contents = ["of the container"]
    assert out == [
        "/bin", "/bin", *contents, "linked", "/bin/script one", *contents, "dynamic", "A=b",
    ]  # fmt: skip


FAILURES = """
import json, os, threading
def state():
    return [os.getcwd(), os.path.exists("/usr/bin/env"), len(os.listdir("/proc/self/fd"))]
def attempt(path, start):
    before = state()
    try:
        start(path, ["x"], {"A": "b"})
    except OSError as error:
        return [error.errno, state() == before]
    return None
def forked(path, words, environment):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.execve(path, words, environment)
        except OSError as error:
            os.write(writer, b"%d" % error.errno)
        os._exit(0)
    os.close(writer)
    number = int(os.read(reader, 9))
    os.close(reader)
    os.waitpid(pid, 0)
    raise OSError(number, "")
paths = ["/mnt/bin/none", "/mnt/srv", "/mnt/etc/passwd", "/mnt/bin/orphan", "/mnt/bin/broken", "/mnt/bin/dangling"]
print(json.dumps([[attempt(path, start) for path in paths] for start in (os.posix_spawn, forked, os.execve)]))
"""


def test_a_program_that_cannot_be_started_changes_nothing(busybox: int) -> None:
    """The kernel's errno, and the caller has its root, directory and descriptors, whether it shared memory or not."""
    out = json.loads(enter("--with-host-root", busybox, "/usr/bin/python3", "-c", FAILURES))
    assert out == [[[2, True], [13, True], [13, True], [2, True], [2, True], [2, True]]] * 3


REPEATED = """
import subprocess, threading
def maps():
    return sum(not line.split()[5:] for line in open("/proc/self/maps"))
def run(count):
    for _ in range(count):
        assert subprocess.run(["/mnt/bin/pwd"], capture_output=True).stdout == b"/srv\\n"
run(3)
before = maps()
run(20)
print(maps() - before)
threads = [threading.Thread(target=run, args=(5,)) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print("done")
"""


def test_a_parent_of_many_keeps_its_memory(busybox: int) -> None:
    assert enter("--with-host-root", busybox, "/usr/bin/python3", "-c", REPEATED) == "0\ndone\n"


KILLED = """
import os, signal, time
for number in range(60):
    pid = os.fork()
    if pid == 0:
        os.execve("/mnt/bin/sleep", ["sleep", "10"], {})
    end = time.monotonic() + number / 10_000
    while time.monotonic() < end:
        pass
    os.kill(pid, signal.SIGKILL)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
os.execve("/mnt/bin/echo", ["echo", "goes", "on"], {})
"""


def test_killed_at_any_moment(busybox: int) -> None:
    assert enter("--with-host-root", busybox, "/usr/bin/python3", "-c", KILLED) == "goes on\n"


STOPPED = """
import os, signal, time
for number in range(30):
    pid = os.fork()
    if pid == 0:
        os.execve("/mnt/bin/sh", ["sh", "-c", "exit 9"], {})
    end = time.monotonic() + number / 5000
    while time.monotonic() < end:
        pass
    os.kill(pid, signal.SIGSTOP)
    time.sleep(0.005)
    os.kill(pid, signal.SIGCONT)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
print("continued")
"""


def test_stopped_and_continued_at_any_moment(busybox: int) -> None:
    assert enter("--with-host-root", busybox, "/usr/bin/python3", "-c", STOPPED) == "continued\n"


def test_from_a_thread_and_by_a_descriptor(busybox: int) -> None:
    script = """
        import os, threading
        if os.fork() == 0:
            thread = threading.Thread(target=os.execv, args=("/mnt/bin/echo", ["echo", "thread"]))
            thread.start()
            thread.join()
        os.wait()
        os.execve(os.open("/mnt/bin/busybox", os.O_RDONLY), ["cat", "/only-here"], {})
    """
    out = enter("--with-host-root", busybox, "/usr/bin/python3", "-c", textwrap.dedent(script))
    assert out == "thread\nof the container\n"


@pytest.mark.parametrize("abi", abis())
def test_from_a_program_of_each_abi(busybox: int, abi: str, roots: Roots) -> None:
    source = "#include <unistd.h>\nint main(int c, char **v) { return c ? execv(v[1], v + 1), 9 : 9; }\n"
    program = roots.top / f"starter-{abi}"
    words = ["gcc", "-static", *(["-m32"] if abi == "i386" else []), "-x", "c", "-o", str(program), "-"]
    subprocess.run(words, input=source, text=True, check=True)
    assert enter("--with-host-root", busybox, program, "/mnt/bin/cat", "/only-here") == "of the container\n"
    enter("--with-host-root", busybox, program, "/mnt/bin/orphan", status=9)


def test_a_traced_program_is_refused(busybox: int) -> None:
    """Nobody else can seize it. A traced program of the host goes on as ever."""
    out = enter("--with-host-root", busybox, "strace", "-o", "/dev/null", "/mnt/bin/true", status=1)
    assert "Operation not permitted" in out
    assert "+++ exited" in enter("--with-host-root", busybox, "strace", "/bin/true")


def test_a_program_that_may_not_change_its_root_is_refused(busybox: int) -> None:
    """For want of the capability, or because of a filter of its own, which might kill it."""
    less = ["setpriv", "--bounding-set=-sys_chroot", "--inh-caps=-sys_chroot", "sh", "-c", "/mnt/bin/true"]
    assert "Operation not permitted" in enter("--with-host-root", busybox, *less, status=126)
    script = """
        import ctypes, os, struct
        libc = ctypes.CDLL(None)
        code = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000))  # allow everything
        program = struct.pack("@HP", 1, ctypes.addressof(code))
        assert libc.prctl(22, 2, program) == 0
        try:
            os.execv("/mnt/bin/true", ["true"])
        except PermissionError:
            os.execv("/bin/echo", ["echo", "refused"])
    """
    assert enter("--with-host-root", busybox, "/usr/bin/python3", "-c", textwrap.dedent(script)) == "refused\n"


def test_job_control_at_a_terminal(busybox: int) -> None:
    words = [*as_user(), "enter", "--with-host-root", str(busybox), "bash", "--norc", "--noediting", "-i"]
    terminal = Terminal("env", "PS1=ready> ", *words)
    terminal.expect("ready> ")
    shell = os.tcgetpgrp(terminal.fd)
    terminal.send("/mnt/bin/sh -c 'echo in; hostname; exec sleep 100'\n")
    terminal.expect("\nin\ntarget\n")
    terminal.send("\x1a")
    terminal.expect("(?s)Stopped.*ready> ")
    terminal.send("fg\n")
    terminal.expect("sleep 100'\n")
    until(lambda: os.tcgetpgrp(terminal.fd) != shell)
    terminal.send("\x03")
    terminal.expect("ready> ")
    terminal.send("exit 7\n")
    assert os.waitstatus_to_exitcode(waited(terminal.pid, 30)) == 7
    os.close(terminal.fd)


def test_what_is_left_behind_goes_on(busybox: int, roots: Roots) -> None:
    """CMD has ended; what it left still crosses over."""
    result = roots.top / "late"
    result.mkdir()
    os.chown(result, UID, UID)
    script = f"(until test -e {result}/go; do sleep 0.1; done; /mnt/bin/cat /only-here >{result}/out) & exit 5"
    enter("--with-host-root", busybox, "sh", "-c", script, status=5, stdout=subprocess.DEVNULL)
    (result / "go").touch()
    until(lambda: (result / "out").exists() and (result / "out").read_text() == "of the container\n")


def test_mistakes_are_named(busybox: int) -> None:
    for words, message in (
        (["--with-host-root=/nonexistent", busybox], "cannot show the container at /nonexistent"),
        (["--with-host-root=/etc/passwd", busybox], "cannot show the container at /etc/passwd"),
        (["--with-host-root=/", busybox], "cannot show the container at /"),
        (["--with-host-root", "--host-exe", busybox], "--with-host-root does not go with --host-exe"),
        (["--with-host-root", "--shim", busybox], "--with-host-root does not go with --shim"),
        (["--with-host-root", "--namespaces", "user", busybox], "sees the host's files: --with-host-root has no use"),
    ):
        out = enter(*words, "true", status=125)
        assert message in out, words
        assert len(out.splitlines()) == 1


def test_the_shell_of_the_caller_is_the_default(busybox: int) -> None:
    out = enter("--with-host-root", busybox, env=os.environ | {"SHELL": str(BUSYBOX)})
    assert "BusyBox" in out
