# SPDX-License-Identifier: GPL-2.0-or-later
"""Privileged calls, as real root makes them."""

from __future__ import annotations

import subprocess

import pytest

from tests.handlers.rooted import PYTHON, as_real_root, bare, under
from tests.launching import ENGINES, PLACE, REMAINROOT, TIMEOUT, environment, remainroot

SCENARIOS = ("priorities", "policies", "host_names", "locking")


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_as_real_root(engine: str, scenario: str) -> None:
    expected = as_real_root(scenario)
    assert expected
    assert under(engine, scenario) == expected


@pytest.mark.oracle
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_without_the_shim_it_is_not_so(scenario: str) -> None:
    assert bare(scenario) != as_real_root(scenario)


LIMITS = """
import resource as r
soft, hard = r.getrlimit(r.RLIMIT_MEMLOCK)
print(r.prlimit(0, r.RLIMIT_MEMLOCK, (r.RLIM_INFINITY, r.RLIM_INFINITY)) == (soft, hard), r.getrlimit(r.RLIMIT_MEMLOCK))
r.setrlimit(r.RLIMIT_NOFILE, (1 << 19, 1 << 20))
print(r.getrlimit(r.RLIMIT_NOFILE))
print([" ".join(line.split()) for line in open("/proc/self/limits") if "locked mem" in line or "open files" in line])
import os, subprocess
print(subprocess.run(["sh", "-c", "ulimit -Hn; ulimit -Sn; ulimit -l"], capture_output=True, text=True).stdout.split())
os.setuid(33)
for limit in ((1 << 19, 1 << 19), (1 << 20, 1 << 20), (8, 4)):
    try:
        print(r.prlimit(0, r.RLIMIT_NOFILE, limit))
    except (OSError, ValueError) as error:
        print(type(error).__name__)
print(r.getrlimit(r.RLIMIT_NOFILE))
r.setrlimit(r.RLIMIT_NOFILE, (99, 100))
print(r.getrlimit(r.RLIMIT_NOFILE), [line.split() for line in open("/proc/self/limits") if "open files" in line])
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_hard_limits_are_raised_in_words(engine: str) -> None:
    """Said, not compared: where the tests run, root may be without CAP_SYS_RESOURCE."""
    lower = ["prlimit", "--nofile=512:1024", "--memlock=65536:65536", "--"]
    done = subprocess.run(
        [*lower, *PLACE, *REMAINROOT[:-1], engine, "--", PYTHON, "-c", LIMITS],
        capture_output=True, text=True, check=False, env=environment(), timeout=TIMEOUT,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "True (-1, -1)",
        "(524288, 1048576)",
        "['Max open files 524288 1048576 files', 'Max locked memory unlimited unlimited bytes']",
        "['1048576', '524288', 'unlimited']",
        "(524288, 1048576)",
        "PermissionError",
        "ValueError",
        "(524288, 524288)",
        "(99, 100) [['Max', 'open', 'files', '99', '100', 'files']]",
    ]


CLOCK = "import time; print(time.clock_settime(time.CLOCK_REALTIME, 1e9), time.time() > 1.5e9)"


def test_clocks_are_set_in_words_on_demand_only() -> None:
    assert remainroot("--fake-time", "--", PYTHON, "-c", CLOCK).stdout == "None True\n"
    assert "PermissionError" in remainroot("--", PYTHON, "-c", CLOCK).stderr


def test_the_log_is_empty_or_the_real_one() -> None:
    done = remainroot("--", "dmesg")
    assert (done.returncode, done.stderr) == (0, "")
