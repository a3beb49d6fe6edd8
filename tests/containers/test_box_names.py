# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of boxes: `box --name`, and `enter` that finds them."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from remainroot.containers import names
from tests.containers import entering
from tests.containers.roots import UID, box, environment, failing, start_box
from tests.launching import children, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.containers.roots import Roots

WAIT = "echo up; exec sleep 600"


def enter(*words: str, status: int = 0) -> str:
    """What `remainroot enter` prints, errors too, where the boxes are."""
    return entering.enter(*words, status=status, env=environment())


@pytest.fixture
def kept(roots: Roots) -> Path:
    """Where names are kept, if there are any."""
    return roots.runtime / "remainroot"


@pytest.fixture
def named(roots: Roots, kept: Path) -> Iterator[subprocess.Popen[str]]:
    """A box that is called first."""
    process = start_box("--name", "first", "--hostname", "one", roots.busybox, "sh", "-c", f"export MARK=1; {WAIT}")
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "up\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        until(lambda: not (kept / "first").exists())


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("a", True),
        ("build-2.tar_gz", True),
        ("0day", True),
        ("x" * 64, True),
        ("", False),
        ("12", False),
        ("-a", False),
        (".", False),
        ("..", False),
        (".a", False),
        ("a/b", False),
        ("podman:a", False),
        ("a b", False),
        ("é", False),
        ("a\n", False),
        ("x" * 65, False),
    ],
)
def test_names(name: str, good: bool) -> None:
    assert names.is_name(name) == good


@pytest.mark.usefixtures("named")
def test_enter_finds_a_box_by_its_name() -> None:
    assert enter("first", "--", "sh", "-c", "hostname; echo $MARK; cat /proc/2/comm") == "one\n1\nsleep\n"


@pytest.mark.usefixtures("named")
def test_a_name_is_taken_once(roots: Roots) -> None:
    assert "a box called first is running: take another --name" in failing("--name", "first", roots.busybox, "true")
    assert box("--name", "second", roots.busybox, "echo", "ran") == "ran\n"
    assert enter("first", "hostname") == "one\n"


@pytest.mark.parametrize("victim", ["front", "supervisor"])
def test_a_name_is_free_after_a_kill(roots: Roots, kept: Path, named: subprocess.Popen[str], victim: str) -> None:
    [supervisor] = children(named.pid)
    os.kill(named.pid if victim == "front" else supervisor, signal.SIGKILL)
    assert box("--name", "first", roots.busybox, "echo", "ran") == "ran\n"
    until(lambda: not kept.exists())


def test_a_name_is_free_when_its_box_is_over(roots: Roots, kept: Path) -> None:
    for _ in range(3):
        assert box("--name", "again", roots.busybox, "echo", "ran") == "ran\n"
    assert not kept.exists()
    assert "no box is called 'again'" in enter("again", "true", status=125)


def test_enter_waits_for_a_box_in_the_making(roots: Roots, kept: Path) -> None:
    process = start_box("--name", "slow", roots.tar("tar.gz"), "sleep", "600")
    try:
        until((kept / "slow").exists)
        assert enter("slow", "cat", "/proc/2/comm") == "sleep\n"
    finally:
        process.kill()
        process.communicate()


def test_enter_stops_waiting_for_a_box_that_fails(roots: Roots, kept: Path) -> None:
    process = start_box("--name", "broken", roots.tar("tar.gz"), "no-such-program", stderr=subprocess.DEVNULL)
    until(lambda: (kept / "broken").exists() or process.poll() is not None)
    assert "broken" in enter("broken", "true", status=125)
    process.communicate()


def test_without_a_runtime_directory(roots: Roots) -> None:
    directory = Path(f"/tmp/remainroot-{UID}")
    process = start_box(
        "--name", "there", roots.busybox, "sh", "-c", WAIT, prefix=("env", "--unset=XDG_RUNTIME_DIR")
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "up\n"
        assert (directory / "there").exists()
        assert directory.stat().st_mode & 0o777 == 0o700
        assert entering.enter("there", "cat", "/proc/2/comm", env={"PATH": os.environ["PATH"]}) == "sleep\n"
        assert "no box is called 'there'" in enter("there", "true", status=125)
    finally:
        process.kill()
        process.communicate()
    until(lambda: not (directory / "there").exists())


@pytest.mark.parametrize("kind", ["directory", "link"])
def test_somebody_elses_directory_is_not_trusted(roots: Roots, kept: Path, kind: str) -> None:
    until(lambda: not kept.exists())
    if kind == "directory":
        kept.mkdir(mode=0o755)
    else:
        kept.symlink_to(roots.busybox)
    try:
        why = f"names of boxes are kept in {kept}, which others can write to: remove it, or set XDG_RUNTIME_DIR"
        assert failing("--name", "x", roots.busybox, "true") == f"remainroot: {why}\n"
        assert enter("x", "true", status=125) == f"remainroot: {why}\n"
    finally:
        if kind == "directory":
            kept.rmdir()
        else:
            kept.unlink()


def test_leftovers_are_removed(roots: Roots, kept: Path) -> None:
    """Of a box that was killed together with who would have tidied up."""
    kept.mkdir(mode=0o700)
    for name in ("old", "older"):
        (kept / name).write_text("1 1\n")
        os.chown(kept / name, UID, UID)
    os.chown(kept, UID, UID)
    assert "no box is called 'old'" in enter("old", "true", status=125)
    assert [entry.name for entry in kept.iterdir()] == ["older"]
    box("--name", "new", roots.busybox, "true")
    assert not kept.exists()


@pytest.mark.parametrize("name", ["12", "a/b", "podman:x"])
def test_bad_names(roots: Roots, name: str) -> None:
    assert f"option --name: letters, digits, and after the first - _ ., at most 64, and no number, not {name!r}" in (
        failing("--name", name, roots.busybox, "true")
    )
