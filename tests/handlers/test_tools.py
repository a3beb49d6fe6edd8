# SPDX-License-Identifier: GPL-2.0-or-later
"""What the usual tools print of who runs what: the same as with real root."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.launching import ENGINES, PLACE, REMAINROOT, TIMEOUT, environment

SCRIPT = str(Path(__file__).with_name("show_users.sh"))


def printed(*prefix: str, which: str) -> list[str]:
    done = subprocess.run(
        [*prefix, "sh", SCRIPT, which],
        capture_output=True, text=True, check=False, timeout=TIMEOUT, env=environment(), extra_groups=[],
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("which", ["status", "read"])
def test_tools_are_told_the_truth(engine: str, which: str) -> None:
    expected = printed(which=which)
    assert len(expected) >= 20
    assert printed(*PLACE, *REMAINROOT[:-1], engine, "--", which=which) == expected


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("which", ["status", "read"])
def test_with_strict_they_are_too(engine: str, which: str) -> None:
    expected = printed(which=which)
    assert len(expected) > 10
    assert printed(*PLACE, *REMAINROOT[:-1], engine, "--strict", "--", which=which) == expected
