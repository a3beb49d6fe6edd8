# SPDX-License-Identifier: GPL-2.0-or-later
"""Random file operations print the same as by real root, whatever store keeps the owners."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.oracle import runner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module")
def oracle() -> Iterator[runner.Oracle]:
    with runner.Oracle() as made:
        yield made


@pytest.mark.parametrize("store", ["memory", "durable", "durable+override_stat", "sqlite"])
@pytest.mark.parametrize("number", range(4))
def test_files_as_real_root(oracle: runner.Oracle, tmp_path: Path, store: str, number: int) -> None:
    runs = 1 if store == "memory" else 1 + number % 3
    case = runner.Case("filefuzz", 1700 + number, mode=runner.FILE_MODES[number], runs=runs)
    want = oracle.run_oracle(case)
    got = oracle.run_under("notify", case, ("--store", store if store == "memory" else f"{store}:{tmp_path}/owners.db"))
    assert len(want.lines) > 50
    report = runner.difference(case, store, want, got)
    assert report is None, report


@pytest.mark.parametrize("store", ["durable", "sqlite"])
def test_flags_as_real_root(oracle: runner.Oracle, tmp_path: Path, store: str) -> None:
    case = runner.Case("flagfuzz", 1750)
    got = oracle.run_under("notify", case, ("--store", f"{store}:{tmp_path}/owners.db"))
    report = runner.difference(case, store, oracle.run_oracle(case), got)
    assert report is None, report
