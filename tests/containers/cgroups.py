# SPDX-License-Identifier: GPL-2.0-or-later
"""A cgroup of version 2 that is delegated to the unprivileged user, with the controllers that this machine can give it.

Where a controller is in a hierarchy of version 1 that nobody uses, it is lent to version 2 for as long as that takes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.containers.roots import UID
from tests.launching import until

if TYPE_CHECKING:
    from collections.abc import Iterator

WANTED = ("cpu", "memory", "pids")
_STAND_INS = ("net_cls", "net_prio", "perf_event")
"""Controllers that a hierarchy of version 1 has meanwhile: it may not be without."""


def _mounts(kind: str) -> Iterator[tuple[Path, set[str]]]:
    for line in Path("/proc/self/mountinfo").read_text("utf-8").splitlines():
        words = line.split()
        if words[words.index("-") + 1] == kind:
            yield Path(words[4]), set(words[-1].split(","))


def _controllers(directory: Path) -> set[str]:
    return set((directory / "cgroup.controllers").read_text("ascii").split())


def _remount(directory: Path, controllers: str) -> bool:
    command = ["mount", "-t", "cgroup", "-o", f"remount,{controllers}", "cgroup", str(directory)]
    return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0


@contextlib.contextmanager
def _lent(top: Path) -> Iterator[None]:
    stand_ins = [name for name in _STAND_INS if name not in _controllers(top)]
    lent = []
    try:
        for directory, options in list(_mounts("cgroup")):
            names = options & set(WANTED)
            if len(names) == 1 and stand_ins and not next(os.walk(directory))[1]:
                name = names.pop()
                if _remount(directory, stand_ins.pop()):
                    lent.append((directory, name))
        yield
    finally:
        for directory, name in lent:
            # What was limited by it takes a while to be forgotten.
            until(lambda directory=directory, name=name: _remount(directory, name), 60)  # type: ignore[misc]


@contextlib.contextmanager
def delegated() -> Iterator[Path]:
    """The directory of the cgroup; its `cgroup.controllers` says what it has."""
    with Path("/run/lock/remainroot-tests-cgroup").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        top = next(directory for directory, _ in _mounts("cgroup2"))
        with _lent(top):
            before = set((top / "cgroup.subtree_control").read_text("ascii").split())
            names = sorted((_controllers(top) & set(WANTED)) - before)
            for name in names:
                (top / "cgroup.subtree_control").write_text(f"+{name}")
            group = top / f"remainroot-tests-{os.getpid()}"
            group.mkdir()
            try:
                give(group)
                yield group
            finally:
                remove(group)
                for name in names:
                    (top / "cgroup.subtree_control").write_text(f"-{name}")


def give(group: Path) -> None:
    """Give the cgroup to the unprivileged user, as systemd does with Delegate=yes."""
    for path in (group, group / "cgroup.procs", group / "cgroup.subtree_control", group / "cgroup.threads"):
        os.chown(path, UID, UID)


def remove(group: Path) -> None:
    """Remove the cgroup, and those below it, with what is in them."""
    for directory, _, _ in os.walk(group, topdown=False):
        until(lambda directory=directory: _is_gone(Path(directory)), 60)  # type: ignore[misc]


def _is_gone(directory: Path) -> bool:
    for pid in (directory / "cgroup.procs").read_text("ascii").split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), 9)
    try:
        directory.rmdir()
    except OSError:
        return False
    return True


def inside(group: Path) -> tuple[str, ...]:
    """Words that have a program start in the cgroup."""
    return ("sh", "-c", f'echo 0 >{group}/cgroup.procs; exec "$@"', "sh")
