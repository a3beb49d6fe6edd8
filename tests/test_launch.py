# SPDX-License-Identifier: GPL-2.0-or-later
"""What the caller sees: exit statuses, signals, descriptors, daemons, PID 1."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.launching import (
    ENGINES,
    PLACE,
    REMAINROOT,
    children,
    environment,
    for_everybody,
    is_running,
    remainroot,
    start,
    state,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True, params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each test is made on every engine."""
    REMAINROOT[-1] = request.param
    yield request.param
    REMAINROOT[-1] = "auto"


# Prints the number of each signal it gets, and ends at SIGUSR2.
RECORDER = """
import os, signal, sys
got = []
for signo in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGALRM, signal.SIGINT, signal.SIGCONT):
    signal.signal(signo, lambda signo, _: got.append(int(signo)))
stop = []
signal.signal(signal.SIGUSR2, lambda *_: stop.append(1))
print(os.getpid(), flush=True)
while not stop:
    signal.pause()
print(*got)
"""


def recorder(**how: object) -> tuple[subprocess.Popen[str], int]:
    """Front and the pid of a CMD that records its signals."""
    front = start("--", sys.executable, "-I", "-c", RECORDER, **how)
    assert front.stdout is not None
    return front, int(front.stdout.readline())


def recorded(front: subprocess.Popen[str], wait: float = 0.3) -> list[int]:
    """What CMD has recorded in `wait` seconds from now; ends it."""
    time.sleep(wait)
    front.send_signal(signal.SIGUSR2)
    out, _ = front.communicate(timeout=20)
    assert front.returncode == 0
    return [int(word) for word in out.split()]


def has(pid: int, field: str, signo: int) -> bool:
    """Whether the bit of `signo` is set in a signal set of /proc/PID/status."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        fields = dict(line.split(":\t", 1) for line in file)
    return bool(int(fields[field], 16) >> (signo - 1) & 1)


# ---------------------------------------------------------------- exit status


@pytest.mark.parametrize("status", [0, 1, 2, 77, 124, 125, 126, 127, 128, 137, 255])
def test_exit_status_is_commands(status: int) -> None:
    assert remainroot("--", "sh", "-c", f"exit {status}").returncode == status


@pytest.mark.parametrize(
    "name", ["HUP", "INT", "QUIT", "ABRT", "KILL", "SEGV", "PIPE", "ALRM", "TERM", "USR1", "RTMIN"]
)
def test_fatal_signal_is_commands(name: str, tmp_path: Path) -> None:
    signo = signal.Signals[f"SIG{name}"]
    result = remainroot(
        "--", sys.executable, "-I", "-c", f"import os; os.kill(os.getpid(), {int(signo)})", cwd=tmp_path
    )
    # Python itself ignores SIGPIPE, and answers SIGINT with a death by SIGINT.
    assert result.returncode == (0 if name == "PIPE" else -signo)


def test_no_core_file_of_ours(tmp_path: Path) -> None:
    result = remainroot(
        "--",
        "sh",
        "-c",
        "ulimit -c 0; kill -SEGV $$",
        cwd=tmp_path,
        preexec_fn=lambda: __import__("resource").setrlimit(4, (1 << 24, 1 << 24)),
    )
    assert result.returncode == -signal.SIGSEGV
    assert list(tmp_path.iterdir()) == []


def test_command_not_found() -> None:
    result = remainroot("--", "no-such-command-anywhere")
    assert (result.returncode, result.stderr) == (
        127,
        "remainroot: no-such-command-anywhere: command not found\n",
    )
    result = remainroot("--", "/no/such/file")
    assert (result.returncode, result.stderr) == (127, "remainroot: /no/such/file: command not found\n")
    assert remainroot("--", "").returncode == 127


def test_command_not_executable(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("echo no\n", encoding="ascii")
    plain.chmod(0o644)
    result = remainroot("--", str(plain))
    assert (result.returncode, result.stderr) == (126, f"remainroot: {plain}: Permission denied\n")
    assert remainroot("--", str(tmp_path)).returncode == 126
    # Found in PATH, but of no use.
    env = {**environment(), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    assert remainroot("--", "plain", env=env).returncode == 126
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"\x7fELF\0\0\0\0 nothing")
    garbage.chmod(0o755)
    result = remainroot("--", str(garbage))
    assert (result.returncode, result.stderr) == (126, f"remainroot: {garbage}: Exec format error\n")


def test_command_is_searched_as_execvp_does(tmp_path: Path) -> None:
    for name, text in (("first", "not executable"), ("second", "#!/bin/sh\necho second $1\n")):
        directory = tmp_path / name
        directory.mkdir()
        (directory / "tool").write_text(text, encoding="ascii")
    (tmp_path / "second" / "tool").chmod(0o755)
    path = f"/no/such:{tmp_path}/first:{tmp_path}/second:{os.environ['PATH']}"
    env = {**environment(), "PATH": path}
    result = remainroot("--", "tool", "word", env=env)
    assert (result.returncode, result.stdout) == (0, "second word\n")
    (tmp_path / "second" / "tool").write_text("echo by sh $1\n", encoding="ascii")
    assert remainroot("--", "tool", "word", env=env).stdout == "by sh word\n"


def test_supervisor_killed_is_said() -> None:
    front = start("--", "sh", "-c", "echo ready; read never", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert front.stdin is not None
    assert front.stdout is not None
    assert front.stdout.readline() == "ready\n"
    (supervisor,) = children(front.pid)
    (command,) = children(supervisor)
    os.kill(supervisor, signal.SIGKILL)
    assert front.stderr is not None
    assert front.stderr.readline() == (
        "remainroot: the supervisor was killed by signal 9 while CMD was running; CMD is on its own, unsupervised\n"
    )
    assert front.wait(20) == 125
    if is_running(command):
        os.kill(command, signal.SIGKILL)
    front.stdin.close()
    front.stdout.close()
    front.stderr.close()


# ---------------------------------------------------------------- who runs it


def test_real_root_is_refused() -> None:
    result = subprocess.run(
        [*REMAINROOT, "--", "echo", "ran"], capture_output=True, text=True, env=environment(), check=False
    )
    assert result.returncode == 125
    assert result.stdout == ""
    assert result.stderr.startswith("remainroot: refused: this is real root")
    assert result.stderr.count("\n") == 1
    result = subprocess.run(
        [*REMAINROOT, "--anyway", "--", "echo", "ran"],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, "ran\n")


PLAIN_USER = ("setpriv", "--reuid=12345", "--regid=23456", "--clear-groups")


def test_plain_user_gets_a_namespace() -> None:
    front = subprocess.Popen(
        [*PLAIN_USER, for_everybody(), "--engine", REMAINROOT[-1], "--", "sh", "-c", "id -u; read never; exit 4"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
        cwd="/",
    )
    assert front.stdin is not None
    assert front.stdout is not None
    assert front.stdout.readline() == "0\n"
    # Seen from outside: inside, the maps are among what is faked.
    maps = []
    for name in ("uid_map", "gid_map", "setgroups"):
        with open(f"/proc/{front.pid}/{name}", encoding="ascii") as file:
            maps.append(file.read().split())
    assert maps == [["0", "12345", "1"], ["0", "23456", "1"], ["deny"]]
    front.stdin.close()
    assert front.wait(20) == 4
    front.stdout.close()


def test_plain_user_without_namespaces() -> None:
    # A user who is not root, in a namespace that may have no namespaces inside.
    script = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"'
    place = ("unshare", "--user", "--map-user=12345", "--map-group=23456", "--keep-caps")
    result = subprocess.run(
        [*place, "sh", "-c", script, "sh", *REMAINROOT, "--", "id", "-u"],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "0\n", "")


def test_inside_itself() -> None:
    inner = (*REMAINROOT, "--", "sh", "-c", "echo $PPID; exit 9")
    result = remainroot("--", "sh", "-c", 'echo $$; "$@"; exit $?', "sh", *inner)
    assert result.stderr == ""
    shell, parent = result.stdout.split()
    assert shell == parent  # exec'ed in place: no process between
    assert result.returncode == 9
    assert remainroot("--", *REMAINROOT, "--", "no-such-command").returncode == 127


# ---------------------------------------------------------------- descriptors


def test_standard_input_and_output_pass() -> None:
    assert remainroot("--", "cat", input="some text\n").stdout == "some text\n"
    assert remainroot("--", "sh", "-c", "cat >&2", input="some text\n").stderr == "some text\n"


def test_inherited_descriptors_keep_their_numbers(tmp_path: Path) -> None:
    # ls's own descriptor of the directory is the first free one: 4.
    shell = 'f=$1; shift; exec 3<"$f" 7<"$f" 250<"$f"; exec "$@"'
    command = [*PLACE, *REMAINROOT, "--", "sh", "-c", "ls /proc/self/fd; cat <&7"]
    file = tmp_path / "file"
    file.write_text("text\n", encoding="ascii")
    result = subprocess.run(
        ["bash", "-c", shell, "bash", file, *command],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert result.stderr == ""
    assert result.stdout.split() == ["0", "1", "2", "250", "3", "4", "7", "text"]


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_closed_standard_descriptor_stays_closed(closed: int) -> None:
    # `test -e` needs no descriptor of its own.
    script = "for n in 0 1 2 3; do [ ! -e /proc/$$/fd/$n ] || s=$s$n; done; exit $((1$s % 251))"
    shell = f'exec {closed}<&-; exec "$@"'
    command = [*PLACE, *REMAINROOT, "--", "bash", "-c", script]
    result = subprocess.run(["bash", "-c", shell, "bash", *command], env=environment(), check=False)
    left = "".join(str(n) for n in range(3) if n != closed)
    assert result.returncode == int(f"1{left}") % 251


def test_supervisor_holds_nothing_of_the_callers() -> None:
    ends = os.pipe()
    script = "echo $PPID; exec >&-; read line"
    front = start("--", "sh", "-c", script, pass_fds=[ends[1]], stdin=subprocess.PIPE)
    os.close(ends[1])
    assert front.stdout is not None
    assert front.stdin is not None
    supervisor = int(front.stdout.readline())
    ours = {os.readlink(f"/proc/self/fd/{fd}") for fd in (front.stdin.fileno(), front.stdout.fileno(), ends[0])}
    until(lambda: not ours & held(supervisor))
    assert os.readlink(f"/proc/{supervisor}/cwd") == "/"
    front.stdin.close()
    assert front.wait(20) == 1
    front.stdout.close()
    os.close(ends[0])


def test_own_descriptors_are_opened_by_name(tmp_path: Path) -> None:
    # Not the supervisor's, of which a user's O_CREAT has it look at the path.
    script = "exec 7>seven; echo text >/dev/fd/7; echo more >/proc/self/fd/7; cat seven; echo out >/dev/stdout"
    user = ("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups")
    tmp_path.chmod(0o777)
    result = remainroot("--", *user, "bash", "-c", script, cwd=tmp_path)
    assert (result.stdout, result.stderr) == ("more\nout\n", "")


def held(pid: int) -> set[str]:
    """What the descriptors of process `pid` lead to."""
    return {os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")}


def test_command_substitution_waits_for_writers_only() -> None:
    # As without remainroot: the background part holds the pipe, so its output is waited for ...
    result = remainroot("--", "sh", "-c", "(sleep 0.5; echo late) & echo early")
    assert result.stdout == "early\nlate\n"
    # ... and one that does not hold it is not, though the supervisor serves it.
    begin = time.monotonic()
    result = remainroot("--", "sh", "-c", "sleep 5 >/dev/null 2>&1 & echo early; exit 7")
    assert (result.returncode, result.stdout) == (7, "early\n")
    assert time.monotonic() - begin < 4


# ---------------------------------------------------------------- daemons


def test_daemon_outlives_command() -> None:
    script = "setsid sh -c 'echo $$ $PPID; exec sleep 1' & read never; exit 7"
    front = start("--", "bash", "-c", script)
    assert front.stdout is not None
    (supervisor,) = children_of_supervisor(front)
    daemon = int(front.stdout.readline().split()[0])
    assert front.wait(20) == 7
    front.stdout.close()
    assert is_running(daemon)
    assert daemon in children(supervisor), "an orphan is the supervisor's"
    until(lambda: not is_running(daemon))
    until(lambda: not is_running(supervisor))


def children_of_supervisor(front: subprocess.Popen[str]) -> list[int]:
    until(lambda: len(children(front.pid)) == 1)
    return children(front.pid)


def test_front_killed_leaves_command_running() -> None:
    front, command = recorder()
    (supervisor,) = children(front.pid)
    front.kill()
    assert front.wait(20) == -signal.SIGKILL
    time.sleep(0.1)
    assert is_running(command)
    assert is_running(supervisor)
    os.kill(command, signal.SIGUSR2)
    until(lambda: not is_running(supervisor))
    assert front.stdout is not None
    front.stdout.close()


# ---------------------------------------------------------------- signals


@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGALRM, signal.SIGINT])
def test_signal_to_front_reaches_command_once(signo: signal.Signals) -> None:
    front, _ = recorder()
    front.send_signal(signo)
    assert recorded(front) == [signo]


def test_signal_before_command_is_there_is_kept() -> None:
    for delay in (0.0, 0.01, 0.02, 0.03, 0.04, 0.06):
        front = start("--", "sleep", "60")
        time.sleep(delay)
        front.terminate()
        assert front.wait(20) == -signal.SIGTERM
        assert front.stdout is not None
        front.stdout.close()


def test_signal_by_command_to_its_group_is_not_passed_on() -> None:
    script = RECORDER.replace("while not", "signal.set_wakeup_fd(-1)\nos.kill(0, signal.SIGTERM)\nwhile not")
    front = start("--", sys.executable, "-I", "-c", script, start_new_session=True)
    assert front.stdout is not None
    front.stdout.readline()
    assert recorded(front) == [signal.SIGTERM]


def test_fatal_signal_by_timeout() -> None:
    command = ["timeout", "0.5", *PLACE, *REMAINROOT, "--", "sleep", "60"]
    begin = time.monotonic()
    assert subprocess.run(command, env=environment(), check=False).returncode == 124
    assert time.monotonic() - begin < 20


def test_alarm_set_before_exec_reaches_command() -> None:
    front, _ = recorder(preexec_fn=lambda: signal.setitimer(signal.ITIMER_REAL, 3))
    assert recorded(front, 3.5) == [signal.SIGALRM]


def test_stop_and_continue_are_mirrored() -> None:
    front, command = recorder()
    os.kill(command, signal.SIGSTOP)
    pid, status = os.waitpid(front.pid, os.WUNTRACED)
    assert (pid, os.WIFSTOPPED(status)) == (front.pid, True)
    # Continued by a signal to front alone ...
    front.send_signal(signal.SIGCONT)
    until(lambda: state(command) == "S")
    until(lambda: state(front.pid) == "S")
    # ... and front by CMD.
    # (Not by SIGTSTP: where no shell watches over the process group, the kernel does not let that stop it.)
    os.kill(command, signal.SIGSTOP)
    until(lambda: state(front.pid) == "T")
    os.kill(command, signal.SIGCONT)
    until(lambda: state(front.pid) == "S")
    # Killed while stopped: the caller hears of it.
    os.kill(command, signal.SIGSTOP)
    until(lambda: state(front.pid) == "T")
    os.kill(command, signal.SIGKILL)
    assert front.wait(20) == -signal.SIGKILL
    assert front.stdout is not None
    front.stdout.close()


def test_command_has_the_callers_signals() -> None:
    def caller() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})

    command = ("grep", "-E", "^Sig(Blk|Ign|Cgt)", "/proc/self/status")
    plain = subprocess.run(command, preexec_fn=caller, capture_output=True, text=True, check=True)
    # Not by unshare(1), which changes SIGCHLD.
    supervised = subprocess.run(
        [*REMAINROOT, "--anyway", "--", *command],
        preexec_fn=caller,
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert supervised.returncode == 0
    assert supervised.stdout == plain.stdout
    assert plain.stdout.count("Sig") == 3


def test_supervisor_ignores_the_world() -> None:
    front, command = recorder()
    (supervisor,) = children(front.pid)
    assert os.getsid(supervisor) == supervisor
    assert os.getsid(command) == os.getsid(front.pid)
    assert os.getpgid(command) == os.getpgid(front.pid)
    for signo in (
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGTSTP,
        signal.SIGUSR1,
    ):
        os.kill(supervisor, signo)
    time.sleep(0.1)
    assert state(supervisor) in {"S", "R"}
    assert recorded(front) == []


def test_broken_pipe_ends_command() -> None:
    shell = f"set -o pipefail; {' '.join((*PLACE, *REMAINROOT))} -- yes | head -1"
    result = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, env=environment(), check=False)
    assert (result.returncode, result.stdout, result.stderr) == (128 + signal.SIGPIPE, "y\n", "")


# ---------------------------------------------------------------- PID 1

PID_1 = ("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc")


def as_pid_1(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PID_1, *REMAINROOT, "--", *command], capture_output=True, text=True, env=environment(), check=False
    )


def test_pid_1() -> None:
    result = as_pid_1("sh", "-c", "cat /proc/1/cmdline | tr '\\0' ' '; exit 5")
    assert "remainroot" in result.stdout
    assert result.returncode == 5
    # unshare(1) passes on its child's 128 + 15.
    assert as_pid_1("sh", "-c", "kill -TERM $$").returncode == 128 + signal.SIGTERM
    assert as_pid_1("sh", "-c", "kill -KILL $$").returncode == 128 + signal.SIGKILL


def test_pid_1_passes_signals_on_and_reaps() -> None:
    # A process that enters the namespace from outside leaves its orphans to PID 1.
    outer = subprocess.Popen(
        [
            *PID_1,
            *REMAINROOT,
            "--",
            "sh",
            "-c",
            "trap 'exit 3' TERM; echo ready; while :; do sleep 0.1; done",
        ],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert outer.stdout is not None
    assert outer.stdout.readline() == "ready\n"
    (front,) = children(outer.pid)
    enter = ["nsenter", "--target", str(front), "--user", "--preserve-credentials", "--pid", "--mount"]
    subprocess.run([*enter, "sh", "-c", "(sleep 0.2 &)"], check=True)
    until(lambda: len(children(front)) == 2)
    until(lambda: len(children(front)) == 1)
    os.kill(front, signal.SIGTERM)
    assert outer.wait(20) == 3
    outer.stdout.close()


# ---------------------------------------------------------------- the supervisor's own


def test_failure_before_the_start_is_said_in_one_line() -> None:
    # The tag that carries credentials needs this limit.
    result = subprocess.run(
        ["prlimit", "--rttime=1000000:1000000", *PLACE, *REMAINROOT, "--", "echo", "ran"],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert (result.returncode, result.stdout) == (125, "")
    assert result.stderr.startswith("remainroot: RLIMIT_RTTIME")
    assert result.stderr.count("\n") == 1


def test_fault_of_the_supervisor_is_said_in_one_line() -> None:
    code = (
        "import sys, remainroot.launch as launch; from remainroot.cli import main; "
        "launch.supervise = lambda *_: {}['no such key']; sys.exit(main())"
    )
    command = [*PLACE, sys.executable, "-c", code, "--", "echo", "ran"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert (result.returncode, result.stdout) == (125, "")
    assert result.stderr.startswith("remainroot: internal error: KeyError: 'no such key' (in <string>, line 1)")
    assert result.stderr.count("\n") == 1


def test_limits_of_the_caller_are_commands_alone() -> None:
    shell = 'ulimit -Sn 40; ulimit -Sf 1; exec "$@"'
    script = "ulimit -n; ulimit -f; grep -E 'open files|Max file size' /proc/$PPID/limits; exit 0"
    result = subprocess.run(
        ["bash", "-c", shell, "bash", *PLACE, *REMAINROOT, "--", "bash", "-c", f"sleep 0.3; {script}"],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    own_files, own_size, *limits = result.stdout.splitlines()
    assert (own_files, own_size) == ("40", "1")
    for line in limits:
        soft, hard = re.split(" {2,}", line)[1:3]
        assert soft == hard
    assert len(limits) == 2


def test_statistics_are_waited_for() -> None:
    begin = time.monotonic()
    result = remainroot("--stats", "--", "sh", "-c", "(sleep 1; id -u) >/dev/null 2>&1 & exit 3")
    assert result.returncode == 3
    assert time.monotonic() - begin > 1
    assert result.stderr.count("\n") > 1


def test_user_inside_itself() -> None:
    inner = (*REMAINROOT, "--user", "42:43", "--", "sh", "-c", "id -u; id -g; id -G")
    result = remainroot("--", *inner)
    assert (result.stdout.split(), result.stderr) == (["42", "43", "43"], "")
    result = remainroot("--user", "1000", "--", *inner)
    assert (result.returncode, result.stdout) == (125, "")
    assert result.stderr == "remainroot: cannot become 42:43: Operation not permitted\n"


def test_a_foreign_proc_is_refused() -> None:
    command = ["unshare", "--user", "--map-root-user", "--pid", "--fork", *REMAINROOT, "--", "true"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 125
    assert done.stderr.startswith("remainroot: /proc shows the processes of another pid namespace: ")
    assert done.stderr.count("\n") == 1


def test_the_end_where_nobody_else_gets_the_processor() -> None:
    """Under SCHED_FIFO a thread that asks again and again would keep the one that it waits for from running."""
    words = ["chrt", "-f", "1", "taskset", "-c", str(max(os.sched_getaffinity(0))), "unshare", "-Ur"]
    script = 'ulimit -t 10; exec "$@"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *words, *REMAINROOT, "--", "true"], env=environment(), check=False, timeout=60
    )
    assert done.returncode == 0
