# SPDX-License-Identifier: GPL-2.0-or-later
"""How the tests start remainroot: as root of a fresh user namespace that maps one uid and one gid."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from _pytest.mark import ParameterSet

ROOT = Path(__file__).resolve().parents[1]
REMAINROOT = [sys.executable, "-m", "remainroot", "--engine", "auto"]
"""The program under test; its last word is the engine, which a test may change."""
ENGINES = ("notify", "trace", "ptrace")


def in_turn(*cases: tuple[object, ...]) -> list[ParameterSet]:
    """An engine and what follows it, for each case: the next engine each time, and the others where there is time."""
    return [
        pytest.param(engine, *case, marks=[] if at % len(ENGINES) == which else [pytest.mark.slow])
        for at, case in enumerate(cases)
        for which, engine in enumerate(ENGINES)
    ]
PLACE = ("unshare", "--user", "--map-root-user")
TIMEOUT = 60


@functools.cache
def for_everybody() -> str:
    """A remainroot that a plain user can run: this tree may lie where only root can enter."""
    from tests.e2e.containers import install_into

    site = Path(tempfile.mkdtemp(prefix="remainroot-tests-", dir="/var/tmp"))
    atexit.register(shutil.rmtree, site, ignore_errors=True)
    install_into(site)
    return str(site / "bin/remainroot")


def environment() -> dict[str, str]:
    """Ours, with this source tree first among the places that Python imports from."""
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), "LC_ALL": "C"}


def remainroot(*arguments: str, **how: Any) -> subprocess.CompletedProcess[str]:
    """Run remainroot with `arguments` to its end, output captured; `how` goes to subprocess.run."""
    default: dict[str, Any] = {"capture_output": True, "text": True, "timeout": TIMEOUT, "env": environment()}
    command = [*PLACE, *REMAINROOT, *arguments]
    result: subprocess.CompletedProcess[str] = subprocess.run(command, check=False, **(default | how))
    return result


def start(*arguments: str, **how: Any) -> subprocess.Popen[str]:
    """Start remainroot with `arguments`. The process is front itself: unshare(1) turns into it."""
    default: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "text": True}
    how = default | {"env": environment()} | how
    process: subprocess.Popen[str] = subprocess.Popen([*PLACE, *REMAINROOT, *arguments], **how)
    return process


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait for `condition`; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s in vain"
        time.sleep(0.01)


def children(pid: int) -> list[int]:
    """The children of process `pid`."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]


def state(pid: int) -> str:
    """The state letter of process `pid`, "" if it is gone: proc_pid_stat(5)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def is_running(pid: int) -> bool:
    """Whether process `pid` exists and is no zombie."""
    return state(pid) not in {"", "Z", "X"}


def running_with(mark: str) -> list[int]:
    """The pids of the running processes that have `mark` in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark.encode() in (entry / "cmdline").read_bytes() and is_running(int(entry.name)):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found
