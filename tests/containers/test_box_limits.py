# SPDX-License-Identifier: GPL-2.0-or-later
"""Limits of a box by a cgroup, real ones: where one is delegated, where some of it is, where none is; and its end."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from remainroot.containers import cgroup
from remainroot.errors import RemainrootError
from tests.containers.cgroups import delegated, give, inside, remove
from tests.containers.roots import UID, as_user, environment, start_box
from tests.launching import children, running_with, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.containers.roots import Roots


@pytest.fixture(scope="module")
def group() -> Iterator[Path]:
    with delegated() as path:
        yield path


@pytest.fixture
def leaf(group: Path) -> Iterator[Path]:
    """A cgroup with a shell in it, below the delegated one, which hands its controllers on: as a session's is."""
    control = group / "cgroup.subtree_control"
    names = (group / "cgroup.controllers").read_text("ascii").split()
    for name in names:
        control.write_text(f"+{name}")
    path = group / "leaf"
    path.mkdir()
    try:
        give(path)
        with subprocess.Popen([*inside(path), "sleep", "600"]) as shell:
            try:
                until(lambda: (path / "cgroup.procs").read_text("ascii"))
                yield path
            finally:
                shell.kill()
    finally:
        remove(path)
        for name in names:
            control.write_text(f"-{name}")


def _run(group: Path | None, *words: str | Path) -> tuple[int, str, str]:
    prefix = inside(group) if group is not None else ()
    process = start_box(*words, prefix=prefix, stderr=subprocess.PIPE)
    out, errors = process.communicate(timeout=60)
    return process.returncode, out, errors


def _boxes(group: Path) -> list[Path]:
    """The cgroups of boxes in there."""
    return list(group.glob("remainroot-*"))


# ---------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("option", "text", "files"),
    [
        ("--memory", "1048576", {"memory.max": "1048576", "memory.swap.max": "0"}),
        ("--memory", "512M", {"memory.max": "536870912", "memory.swap.max": "0"}),
        ("--memory", "1gib", {"memory.max": "1073741824", "memory.swap.max": "0"}),
        ("--memory", "64kb", {"memory.max": "65536", "memory.swap.max": "0"}),
        ("--cpus", "0.5", {"cpu.max": "50000 100000"}),
        ("--cpus", "2", {"cpu.max": "200000 100000"}),
        ("--cpus", "0.01", {"cpu.max": "1000 100000"}),
        ("--pids", "1", {"pids.max": "1"}),
        ("--pids", "0100", {"pids.max": "100"}),
    ],
)
def test_values(option: str, text: str, files: dict[str, str]) -> None:
    assert cgroup.limits_of({option: text}) == {cgroup.OPTIONS[option]: files}


@pytest.mark.parametrize("option", ["--memory", "--cpus", "--pids"])
@pytest.mark.parametrize("text", ["", "0", "-1", "x", "1x", "M", "1.5.5", "nan", "inf", "9" * 30, "0x10", "1 2"])
def test_bad_values(option: str, text: str) -> None:
    with pytest.raises(RemainrootError, match=f"^option {option} is .*, not {re.escape(repr(text))}$"):
        cgroup.limits_of({option: text})


# ---------------------------------------------------------------- limits

FORK = "for i in 1 2 3 4 5 6 7 8; do sleep 60 & done"


def test_processes(group: Path, roots: Roots) -> None:
    """The box is alone in the delegated cgroup: it has to step aside to limit anything below."""
    assert "pids" in (group / "cgroup.controllers").read_text("ascii").split()
    script = f"cat /proc/self/cgroup | grep ^0::; {FORK}"
    _, out, errors = _run(group, "--pids", "6", roots.busybox, "sh", "-c", script)
    assert out.splitlines() == ["0::/"]
    assert "sh: can't fork: Resource temporarily unavailable" in errors
    until(lambda: not _boxes(group))
    assert (group / "cgroup.subtree_control").read_text("ascii").split() == []


def test_processors(leaf: Path, roots: Roots) -> None:
    assert "cpu" in (leaf / "cgroup.controllers").read_text("ascii").split()
    process = start_box("--cpus", "0.1", roots.busybox, "sh", "-c", "while :; do :; done", prefix=inside(leaf))
    try:
        until(lambda: _boxes(leaf.parent))
        [box] = _boxes(leaf.parent)
        assert (box / "cpu.max").read_text("ascii") == "10000 100000\n"
        until(lambda: re.search(r"nr_throttled [1-9]", (box / "cpu.stat").read_text("ascii")))
    finally:
        process.kill()
        process.communicate()
    until(lambda: not _boxes(leaf.parent))


def test_memory(leaf: Path, roots: Roots) -> None:
    """Too much of it ends CMD, where the controller can be had; a notice says so where it cannot."""
    script = "echo ran; dd if=/dev/zero of=/dev/null bs=200M count=1 2>/dev/null"
    status, out, errors = _run(leaf, "--memory", "32M", roots.busybox, "sh", "-c", script)
    if "memory" in (leaf / "cgroup.controllers").read_text("ascii").split():
        assert (status, out, errors) == (137, "ran\n", "Killed\n")
    else:
        assert (status, out) == (0, "ran\n")
        why = f"the cgroup {leaf} has no controller memory (see remainroot doctor)"
        assert errors == f"remainroot: box: --memory without effect: {why}\n"


def test_what_can_be_had_is_had(leaf: Path, roots: Roots) -> None:
    has = (leaf / "cgroup.controllers").read_text("ascii").split()
    lacking = [option for option, name in cgroup.OPTIONS.items() if name not in has]
    options = ("--memory=64M", "--cpus=1", "--pids=6")
    _, _, errors = _run(leaf, *options, roots.busybox, "sh", "-c", FORK)
    assert "sh: can't fork" in errors
    notices = [line for line in errors.splitlines() if line.startswith("remainroot: ")]
    assert len(notices) == bool(lacking)
    assert all(notice.startswith(f"remainroot: box: {', '.join(lacking)} without effect: ") for notice in notices)


def test_two_boxes_at_once(leaf: Path, roots: Roots) -> None:
    words = ("--pids", "6", roots.busybox, "sh", "-c", "echo up; read x; " + FORK)
    processes = [
        start_box(*words, prefix=inside(leaf), stdin=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
    assert len(_boxes(leaf.parent)) == 2
    # The first one's end takes nothing from the second.
    for process in processes:
        assert "can't fork" in process.communicate("\n", timeout=60)[1]
    until(lambda: not _boxes(leaf.parent))


def test_who_enters_is_limited_too(leaf: Path, roots: Roots) -> None:
    words = ("--name", "limited", "--pids", "6", roots.busybox, "sh", "-c", "echo up; exec sleep 600")
    process = start_box(*words, prefix=inside(leaf))
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "up\n"
        enter = [*inside(leaf), *as_user(), "enter", "limited", "grep", "^0::", "/proc/self/cgroup"]
        done = subprocess.run(enter, cwd="/", capture_output=True, text=True, timeout=60, check=True, env=environment())
        assert done.stdout == "0::/\n"
    finally:
        process.kill()
        process.communicate()
        until(lambda: not _boxes(leaf.parent))  # by a process in the leaf, which must not be killed with it


def test_not_delegated(group: Path, roots: Roots) -> None:
    status, out, errors = _run(None, "--pids", "6", "--cpus=1", roots.busybox, "echo", "ran")
    assert (status, out) == (0, "ran\n")
    [line] = errors.splitlines()
    assert re.match(rf"remainroot: box: --cpus, --pids without effect: the cgroup {group.parent}\S* is not deleg", line)


def test_doctor_says_so(leaf: Path, roots: Roots) -> None:
    def told(group: Path | None) -> str:
        prefix = inside(group) if group is not None else ()
        doctor = [*prefix, *as_user(), "doctor"]
        result = subprocess.run(doctor, cwd=roots.top, capture_output=True, text=True, timeout=60, check=True)
        [line] = [line for line in result.stdout.splitlines() if "cgroup v2" in line]
        return line.partition("cgroup v2")[2].strip()

    has = (leaf / "cgroup.controllers").read_text("ascii").split()
    lacking = ", ".join(option for option, name in cgroup.OPTIONS.items() if name not in has)
    assert told(leaf).startswith(f"no {lacking} for a box: " if lacking else "a box can be limited, below ")
    assert told(None).startswith("no --memory, --cpus, --pids for a box: the cgroup ")


def test_others_are_there(group: Path, roots: Roots) -> None:
    with subprocess.Popen([*inside(group), "sleep", "600"]) as other:
        try:
            until(lambda: (group / "cgroup.procs").read_text("ascii"))
            status, out, errors = _run(group, "--pids", "6", roots.busybox, "echo", "ran")
        finally:
            other.kill()
    assert (status, out) == (0, "ran\n")
    assert errors == (
        f"remainroot: box: --pids without effect: the cgroup {group} has other processes in it, so that those below it "
        "cannot be limited (see remainroot doctor)\n"
    )
    until(lambda: not _boxes(group))  # the last of it may be left to the process that waits for the end


def test_a_leftover_is_swept(leaf: Path, roots: Roots) -> None:
    for name in ("remainroot-999999999", "remainroot-999999999.aside"):
        (leaf.parent / name).mkdir()
        os.chown(leaf.parent / name, UID, UID)
    _run(leaf, "--pids", "6", roots.busybox, "true")
    until(lambda: not _boxes(leaf.parent))  # the last of it may be left to the process that waits for the end


# ---------------------------------------------------------------- kill -9


def _victims(front: int) -> dict[str, int]:
    """The processes of the box as far as there are any yet."""
    found = {"front": front}
    try:
        [found["supervisor"]] = children(front)
        found["init"], *rest = sorted(children(found["supervisor"]))
        found["cmd"] = rest[-1]
    except (OSError, ValueError, IndexError):
        pass
    return found


def _kill_at_random(seed: int, leaf: Path, roots: Roots) -> None:
    choice = random.Random(seed)
    mark = f"8642{seed:04}"
    name = roots.runtime / f"remainroot/box-{mark}"
    root = choice.choice([("--overlay", roots.busybox), (roots.busybox,), (roots.tar("tar.gz"),)])
    engine = choice.choice(["notify", "trace", "ptrace"])
    options = ("--engine", engine, "--name", name.name, "--pids", "50", *root)
    script = f"sleep {mark} & sleep {mark}"
    process = start_box(*options, "sh", "-c", script, prefix=inside(leaf), stderr=subprocess.DEVNULL)
    if choice.random() < 0.5:
        # CMD runs, or nearly so.
        until(lambda: name.exists() and len(running_with(mark)) > 3)
    time.sleep(choice.uniform(0, 0.3))
    victims = _victims(process.pid)
    chosen = choice.choice([("front",), ("supervisor",), ("init",), ("cmd",), ("front", "supervisor")])
    for victim in chosen:
        try:
            os.kill(victims.get(victim, process.pid), signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.communicate(timeout=60)
    until(lambda: not running_with(mark) and not _boxes(leaf.parent) and not name.exists())


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_left_after_a_kill_at_random(seed: int, leaf: Path, roots: Roots) -> None:
    _kill_at_random(seed, leaf, roots)


@pytest.mark.slow
def test_nothing_is_left_after_many_kills(leaf: Path, roots: Roots) -> None:
    for seed in range(100, 200):
        _kill_at_random(seed, leaf, roots)
