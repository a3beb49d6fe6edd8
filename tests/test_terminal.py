# SPDX-License-Identifier: GPL-2.0-or-later
"""At a real terminal: an interactive bash on a pty, with remainroot in its foreground and its background."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.launching import ENGINES, PLACE, REMAINROOT, children, environment, state, until

if TYPE_CHECKING:
    from collections.abc import Iterator

CTRL_C = "\x03"
CTRL_Z = "\x1a"
CTRL_BACKSLASH = "\x1c"
PROMPT = "ready> "


@pytest.fixture(autouse=True, params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each test is made on every engine."""
    REMAINROOT[-1] = request.param
    yield request.param
    REMAINROOT[-1] = "auto"


class Terminal:
    """A pty with a program in it."""

    def __init__(self, *command: str) -> None:
        self.seen = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(command[0], command, {**environment(), "TERM": "dumb", "PS1": PROMPT, "HISTFILE": ""})

    def send(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def expect(self, pattern: str, seconds: float = 10) -> re.Match[str]:
        """Read until `pattern` matches what came since the last match; return the match."""
        end = time.monotonic() + seconds
        while True:
            match = re.search(pattern, self.seen)
            if match:
                self.seen = self.seen[match.end() :]
                return match
            left = end - time.monotonic()
            assert left > 0, f"no {pattern!r} in {self.seen!r}"
            if select.select([self.fd], [], [], left)[0]:
                try:
                    data = os.read(self.fd, 4096)
                except OSError:  # the other side is closed
                    data = b""
                assert data, f"end of file before {pattern!r}, after {self.seen!r}"
                self.seen += data.decode(errors="replace").replace("\r", "")

    def run(self, line: str) -> str:
        """Run `line` to the next prompt; return what it printed."""
        self.send(line + "\n")
        self.expect(re.escape(line) + "\n")
        return self.expect(f"(?s)(.*?){re.escape(PROMPT)}").group(1)

    def close(self) -> None:
        os.close(self.fd)
        waited(self.pid)


def waited(pid: int, seconds: float = 10) -> int:
    """The wait status of `pid`, which ends within `seconds`."""
    pidfd = os.pidfd_open(pid)
    ready = select.select([pidfd], [], [], seconds)[0]
    os.close(pidfd)
    if not ready:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert ready, f"process {pid} did not end in {seconds} s"
    return os.waitpid(pid, 0)[1]


@pytest.fixture
def bash() -> Iterator[Terminal]:
    """An interactive shell in a user namespace, where `remainroot` is a function for the one under test."""
    terminal = Terminal(*PLACE, "bash", "--norc", "--noprofile", "--noediting", "-i")
    terminal.expect(re.escape(PROMPT))
    terminal.run(f'remainroot() {{ {" ".join(REMAINROOT)} "$@"; }}')
    yield terminal
    terminal.close()


COUNTER = (
    "import signal, sys; names = ['INT', 'TSTP', 'CONT', 'WINCH']; count = dict.fromkeys(names, 0); "
    "note = lambda n, _: count.__setitem__(signal.Signals(n).name[3:], count[signal.Signals(n).name[3:]] + 1); "
    "[signal.signal(getattr(signal, 'SIG' + name), note) for name in names if name not in sys.argv]; "
    "print('counting', flush=True); "
    "[print('counts', *count.values(), flush=True) for line in sys.stdin]"
)


def counter(terminal: Terminal, *leave: str) -> None:
    """A command in the foreground that counts signals, those in `leave` excepted, and tells at each line."""
    terminal.send(f"remainroot -- {sys.executable} -I -c {shlex.quote(COUNTER)} {' '.join(leave)}\n")
    terminal.expect("\ncounting\n")


def counts(terminal: Terminal) -> list[int]:
    """SIGINT, SIGTSTP, SIGCONT and SIGWINCH that the counter had."""
    terminal.send("\n")
    return [int(word) for word in terminal.expect(r"counts ([\d ]+)\n").group(1).split()]


def settles(terminal: Terminal, expected: list[int]) -> None:
    """The counter comes to `expected`, and stays there."""
    until(lambda: sum(counts(terminal)) >= sum(expected))
    time.sleep(0.2)
    assert counts(terminal) == expected


def in_foreground(terminal: Terminal, name: str) -> bool:
    """Whether the terminal's foreground is led by a program of this name, and it is asleep."""
    leader = os.tcgetpgrp(terminal.fd)
    try:
        return state(leader) == "S" and Path(f"/proc/{leader}/comm").read_text("ascii") == f"{name}\n"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_interrupt_ends_the_command(bash: Terminal) -> None:
    bash.send("remainroot -- sh -c 'echo up; exec sleep 100'\n")
    bash.expect("\nup\n")
    bash.send(CTRL_C)
    bash.expect(re.escape(PROMPT))
    assert bash.run("echo $?") == "130\n"


def test_quit_ends_the_command(bash: Terminal) -> None:
    bash.run("ulimit -c 0")
    bash.send("remainroot -- sh -c 'echo up; exec sleep 100'\n")
    bash.expect("\nup\n")
    bash.send(CTRL_BACKSLASH)
    bash.expect(re.escape(PROMPT))
    assert bash.run("echo $?") == "131\n"


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.02, 0.03, 0.04, 0.06, 0.1])
def test_interrupt_while_starting_ends_it(delay: float) -> None:
    command = (*PLACE, *REMAINROOT, "--", "sleep", "100")
    terminal = Terminal("sh", "-c", 'echo up; exec "$@"', "sh", *command)
    terminal.expect("up\n")
    time.sleep(delay)
    terminal.send(CTRL_C)
    pidfd = os.pidfd_open(terminal.pid)
    if not select.select([pidfd], [], [], 5)[0]:
        # Raised in a callback of its imports, the interpreter says so and loses it: no code of ours has run yet.
        terminal.expect("Exception ignored in")
        terminal.send(CTRL_C)
    os.close(pidfd)
    status = waited(terminal.pid)
    # While the interpreter itself comes up it is its own KeyboardInterrupt.
    if status != signal.SIGINT:
        terminal.expect("KeyboardInterrupt")
    os.close(terminal.fd)


def test_interrupt_reaches_the_command_once(bash: Terminal) -> None:
    counter(bash)
    bash.send(CTRL_C)
    settles(bash, [1, 0, 0, 0])
    bash.send(CTRL_C)
    settles(bash, [2, 0, 0, 0])
    bash.send("\x04")
    bash.expect(re.escape(PROMPT))


def test_stop_and_foreground(bash: Terminal) -> None:
    counter(bash, "TSTP")
    bash.send(CTRL_Z)
    bash.expect("Stopped")
    bash.expect(re.escape(PROMPT))
    assert "Stopped" in bash.run("jobs")
    assert bash.run("echo alive") == "alive\n"
    bash.send("fg\n")
    bash.expect("fg\n")
    settles(bash, [0, 0, 1, 0])
    # Again, as the first time.
    bash.send(CTRL_Z)
    bash.expect("Stopped")
    bash.expect(re.escape(PROMPT))
    bash.send("fg\n")
    bash.expect("fg\n")
    settles(bash, [0, 0, 2, 0])
    bash.send(CTRL_C)
    settles(bash, [1, 0, 2, 0])
    bash.send("\x04")
    bash.expect(re.escape(PROMPT))
    assert bash.run("echo $?") == "0\n"


def test_stop_that_the_command_catches(bash: Terminal) -> None:
    counter(bash)
    bash.send(CTRL_Z)
    settles(bash, [0, 1, 0, 0])
    bash.send("\x04")
    bash.expect(re.escape(PROMPT))


def test_background(bash: Terminal, tmp_path: Path) -> None:
    # A child that is stopped between dash's vfork and its exec would keep dash itself from being stopped, here as
    # without us: so CMD forks nothing.
    os.mkfifo(tmp_path / "go")
    bash.send(f"remainroot -- sh -c 'echo up; read go <{tmp_path}/go; echo done >&2; exit 3'\n")
    bash.expect("\nup\n")
    bash.send(CTRL_Z)
    bash.expect("Stopped")
    bash.expect(re.escape(PROMPT))
    assert "&" in bash.run("bg")
    assert "Running" in bash.run("jobs")
    (tmp_path / "go").write_text("go\n", "ascii")
    bash.expect("done\n")
    assert bash.run("wait %1; echo $?").endswith("3\n")


def test_background_job_is_stopped_by_its_read(bash: Terminal) -> None:
    bash.run("remainroot -- sh -c 'read line; echo got $line' &")
    until(lambda: "Stopped" in bash.run("jobs"))
    bash.send("fg\n")
    bash.expect("fg\n")
    bash.send("words\n")
    bash.expect("got words\n")
    bash.expect(re.escape(PROMPT))


def test_kill_job(bash: Terminal) -> None:
    bash.run("remainroot -- sleep 100 &")
    assert bash.run("sleep 0.3; kill %1; wait %1; echo $?").endswith("143\n")


def test_pipeline_in_the_foreground(bash: Terminal) -> None:
    assert bash.run("remainroot -- yes | head -1") == "y\n"
    assert bash.run("echo ${PIPESTATUS[*]}") == "141 0\n"
    assert bash.run("echo word | remainroot -- cat | remainroot -- tr a-z A-Z") == "WORD\n"


def test_window_size_reaches_the_command_once(bash: Terminal) -> None:
    counter(bash)
    import fcntl
    import struct
    import termios

    fcntl.ioctl(bash.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
    settles(bash, [0, 0, 0, 1])
    bash.send("\x04")
    bash.expect(re.escape(PROMPT))


def test_interactive_shell_inside(bash: Terminal) -> None:
    bash.send("remainroot -- bash --norc --noprofile --noediting -i\n")
    bash.expect(re.escape(PROMPT))
    bash.send("sleep 100\n")
    bash.expect("sleep 100\n")
    until(lambda: in_foreground(bash, "sleep"))
    bash.send(CTRL_Z)
    bash.expect("Stopped")
    bash.expect(re.escape(PROMPT))
    bash.send("fg\n")
    bash.expect("sleep 100\n")
    until(lambda: in_foreground(bash, "sleep"))
    bash.send(CTRL_C)
    bash.expect(re.escape(PROMPT))
    assert bash.run("echo $?") == "130\n"
    # Back to the outer shell and in again.
    bash.send("suspend\n")
    bash.expect("Stopped")
    bash.expect(re.escape(PROMPT))
    bash.send("fg\n")
    bash.expect("fg\n")
    bash.send("echo inner $((6*7))\n")
    bash.expect("inner 42\n")
    bash.expect(re.escape(PROMPT))
    bash.send("exit 5\n")
    bash.expect(re.escape(PROMPT))
    assert bash.run("echo $?") == "5\n"


def test_leader_of_the_session_is_hung_up() -> None:
    """As `ssh -t HOST remainroot -- CMD`: when the terminal goes, only the session's leader is told."""
    terminal = Terminal(*PLACE, *REMAINROOT, "--", "sh", "-c", "echo up; sleep 100 & wait")
    terminal.expect("up\n")
    (supervisor,) = children(terminal.pid)
    (command,) = children(supervisor)
    os.close(terminal.fd)
    status = waited(terminal.pid)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGHUP
    until(lambda: state(command) == "")
