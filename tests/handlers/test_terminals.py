# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose a new terminal is, and a user's own pipes."""

from __future__ import annotations

import pytest

from tests.handlers.rooted import as_real_root, bare, under
from tests.launching import ENGINES


@pytest.mark.oracle
@pytest.mark.parametrize("options", [(), ("--strict",)], ids=["usual", "strict"])
@pytest.mark.parametrize("engine", ENGINES)
def test_as_real_root(engine: str, options: tuple[str, ...]) -> None:
    expected = as_real_root("terminals")
    assert expected
    assert under(engine, "terminals", *options) == expected


@pytest.mark.oracle
def test_without_the_shim_it_is_not_so() -> None:
    assert bare("terminals") != as_real_root("terminals")
