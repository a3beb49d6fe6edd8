# SPDX-License-Identifier: GPL-2.0-or-later
"""No call that the kernel never interrupts fails with EINTR, whatever signals come."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from remainroot.dispatch import INT, When, equals, has_bits
from tests.compiling import FIXTURES

if TYPE_CHECKING:
    from pathlib import Path

FIXTURE = FIXTURES / "interrupted.c"
EXPECTED = "interrupted 0\nread interrupted\nalarms came\n"


KINDS = {"dynamic": "", "static": "-static", "i386": "-m32", "i386-static": "-m32 -static"}


@pytest.fixture(scope="module", params=list(KINDS.values()), ids=list(KINDS))
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("interrupted") / "interrupted"
    subprocess.run(["cc", "-O2", *request.param.split(), "-o", path, FIXTURE], check=True)
    return path


@pytest.mark.parametrize("options", ["notify", "notify --strict", "trace --strict", "ptrace --strict"])
def test_no_call_is_interrupted(program: Path, options: str) -> None:
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-m", "remainroot", "--engine", *options.split()]
    done = subprocess.run([*command, "--", program, "2000"], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == EXPECTED


def test_a_shell_with_background_jobs_finds_its_files() -> None:
    script = "n=0; while [ $n -lt 300 ]; do sleep 0.001 & [ -e /etc/passwd ] || echo lost; n=$((n+1)); done; echo done"
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-m", "remainroot", "--engine", "notify"]
    command += ["--", "dash", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "done\n"


def test_conditions_are_tested_as_the_filter_does() -> None:
    (bit,) = has_bits(2, 0o100)
    assert bit.passes((0, 0, 0o102))
    assert not bit.passes((0, 0, 0o2))
    assert [test.passes((5,)) for test in equals(0, 4, 5)] == [False, True]
    both = When(0, "eq", 1, INT, nonzero=1)
    assert [both.passes(args) for args in ((1, 7), (1, 0), (1, 1 << 32), (2, 7))] == [True, False, False, False]
