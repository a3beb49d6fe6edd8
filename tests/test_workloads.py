# SPDX-License-Identifier: GPL-2.0-or-later
"""doc/WORKLOADS.md, which a run of an hour writes, has a row for each service as it is now."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.serving import SERVICES, WAYS

TABLE = Path(__file__).parent.parent / "doc" / "WORKLOADS.md"


def rows() -> dict[str, list[str]]:
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines if line.startswith("| `")]
    return {row[0].strip("`"): row for row in cells}


def test_each_service_has_its_row() -> None:
    assert list(rows()) == list(SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_the_row_is_of_the_service(name: str) -> None:
    service, (_, what, packages, *results) = SERVICES[name], rows()[name]
    assert (what, packages.split()) == (service.what, list(service.packages))
    assert len(results) == 3 + len(WAYS)
    assert all(result == "yes" or result.startswith("no") for result in results)
