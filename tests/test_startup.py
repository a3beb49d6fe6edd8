# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run imports before CMD starts. A list does not depend on the machine's mood as a stopwatch would."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.launching import ROOT

COSTLY = {
    "argparse",
    "asyncio",
    "contextlib",
    "ctypes.util",
    "dataclasses",
    "enum",
    "inspect",
    "logging",
    "pathlib",
    "ptrace",
    "pyseccomp",
    "re",
    "resource",
    "seccomp",
    "signal",
    "sqlite3",
    "structlog",
    "subprocess",
    "typing",
}


def imported(code: str) -> set[str]:
    """Modules that `code` loads on top of what the interpreter has; without site, whose .pth files vary."""
    show = "import sys; print(*sys.modules)"
    bare, full = (
        set(
            subprocess.run(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    "-c",
                    f"import sys; sys.path.insert(0, {str(ROOT)!r}); {text}; {show}",
                ],
                capture_output=True,
                text=True,
                check=True,
            ).stdout.split()
        )
        for text in ("pass", code)
    )
    return full - bare


@pytest.mark.parametrize(
    "code",
    [
        "import remainroot.cli",
        "import remainroot.launch",
        "from remainroot.supervisor import engine_class; engine_class('notify')",
    ],
)
def test_start_imports_nothing_costly(code: str) -> None:
    modules = imported(code)
    assert any(name.startswith("remainroot") for name in modules)
    assert modules & COSTLY == set()


def test_help_imports_next_to_nothing() -> None:
    modules = imported("from remainroot.cli import usage; usage()")
    assert {name for name in modules if name.startswith("remainroot.")} == {
        "remainroot.cli",
        "remainroot.errors",
        "remainroot.log",
    }
    assert "ctypes" not in modules
