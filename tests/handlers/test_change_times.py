# SPDX-License-Identifier: GPL-2.0-or-later
"""What is only remembered moves a file's ctime all the same: tools ask it whether a file has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.handlers.rooted import as_real_root, bare, under

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.oracle
@pytest.mark.parametrize("store", ["memory", "durable:owners.db", "sqlite:owners.db"])
def test_as_real_root(tmp_path: Path, store: str) -> None:
    expected = as_real_root("times_of_change")
    assert any("st_ctime_ns" in line for line in expected)
    assert under("auto", "times_of_change", "--store", store.replace(":", f":{tmp_path}/")) == expected


@pytest.mark.oracle
def test_without_the_shim_it_is_not_so() -> None:
    assert bare("times_of_change") != as_real_root("times_of_change")
