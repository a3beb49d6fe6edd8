# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that a task makes itself, for no other can: under Landlock or openat2's restrictions; and whiteouts."""

from __future__ import annotations

import pytest

from tests.handlers.rooted import as_real_root, bare, under
from tests.launching import ENGINES

SCENARIOS = ("landlocked", "restricted_opens", "whiteouts")


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_as_real_root(engine: str, scenario: str) -> None:
    expected = as_real_root(scenario)
    assert expected
    assert under(engine, scenario) == expected


@pytest.mark.oracle
@pytest.mark.parametrize("options", [(), ("--strict",)])
@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_told_of_procfs(engine: str, options: tuple[str, ...]) -> None:
    expected = as_real_root("landlocked_reads")
    assert any("EACCES" in line for line in expected)
    assert any("'33'" in line for line in expected)
    assert under(engine, "landlocked_reads", *options) == expected


@pytest.mark.oracle
@pytest.mark.parametrize("scenario", [*SCENARIOS, "landlocked_reads"])
def test_without_the_shim_it_is_not_so(scenario: str) -> None:
    assert bare(scenario) != as_real_root(scenario)
