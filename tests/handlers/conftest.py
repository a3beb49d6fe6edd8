# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests of handlers share."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that everybody may reach, which pytest's own are not; in it one for each side of a comparison."""
    with tempfile.TemporaryDirectory(prefix="place.") as name:
        path = Path(name)
        path.chmod(0o755)
        for side in ("real", "fake"):
            (path / side).mkdir(mode=0o755)
        yield path
