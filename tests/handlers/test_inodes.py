# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that change, and files without a name: set-id bits, owners and access lists as real root and real users see."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.launching import TIMEOUT, environment, in_turn, remainroot

OPS = str(Path(__file__).with_name("inode_ops.py"))
PYTHON = "/usr/bin/python3"
SCENARIOS = (
    "set_id_bits",
    "new_set_id_files",
    "files_without_a_name",
    "descriptors_that_only_name",
    "read_only_mounts",
)


def compare(place: Path, scenario: str, *options: str) -> None:
    real = subprocess.run(
        [PYTHON, OPS, scenario],
        capture_output=True, text=True, check=True, env=environment(), cwd=place / "real", timeout=TIMEOUT,
        extra_groups=[],
    ).stdout.splitlines()  # fmt: skip
    fake = remainroot("--strict", *options, "--", PYTHON, OPS, scenario, cwd=place / "fake", timeout=2 * TIMEOUT)
    assert len(real) > 8
    assert (fake.stdout.splitlines(), fake.stderr) == (real, "")


@pytest.mark.oracle
@pytest.mark.parametrize(("engine", "scenario"), in_turn(*zip(SCENARIOS)))
def test_on_each_engine(place: Path, scenario: str, engine: str) -> None:
    compare(place, scenario, "--store=memory", f"--engine={engine}")


@pytest.mark.oracle
@pytest.mark.parametrize("store", ["durable", "sqlite"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_with_owners_that_last(place: Path, scenario: str, store: str) -> None:
    compare(place, scenario, f"--store={store}:{place}/owners.db")
