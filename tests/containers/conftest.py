# SPDX-License-Identifier: GPL-2.0-or-later
"""The roots are made once for all tests of boxes, which leave them as they were."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.containers.roots import Roots

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def roots() -> Iterator[Roots]:
    with Roots() as made:
        yield made
