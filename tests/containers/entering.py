# SPDX-License-Identifier: GPL-2.0-or-later
"""Boxes that run, and entering them."""

from __future__ import annotations

import contextlib
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.containers.roots import TIMEOUT, as_user, start_box
from tests.launching import children

if TYPE_CHECKING:
    from collections.abc import Iterator


def command_of(front: int) -> int:
    """The process that is CMD of the box that `front` stands for: not the first one of its pid namespace."""
    [supervisor] = children(front)
    status = {pid: Path(f"/proc/{pid}/status").read_text("ascii") for pid in children(supervisor)}
    (command,) = (pid for pid, text in status.items() if not re.search(r"^NSpid:.*\s1$", text, re.MULTILINE))
    return command


@contextlib.contextmanager
def running(*words: object) -> Iterator[int]:
    """A box whose CMD prints a line once it is up; the pid of its CMD."""
    process = start_box(*map(str, words))
    assert process.stdout is not None
    try:
        assert process.stdout.readline()
        yield command_of(process.pid)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def enter(*words: object, status: int = 0, prefix: list[str] | None = None, **how: Any) -> str:
    """What `remainroot enter` prints, errors too; it must end with `status`."""
    start = as_user() if prefix is None else prefix
    default: dict[str, Any] = {
        "cwd": "/", "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT,
    }  # fmt: skip
    result: subprocess.CompletedProcess[str] = subprocess.run(
        [*start, "enter", *map(str, words)], text=True, timeout=TIMEOUT, check=False, **(default | how)
    )
    assert result.returncode == status, result.stdout
    return result.stdout
