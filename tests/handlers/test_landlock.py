# SPDX-License-Identifier: GPL-2.0-or-later
"""Files made by a task that has confined itself with Landlock: it makes them itself, and they are its own."""

from __future__ import annotations

import pytest

from tests.handlers.rooted import as_real_root, bare, under
from tests.launching import ENGINES


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ENGINES)
def test_as_real_root(engine: str) -> None:
    expected = as_real_root("landlocked")
    assert expected
    assert under(engine, "landlocked") == expected


@pytest.mark.oracle
def test_without_the_shim_it_is_not_so() -> None:
    assert bare("landlocked") != as_real_root("landlocked")
