# SPDX-License-Identifier: GPL-2.0-or-later
"""Making the files of remainroot.bundle, as setup.py does."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_CODE = "import sys; sys.path.insert(0, sys.argv[1]); from remainroot import bundle; bundle.write(sys.argv[2])"


def write_bundle(place: Path) -> None:
    """Into the package in `place`."""
    words = [sys.executable, "-I", "-X", "no_debug_ranges", "-c", _CODE, str(place), str(place / "remainroot")]
    subprocess.run(words, check=True, timeout=60)
