# SPDX-License-Identifier: GPL-2.0-or-later
"""What the usual tools print of who runs what: the same as with real root."""

from __future__ import annotations

import subprocess
from itertools import product
from pathlib import Path

import pytest

from tests.launching import PLACE, REMAINROOT, TIMEOUT, environment, in_turn

SCRIPT = str(Path(__file__).with_name("show_users.sh"))


def printed(*prefix: str, which: str) -> list[str]:
    done = subprocess.run(
        ["unshare", "--ipc", *prefix, "sh", SCRIPT, which],
        capture_output=True, text=True, check=False, timeout=TIMEOUT, env=environment(), extra_groups=[],
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("engine", "which", "options"), in_turn(*product(["status", "read"], [(), ("--strict",)])), ids=str
)
def test_tools_are_told_the_truth(engine: str, which: str, options: tuple[str, ...]) -> None:
    expected = printed(which=which)
    assert len(expected) > 10
    assert printed(*PLACE, *REMAINROOT[:-1], engine, *options, "--", which=which) == expected
