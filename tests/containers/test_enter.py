# SPDX-License-Identifier: GPL-2.0-or-later
"""`remainroot enter`, into boxes that run and into a namespace that unshare(1) made, all of a plain user."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from remainroot.containers.target import Target
from remainroot.errors import RemainrootError
from tests.containers.entering import command_of, enter, running
from tests.containers.roots import UID, Roots, as_user, start_box
from tests.launching import children, state, until
from tests.test_terminal import Terminal, waited

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def roots() -> Iterator[Roots]:
    with Roots() as made:
        yield made


@pytest.fixture
def busybox(roots: Roots) -> Iterator[int]:
    """A box with a shell; the pid of its CMD."""
    script = "cd /srv; export MARK=inherited; echo up; exec sleep 600"
    with running("--overlay", "--hostname", "target", roots.busybox, "sh", "-c", script) as pid:
        yield pid


@pytest.fixture
def static(roots: Roots) -> Iterator[int]:
    """A box with one static program and nothing else."""
    with running("--overlay", roots.static, "/program", "wait") as pid:
        yield pid


def test_the_containers_own_program(busybox: int) -> None:
    script = "id -u; hostname; pwd; echo $MARK; cat /proc/1/comm; echo $$ | grep -c ^[0-9]$"
    assert enter(busybox, "--", "sh", "-c", script).splitlines() == [
        "0", "target", "/srv", "inherited", "remainroot-init", "1",
    ]  # fmt: skip


def test_every_namespace_is_the_targets(busybox: int) -> None:
    kinds = ("user", "mnt", "pid", "uts", "ipc", "cgroup", "net")
    script = "for kind in " + " ".join(kinds) + "; do readlink /proc/self/ns/$kind; done"
    theirs = [os.readlink(f"/proc/{busybox}/ns/{kind}") for kind in kinds]
    assert enter(busybox, "sh", "-c", script).splitlines() == theirs


def test_only_some_namespaces(busybox: int) -> None:
    out = enter("--namespaces", "user,uts", busybox, "sh", "-c", "hostname; test -e /var && echo host").splitlines()
    assert out == ["target", "host"]


def test_options(busybox: int) -> None:
    out = enter("--workdir", "/bin", "--env", "A=b", busybox, "sh", "-c", "pwd; echo $A")
    assert out == "/bin\nb\n"


def test_what_only_seems_to_succeed_can_be_refused(busybox: int) -> None:
    script = "echo -5 >/proc/self/oom_score_adj; grep . /proc/self/oom_score_adj"
    assert enter("--shim", busybox, "sh", "-c", script) == "-5\n"
    assert enter("--shim", "--refuse", "oom", busybox, "sh", "-c", f"({script}) 2>/dev/null") == "0\n"


def test_the_shim_is_on_only_if_asked_for(busybox: int) -> None:
    script = "touch /f; chown 33:44 /f; stat -c %u:%g /f"
    assert enter("--shim", busybox, "sh", "-c", script) == "33:44\n"
    assert "Invalid argument" in enter(busybox, "sh", "-c", script)


def test_ends(busybox: int) -> None:
    assert enter(busybox, "sh", "-c", "exit 9", status=9) == ""
    assert enter(busybox, "sh", "-c", "kill -HUP $$", status=-signal.SIGHUP) == ""
    script = "trap 'echo got; exit 3' TERM; echo up; while :; do sleep 0.1; done"
    process = subprocess.Popen(
        [*as_user(), "enter", str(busybox), "sh", "-c", script],
        stdout=subprocess.PIPE, text=True, cwd="/",
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.terminate()
    assert process.stdout.read() == "got\n"
    assert process.wait(20) == 3
    process.stdout.close()


def test_real_root_enters_as_the_containers_root(busybox: int) -> None:
    """Real root has no id in there; it takes root's."""
    prefix = as_user()[-2:]
    assert enter(busybox, "sh", "-c", "id -u; touch /by-root && stat -c %u /by-root", prefix=prefix) == "0\n0\n"


def test_a_namespace_that_somebody_else_made() -> None:
    made = subprocess.Popen(
        [*as_user()[:5], "unshare", "--user", "--map-root-user", "--mount", "--uts", "sleep", "600"], cwd="/"
    )
    try:
        until(lambda: os.readlink(f"/proc/{made.pid}/ns/uts") != os.readlink("/proc/self/ns/uts"))
        time.sleep(0.2)
        assert enter(made.pid, "id", "-u") == "0\n"
    finally:
        made.kill()
        made.wait()


def test_a_background_process_is_served_after_the_commands_end(busybox: int, roots: Roots) -> None:
    """Its new parent is the container's PID 1, not the supervisor."""
    script = "(until test -e /go; do sleep 0.1; done; touch /late; chown 5:6 /late; stat -c %u /late >/out) & exit 3"
    enter("--shim", busybox, "sh", "-c", script, status=3, stdout=subprocess.DEVNULL)
    assert enter(busybox, "sh", "-c", "touch /go; until test -s /out; do sleep 0.1; done; cat /out") == "5\n"
    assert roots.top.exists()


def test_privileges_are_the_targets(roots: Roots) -> None:
    less = ("setpriv", "--no-new-privs", "--bounding-set=-sys_admin,-sys_time", "--")
    place = ("unshare", "--user", "--map-root-user", "--mount")
    made = subprocess.Popen([*as_user()[:5], *place, *less, "sleep", "600"], cwd="/")

    def limits(text: str) -> dict[str, str]:
        fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        return {name: fields[name] for name in ("CapEff", "CapBnd", "NoNewPrivs")}

    status = Path(f"/proc/{made.pid}/status")
    try:
        until(lambda: limits(status.read_text())["NoNewPrivs"] == "1" and state(made.pid) == "S")
        theirs = limits(status.read_text())
        assert limits(enter(made.pid, "cat", "/proc/self/status")) == theirs
        of_host = limits(enter("--host-exe", made.pid, "cat", "/proc/self/status"))
        assert int(of_host["CapEff"], 16) == int(theirs["CapEff"], 16) | 1 << 21
    finally:
        made.kill()
        made.wait()
    assert roots.top.exists()


# ---------------------------------------------------------------- programs of the host


def test_a_static_program_of_the_host(static: int, roots: Roots) -> None:
    program = roots.busybox / "bin/busybox"
    assert enter("--host-exe", static, program, "hostname") == "box\n"
    assert "program" in enter("--host-exe", static, program, "ls", "/").split()


@pytest.fixture(params=["busybox", "static"])
def place(request: pytest.FixtureRequest) -> int:
    """Containers that lack everything, with a shell and without."""
    pid: int = request.getfixturevalue(request.param)
    return pid


def test_python(place: int) -> None:
    script = "import json, os, locale, encodings.idna, sqlite3; print(os.getuid(), locale.setlocale(locale.LC_ALL, ''))"
    out = enter("--host-exe", "--env", "LC_ALL=C.UTF-8", place, "/usr/bin/python3", "-c", script)
    assert out == "0 C.UTF-8\n"


def test_strace(place: int) -> None:
    out = enter("--host-exe", place, "strace", "-qqe", "trace=geteuid", "/usr/bin/id", "-u")
    assert "geteuid() " in out
    assert "0\n" in out
    tracer = subprocess.Popen([*as_user(), "enter", "--host-exe", str(place), "strace", "-o", "/dev/null", "-p", "2"])
    until(lambda: "TracerPid:\t0\n" not in Path(f"/proc/{place}/status").read_text())
    tracer.terminate()
    assert tracer.wait(20) in {0, -signal.SIGTERM, 130}


def test_gdb(place: int) -> None:
    commands = ("-ex", "info proc", "-ex", "python print(6 * 7)")
    out = enter("--host-exe", place, "gdb", "-nx", "-batch", "-p", "2", *commands)
    assert "process 2" in out
    assert "42\n" in out
    assert "not permitted" not in out


def test_zsh(place: int) -> None:
    """With its modules and functions."""
    script = "zmodload zsh/datetime && (( EPOCHSECONDS > 0 )) && autoload -Uz +X zmv && whence -w zmv; echo $UID"
    assert enter("--host-exe", place, "zsh", "-fc", script) == "zmv: function\n0\n"


def test_htop(place: int) -> None:
    """It shows the container's processes on a terminal whose description is the host's."""
    terminal = Terminal("env", "TERM=xterm-256color", *as_user(), "enter", "--host-exe", str(place), "htop")
    terminal.expect("Tasks: ", 30)
    terminal.expect("sleep 600|program wait", 30)
    terminal.send("q")
    assert os.waitstatus_to_exitcode(waited(terminal.pid, 30)) == 0
    os.close(terminal.fd)


def test_support_files_are_found(place: int) -> None:
    assert enter("--host-exe", place, "tput", "-T", "xterm", "cols").strip().isdecimal()
    assert "C.utf8" in enter("--host-exe", place, "locale", "-a").splitlines()


def test_users_are_the_containers(busybox: int) -> None:
    assert enter("--host-exe", busybox, "getent", "passwd", "web") == "web:x:1007:1008::/srv:/bin/sh\n"
    enter("--host-exe", busybox, "getent", "passwd", "daemon", status=2)


def test_a_program_that_both_have_is_the_hosts(busybox: int) -> None:
    script = "mkdir -p /usr/bin; ln -s /bin/false /usr/bin/zsh; ln -s /bin/false /usr/bin/env"
    enter(busybox, "sh", "-c", script)
    assert enter("--host-exe", busybox, "zsh", "-fc", "echo of the host") == "of the host\n"
    assert "GNU coreutils" in enter("--host-exe", busybox, "env", "--version")


def test_the_containers_files_stay_writable(busybox: int) -> None:
    enter("--host-exe", busybox, "bash", "-c", "echo changed >/srv/file")
    assert enter(busybox, "cat", "/srv/file") == "changed\n"
    assert "host" not in enter(busybox, "ls", "/")


def test_a_container_with_a_loader_of_its_own(roots: Roots) -> None:
    """The host's program runs with the host's libraries, whatever the container's are."""
    root = roots.top / "old"
    for name in ("lib64", "bin", "lib"):
        (root / name).mkdir(parents=True)
    shutil.copyfile(roots.busybox / "bin/busybox", root / "lib64/ld-linux-x86-64.so.2")
    shutil.copyfile(roots.busybox / "bin/busybox", root / "bin/sleep")
    for path in ("lib64/ld-linux-x86-64.so.2", "bin/sleep"):
        (root / path).chmod(0o755)
    subprocess.run(["chown", "-R", f"{UID}:{UID}", str(root)], check=True)
    process = start_box(root, "/bin/sleep", "600")
    assert process.stdout is not None
    try:
        until(lambda: children(process.pid) and len(children(children(process.pid)[0])) == 2)
        time.sleep(0.5)
        assert enter("--host-exe", command_of(process.pid), "ls", "/lib64") == "ld-linux-x86-64.so.2\n"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


# ---------------------------------------------------------------- what cannot be


def test_mistakes_are_named(busybox: int) -> None:
    for words, message, status in (
        ([], "no TARGET given", 125),
        (["4194304"], "there is no process 4194304", 125),
        (["mybox"], "TARGET is a pid, podman:NAME, docker:NAME or the name of a box, and no box is", 125),
        (["1", "true"], "process 1 may not be entered: it belongs to uid 0", 125),
        (["docker:nonesuch", "true"], "docker", 125),
        (["--namespaces", "user,disk", busybox, "true"], "there is no kind 'disk'", 125),
        (["--host-exe", busybox, "nonesuch"], "nonesuch: the host has no such program", 127),
        (["--host-exe", os.getpid(), "true"], "may not be entered", 125),
        ([busybox, "nonesuch"], "nonesuch: command not found", 127),
        ([busybox, "/srv"], "/srv is not a regular file", 126),
        (["--workdir", "/nowhere", busybox, "true"], "cannot enter the directory /nowhere", 125),
    ):
        out = enter(*words, status=status)
        assert message in out, words
        assert len(out.splitlines()) == 1, out


def test_scripts(roots: Roots, busybox: int) -> None:
    """Of the container and of the host, whose interpreters are there or not."""
    for name, line in (("good", "#!/bin/sh"), ("host", "#!/usr/bin/python3"), ("bad", "#!/no/such -x")):
        (roots.top / name).write_text(f"{line}\nprint = 5\n")
        (roots.top / name).chmod(0o755)
        with (roots.top / name).open("rb") as file:
            enter(busybox, "sh", "-c", f"cat >/srv/{name}; chmod +x /srv/{name}", stdin=file)
    for words, message, status in (
        (["--host-exe", busybox, roots.top / "host"], "", 0),
        (["--host-exe", busybox, roots.top / "bad"], "/bad needs the interpreter /no/such, which does not exist", 126),
        ([busybox, "/srv/good"], "print: not found", 127),
        ([busybox, "/srv/host"], "/srv/host needs the interpreter /usr/bin/python3, which does not exist here", 127),
        ([busybox, "/srv/bad"], "/srv/bad needs the interpreter /no/such, which does not exist here", 127),
    ):
        assert message in enter(*words, status=status), words


def test_a_container_of_somebody_else(roots: Roots) -> None:
    other = ["setpriv", "--reuid=23456", "--regid=23456", "--clear-groups", "--"]
    made = subprocess.Popen([*other, "unshare", "--user", "--map-root-user", "--mount", "sleep", "600"], cwd="/")
    try:
        until(lambda: os.readlink(f"/proc/{made.pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt"))
        out = enter(made.pid, "true", status=125)
        assert f"process {made.pid} may not be entered: it belongs to uid 23456, and we are {UID}" in out
    finally:
        made.kill()
        made.wait()
    assert roots.top.exists()


def test_a_process_with_threads_cannot_enter(busybox: int, roots: Roots) -> None:
    """Whoever uses the module, not the command, is told so."""
    script = f"""
        import sys, threading
        sys.path.insert(0, {str(roots.top / "site")!r})
        from remainroot.containers.target import Target
        from remainroot.errors import RemainrootError
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        try:
            Target({busybox}).join(["user"])
        except RemainrootError as error:
            print(error)
    """
    words = [*as_user()[:5], "/usr/bin/python3", "-c", textwrap.dedent(script)]
    out = subprocess.run(words, capture_output=True, text=True, check=True, cwd="/").stdout
    assert out == (
        f"enter: cannot join the user namespace of process {busybox}: Invalid argument; "
        "a process with several threads may not\n"
    )


def test_a_target_that_ends_meanwhile(roots: Roots) -> None:
    """Whatever is asked of it later fails, and hits nobody else."""
    with subprocess.Popen(["unshare", "--mount", "sleep", "600"]) as process:
        until(lambda: os.readlink(f"/proc/{process.pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt"))
        target = Target(process.pid)
        process.kill()
    for ask in (target.learn_ids, lambda: target.join(["mount"]), lambda: target.take_limits(())):
        with pytest.raises(RemainrootError, match=f"enter: process {process.pid} has ended"):
            ask()
    assert roots.top.exists()


def test_a_target_that_has_ended(roots: Roots) -> None:
    ended = subprocess.Popen([sys.executable, "-c", "pass"])
    until(lambda: os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT) is not None)
    try:
        assert f"process {ended.pid} has ended" in enter(ended.pid, "true", status=125, prefix=as_user()[-2:])
    finally:
        ended.wait()
    assert roots.top.exists()
