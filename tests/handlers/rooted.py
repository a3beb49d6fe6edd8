# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs one of root_scenarios.py's functions as real root and under the shim: what is printed must be the same."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from tests.launching import PLACE, REMAINROOT, TIMEOUT, environment

SCENARIOS = Path(__file__).with_name("root_scenarios.py")
PYTHON = "/usr/bin/python3"


def _run(prefix: list[str], scenario: str, timeout: float = TIMEOUT) -> subprocess.CompletedProcess[str]:
    """In an empty directory that everybody may enter: scenarios become users whom pytest's own keeps out."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o777)
        return subprocess.run(
            [*prefix, PYTHON, str(SCENARIOS), scenario],
            capture_output=True, text=True, check=False, timeout=timeout, cwd=place, env=environment(),
            stdin=subprocess.DEVNULL, extra_groups=[],
        )  # fmt: skip


def printed(prefix: list[str], scenario: str) -> list[str]:
    """What it prints under the command `prefix`."""
    done = _run(prefix, scenario)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def as_real_root(scenario: str) -> list[str]:
    """Directly; in a UTS namespace of its own, for the machine must keep its name."""
    return printed(["unshare", "--uts"], scenario)


def under(engine: str, scenario: str, *options: str) -> list[str]:
    """In a user namespace with one mapping, under remainroot."""
    return printed([*PLACE, *REMAINROOT[:-1], engine, *options, "--"], scenario)


def bare(scenario: str) -> list[str]:
    """In the same namespace without remainroot: where a comparison must find differences, if it is worth anything."""
    try:
        return _run([*PLACE], scenario, 3).stdout.splitlines()
    except subprocess.TimeoutExpired:
        return ["it waits for a message that could not be sent"]
