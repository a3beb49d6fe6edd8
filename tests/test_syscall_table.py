# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of handled syscalls in the documents is what the declarations say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import remainroot.handlers.every_guard  # noqa: F401  # declares every syscall and every guard
from remainroot.dispatch import GUARDS, SYSCALLS

TOP = Path(__file__).parent.parent


def test_committed_table_is_current() -> None:
    result = subprocess.run(
        [sys.executable, TOP / "tools/gen-syscall-table.py", "--check"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_every_declaration_has_a_line_and_a_purpose() -> None:
    lines = (TOP / "doc/SYSCALLS.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    assert [row[0].strip("`") for row in cells] == [*sorted(SYSCALLS), *sorted(GUARDS)]
    assert all(row[-1] for row in cells)
    assert all(any(row[1:6]) for row in cells)
