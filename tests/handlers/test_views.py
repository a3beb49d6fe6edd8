# SPDX-License-Identifier: GPL-2.0-or-later
"""What procfs tells a task of itself and of others, as real root reads it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.compiling import FIXTURES, abis, program
from tests.handlers.rooted import as_real_root, bare, under
from tests.launching import ENGINES, PLACE, REMAINROOT, TIMEOUT, environment, in_turn, remainroot, start

if TYPE_CHECKING:
    from pathlib import Path

SCENARIOS = (
    "status", "status_of_others", "status_of_threads", "owners_of_tasks", "descriptors", "id_maps", "realtime_limit",
    "given_files_of_tasks",
)  # fmt: skip


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("scenario", [*SCENARIOS, "timer_slacks", "timer_slacks_of_others"])
def test_as_real_root(engine: str, scenario: str) -> None:
    expected = as_real_root(scenario)
    assert expected
    assert under(engine, scenario) == expected


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ENGINES)
def test_login_uid_with_strict(engine: str) -> None:
    expected = as_real_root("login_uid")
    assert "b'33'" in expected[1]
    assert under(engine, "login_uid", "--strict") == expected


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ENGINES)
def test_login_uid_is_told_to_who_asks_for_its_status(engine: str) -> None:
    words = ["sh", "-c", "echo 33 >/proc/self/loginuid && cat /proc/self/loginuid"]
    real = subprocess.run(words, capture_output=True, text=True, check=True)
    fake = remainroot("--engine", engine, "--", *words)
    assert (fake.stdout, fake.stderr) == (real.stdout, real.stderr) == ("33", "")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_file_of_that_name_elsewhere_is_what_it_is(engine: str, tmp_path: Path) -> None:
    script = "mkdir $$; for name in loginuid oom_score_adj uid_map; do touch $$/$name; echo $name >$$/$name; done"
    made = remainroot("--engine", engine, "--", "sh", "-c", script, cwd=tmp_path)
    assert (made.returncode, made.stderr) == (0, "")
    assert sorted((path.name, path.read_text()) for path in tmp_path.glob("*/*")) == [
        ("loginuid", "loginuid\n"), ("oom_score_adj", "oom_score_adj\n"), ("uid_map", "uid_map\n")
    ]  # fmt: skip


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ENGINES)
def test_files_of_tasks_with_strict(engine: str) -> None:
    expected = as_real_root("files_of_tasks")
    assert {"plain io None", "undumpable io EACCES", "zombie io EACCES"} <= set(expected)
    assert under(engine, "files_of_tasks", "--strict") == expected


@pytest.mark.oracle
def test_traced_programs_as_real_root() -> None:
    """With the other engines a task has its tracer already."""
    expected = as_real_root("traced_programs")
    assert len(expected) == 18
    assert under("notify", "traced_programs") == expected


@pytest.mark.oracle
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_without_the_shim_it_is_not_so(scenario: str) -> None:
    assert bare(scenario) != as_real_root(scenario)


@pytest.mark.parametrize("engine", ENGINES)
def test_tasks_of_another_run_are_strangers(engine: str) -> None:
    """Who outside is nobody that is mapped is shown as root, and is root's to signal."""
    drop = "setpriv --reuid=%d --regid=%d --clear-groups"
    with start("--", "sh", "-c", f"exec {drop % (33, 33)} sh -c 'echo $$; exec sleep 60'") as other:
        assert other.stdout
        pid = int(other.stdout.readline())
        try:
            look = f"stat -c %u /proc/{pid}"
            script = f"{look}; {drop % (42, 42)} sh -c '{look}; kill -0 {pid} || echo no'"
            shown = remainroot("--engine", engine, "--", "sh", "-c", script)
        finally:
            os.kill(pid, signal.SIGKILL)
    assert shown.stdout.split() == ["0", "0", "no"]


@pytest.mark.oracle
@pytest.mark.parametrize("abi", abis())
@pytest.mark.parametrize("engine", ENGINES)
def test_senders_of_signals(engine: str, abi: str) -> None:
    """With notify nobody can tell whose child has ended: a limit that README.md states."""
    command = str(program(FIXTURES / "signal_senders.c", abi))
    expected = subprocess.run([command], capture_output=True, text=True, check=True, timeout=60).stdout
    assert expected.count("uid 33") == 7
    shown = remainroot("--engine", engine, "--", command).stdout
    if engine == "notify":
        expected = re.sub(r"(end of a user: .*) uid 33", r"\1 uid 0", expected)
    assert shown == expected


LOOK = """
: >f; chown 0:43 f; exec 5<f
stat -L -c %g /proc/self/fd/5 /dev/fd/5 /proc/thread-self/fd/5
chgrp 7 /dev/fd/5; stat -c %g f
head -n 1 /proc/self/uid_map; stat -c %U /proc/self/status
setpriv --reuid=33 --clear-groups stat -c %U /proc/self/status
"""
OUTSIDE = "unshare --pid --fork"
NESTS = ("", OUTSIDE, f"{OUTSIDE} --mount-proc", f"{OUTSIDE} --mount-proc {OUTSIDE}")


@pytest.mark.parametrize(("engine", "pure", "nest"), in_turn(*((pure, nest) for nest in NESTS for pure in ("0", "1"))))
def test_any_procfs_is_the_task_s(engine: str, pure: str, nest: str, tmp_path: Path) -> None:
    """Another one than the supervisor's, as in a chroot; of a pid namespace around the task's; of the task's own."""
    fresh = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    inner = ["unshare", "--mount", "sh", "-ec", f'mount -t proc none /proc; exec {nest} sh -ec "$0"', LOOK]

    def shown(place: list[str], *start: str) -> str:
        done = subprocess.run(
            [*place, *fresh, *start, *inner], cwd=tmp_path, env={**environment(), "REMAINROOT_PURE": pure},
            capture_output=True, text=True, check=False, timeout=TIMEOUT,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    assert shown([*PLACE], *REMAINROOT[:-1], engine, "--") == shown(["unshare"])
