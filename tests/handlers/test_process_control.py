# SPDX-License-Identifier: GPL-2.0-or-later
"""prctl(2) on kernels that have not all of its attributes; what they all have is the oracle's to test."""

from __future__ import annotations

import errno
import subprocess
import sys
from types import SimpleNamespace

import pytest

from remainroot import credentials
from remainroot.handlers import process_control
from remainroot.kernel import prctl


def test_securebits_are_those_of_this_kernel() -> None:
    """Those of Linux 6.14 are refused where the kernel would refuse them."""
    code = "import ctypes, sys; sys.exit(ctypes.CDLL(None).prctl(28, 0x100, 0, 0, 0) != 0)"
    known = subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert process_control.has_exec_bits() == known
    assert prctl(process_control.PR_GET_SECUREBITS) == 0  # nothing is left on us


@pytest.mark.parametrize("known", [False, True])
def test_securebits_of_later_kernels(known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_control, "_exec_bits", [known])
    call = SimpleNamespace(ptr=lambda _: 0x100, creds=credentials.ROOT)
    outcome = process_control._set_securebits(call)  # type: ignore[arg-type]
    assert getattr(outcome, "errno", 0) == (0 if known else errno.EPERM)
    assert call.creds.securebits == (0x100 if known else 0)
