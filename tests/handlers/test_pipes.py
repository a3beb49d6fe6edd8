# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose pipes and sockets are, as real root and real users see it."""

from __future__ import annotations

import os

import pytest

from remainroot.store.base import Owner
from remainroot.store.memory import memory_store
from remainroot.unnamed import _MOST, Unnamed
from tests.handlers.rooted import as_real_root, under
from tests.launching import ENGINES


@pytest.mark.oracle
@pytest.mark.parametrize("scenario", ["pipes", "pipes_of_threads"])
@pytest.mark.parametrize("engine", ENGINES)
def test_pipes(engine: str, scenario: str) -> None:
    expected = as_real_root(scenario)
    assert under(engine, scenario, "--strict") == expected
    assert under(engine, scenario) != expected


@pytest.mark.oracle
@pytest.mark.parametrize("options", [(), ("--strict",), ("--store=sqlite:owners.db",)])
@pytest.mark.parametrize("engine", ENGINES)
def test_ones_own_may_be_changed(engine: str, options: tuple[str, ...]) -> None:
    assert under(engine, "unnamed_files", *options) == as_real_root("unnamed_files")


def test_the_oldest_are_forgotten() -> None:
    """So many that a run for years cannot fill the memory; what is forgotten is root's."""
    unnamed = Unnamed(memory_store(), strict=True)
    ends = [*os.pipe()]
    try:
        st = os.fstat(ends[0])
        unnamed.made(ends[0], Owner(42, 43))
        assert not unnamed.may_be(st, 42)
        assert unnamed.store.get(ends[0], st) == Owner(42, 43)
        for ino in range(1, _MOST):
            unnamed._made[0, ino] = None
        more = os.pipe()
        ends += more
        unnamed.made(more[0], Owner(42, 43))
        assert len(unnamed._made) == _MOST
        assert unnamed.store.get(ends[0], st) is None
        assert unnamed.store.get(more[1], os.fstat(more[1])) == Owner(42, 43)
        unnamed.miss()
        assert unnamed.may_be(st, 42)
    finally:
        for end in ends:
            os.close(end)
