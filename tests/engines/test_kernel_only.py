# SPDX-License-Identifier: GPL-2.0-or-later
"""The engine that only says "done": calls succeed, nothing is remembered, nothing stays behind."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import remainroot.handlers  # noqa: F401  # declares every syscall
from remainroot.dispatch import SYSCALLS

if TYPE_CHECKING:
    from pathlib import Path

SPACE = ["unshare", "--user", "--map-root-user"]
REMAINROOT = [sys.executable, "-m", "remainroot"]


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [*SPACE, *REMAINROOT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=cwd, check=False)


def test_what_would_fail_succeeds_and_leaves_no_trace(tmp_path: Path) -> None:
    script = "touch a; chown 42:43 a && mknod dev c 1 3; ls -ln a; ls; "
    script += "setpriv --reuid=33 --regid=33 --clear-groups id -u"
    done = run("--engine", "kernel", "--", "sh", "-c", script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    listed, *rest = done.stdout.splitlines()
    assert listed.split()[2:4] == ["0", "0"]
    assert rest == ["a", "0"]
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_a_fifo_is_made_for_real(tmp_path: Path) -> None:
    done = run("--consistency", "none", "--", "sh", "-c", "mkfifo f && test -p f", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "f").is_fifo()


def test_cmd_takes_our_place() -> None:
    done = run("--engine", "kernel", "--", "sh", "-c", "echo $PPID; exit 7")
    assert done.returncode == 7
    assert done.stdout == f"{os.getpid()}\n"  # all that stood between was replaced, not forked


def test_what_needs_a_supervisor_is_refused() -> None:
    done = run("--engine", "kernel", "--stats", "--", "true")
    assert done.returncode == 125
    assert done.stderr == (
        "remainroot: option --stats needs a supervisor, and --engine kernel has none: leave one out\n"
    )


def test_what_is_answered_blindly_changes_ids_owners_or_makes_devices() -> None:
    blind = {name for name, syscall in SYSCALLS.items() if syscall.blind is not None}
    assert {"setuid", "setgroups32", "fchownat", "capset", "mknodat"} <= blind
    assert not {name for name in blind if name.startswith(("get", "stat", "open", "exec"))}
