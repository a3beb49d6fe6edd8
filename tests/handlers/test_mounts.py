# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose the root of what is mounted is, what is made in memory, and what writing takes away."""

from __future__ import annotations

import pytest

from tests.handlers.rooted import as_real_root, bare, under
from tests.launching import ENGINES

SCENARIOS = ("mounts_with_owners", "memory_files", "outsiders_writing")


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_as_real_root(engine: str, scenario: str) -> None:
    expected = as_real_root(scenario)
    assert expected
    assert under(engine, scenario) == expected


@pytest.mark.oracle
def test_read_only_ones_have_owners_in_memory() -> None:
    expected = as_real_root("read_only_mounts")
    assert under("notify", "read_only_mounts", "--store=memory") == expected != bare("read_only_mounts")


@pytest.mark.oracle
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_without_the_shim_it_is_not_so(scenario: str) -> None:
    assert bare(scenario) != as_real_root(scenario)
