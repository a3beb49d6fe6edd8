# SPDX-License-Identifier: GPL-2.0-or-later
"""A few seeds of each oracle program, each on one engine (with REMAINROOT_SLOW=1 on all); `python -m tests.oracle` runs
thousands."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest

from tests.launching import ENGINES, in_turn
from tests.oracle import runner

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.oracle

# Orphans of threads, signals among threads, an exec that makes dumpable.
THREADS = [runner.Case("credfuzz", seed) for seed in (1003, 1005, 1038, 2032)]
CREDENTIALS = [
    *(runner.Case("credfuzz", seed) for seed in range(100, 106)),
    *(runner.Case("credfuzz", seed, "m32") for seed in range(200, 203)),
    runner.Case("credfuzz", 300, "static"),
    runner.Case("credfuzz", 301, "m32-static"),
]
FILES = [
    *(runner.Case("filefuzz", 400 + i, mode=mode) for i, mode in enumerate(runner.FILE_MODES)),
    *(runner.Case("filefuzz", 500 + i, "m32", mode=mode) for i, mode in enumerate(("root", "full"))),
    runner.Case("filefuzz", 600, mode="root", base="/dev/shm"),
    runner.Case("filefuzz", 601, mode="mixed", base="/dev/shm"),
]
EXECUTIONS = [
    *(runner.Case("execfuzz", seed, mode="open") for seed in range(800, 802)),
    runner.Case("execfuzz", 810, "m32", mode="open"),
    runner.Case("execfuzz", 811, "static", mode="open"),
]
FLAGS = [
    *(runner.Case("flagfuzz", 700 + i, mode=mode) for i, mode in enumerate(runner.FLAG_MODES)),
    runner.Case("flagfuzz", 710, "m32", base="/dev/shm"),
]

PRIVILEGED = [
    *(runner.Case("privfuzz", seed) for seed in (900, 901)),
    runner.Case("privfuzz", 930),  # ids by fsconfig, a group that is none, reboot's arguments
    runner.Case("privfuzz", 910, "m32"),
]

MIXED = [runner.Case("mixfuzz", seed) for seed in (30000, 30001, 30002)]

# Restrictions that are none, on a null pointer; the last: O_NOATIME of another's socket.
ERRORS = [
    runner.Case("errors", seed, variant, mode="lax")
    for seed, variant in ((17, "native"), (3, "m32"), (700007, "native"))
]

# What the probe finds that does not hold under the shim, exactly: a fact that begins to hold must leave its set.
REFUSED_BY_THE_KERNEL = {"bind80"}  # a low port of the host
NOT_YET: set[str] = set()
NOT_STRICT = {"perm_deny"}  # a fake user still reads what the real one may read
WITHOUT_PTRACE = {"trace": {"strace"}, "ptrace": {"strace"}}  # a task has one tracer, and it is the shim


@pytest.fixture(scope="module")
def oracle() -> Iterator[runner.Oracle]:
    with runner.Oracle() as made:
        yield made


@pytest.mark.parametrize(("engine", "case"), [*in_turn(*zip(CREDENTIALS)), *product(ENGINES, THREADS)], ids=str)
def test_credentials_as_real_root(oracle: runner.Oracle, engine: str, case: runner.Case) -> None:
    report = runner.compare(oracle, engine, case)
    assert report is None, report


@pytest.mark.parametrize(("engine", "case"), in_turn(*zip(EXECUTIONS)), ids=str)
def test_executions_as_real_root(oracle: runner.Oracle, engine: str, case: runner.Case) -> None:
    report = runner.compare(oracle, engine, case)
    assert report is None, report


# A script by a descriptor that is closed then; one that nobody may execute, whose interpreter has not all it promises.
@pytest.mark.parametrize("seed", [820, 821, 822, 910001, 1900054])
def test_strict_executions_as_real_root(oracle: runner.Oracle, seed: int) -> None:
    case = runner.Case("execfuzz", seed, mode="strict")
    report = runner.difference(case, "notify", oracle.run_oracle(case), oracle.run_under("notify", case, ("--strict",)))
    assert report is None, report


@pytest.mark.parametrize(("engine", "case"), in_turn(*zip([*FILES, *FLAGS])), ids=str)
def test_files_as_real_root(oracle: runner.Oracle, engine: str, case: runner.Case) -> None:
    report = runner.compare(oracle, engine, case)
    assert report is None, report


@pytest.mark.parametrize(("engine", "case"), in_turn(*zip(PRIVILEGED)), ids=str)
def test_privileged_calls_as_real_root(oracle: runner.Oracle, engine: str, case: runner.Case) -> None:
    report = runner.compare(oracle, engine, case)
    assert report is None, report


@pytest.mark.parametrize(("engine", "case"), in_turn(*zip(MIXED)), ids=str)
def test_threads_that_share_little_as_real_root(oracle: runner.Oracle, engine: str, case: runner.Case) -> None:
    report = runner.compare(oracle, engine, case)
    assert report is None, report


@pytest.mark.parametrize(("engine", "case"), in_turn(*zip(ERRORS)), ids=str)
def test_errors_as_real_root(oracle: runner.Oracle, engine: str, case: runner.Case) -> None:
    report = runner.compare(oracle, engine, case)
    assert report is None, report


@pytest.mark.parametrize("seed", [1, 910000])  # the last: access(2) of the link of a descriptor
def test_strict_errors_as_real_root(oracle: runner.Oracle, seed: int) -> None:
    case = runner.Case("errors", seed, mode="strict")
    report = runner.difference(case, "notify", oracle.run_oracle(case), oracle.run_under("notify", case, ("--strict",)))
    assert report is None, report


@pytest.mark.parametrize("engine", runner.ENGINES)
@pytest.mark.parametrize("variant", ["native", "m32"])
def test_facts_of_real_root(oracle: runner.Oracle, engine: str, variant: str) -> None:
    lines = oracle.run_under(engine, runner.Case("probe", 0, variant)).lines
    failed = {line.split()[1] for line in lines if line.startswith("FAIL")}
    assert len(lines) == 82, lines[-5:]
    expected = REFUSED_BY_THE_KERNEL | NOT_YET | NOT_STRICT | WITHOUT_PTRACE.get(engine, set())
    assert failed == expected


@pytest.mark.parametrize("variant", ["native", "m32"])
def test_strict_facts_of_real_root(oracle: runner.Oracle, variant: str) -> None:
    lines = oracle.run_under("notify", runner.Case("probe", 0, variant), ("--strict",)).lines
    failed = {line.split()[1] for line in lines if line.startswith("FAIL")}
    assert len(lines) == 82, lines[-5:]
    assert failed == REFUSED_BY_THE_KERNEL | NOT_YET


@pytest.mark.parametrize("seed", [415, 418])
def test_files_that_are_denied_as_real_users(oracle: runner.Oracle, seed: int) -> None:
    case = runner.Case("filefuzz", seed, mode=runner.DENIED)
    want = oracle.run_oracle(case)
    assert any("setxattrat" in line and line.endswith("EACCES") for line in want.lines)
    report = runner.difference(case, "notify", want, oracle.run_under("notify", case))
    assert report is None, report


@pytest.mark.parametrize("case", [FILES[0], FILES[2], *FILES[4:7], CREDENTIALS[0]], ids=str)
def test_strictly_as_real_root(oracle: runner.Oracle, case: runner.Case) -> None:
    """Files that are open to all, and calls that change credentials: being strict changes nothing."""
    report = runner.difference(case, "notify", oracle.run_oracle(case), oracle.run_under("notify", case, ("--strict",)))
    assert report is None, report


@pytest.mark.parametrize("variant", ["native", "m32"])
def test_real_root_passes_every_fact(oracle: runner.Oracle, variant: str) -> None:
    result = oracle.run_oracle(runner.Case("probe", 0, variant))
    assert [line for line in result.lines if line.startswith("FAIL")] == []
    assert result.status == 0


@pytest.mark.parametrize("case", [CREDENTIALS[0], THREADS[0], *FILES[:5], EXECUTIONS[0], PRIVILEGED[0]], ids=str)
def test_the_oracle_repeats_itself(oracle: runner.Oracle, case: runner.Case) -> None:
    want, again = oracle.run_oracle(case), oracle.run_oracle(case)
    assert want.status == 0
    assert len(want.lines) > 50
    assert runner.difference(case, "oracle", want, again) is None


@pytest.mark.parametrize("case", [CREDENTIALS[0], FILES[0], FLAGS[0], EXECUTIONS[0], PRIVILEGED[0]], ids=str)
def test_without_the_shim_the_comparison_fails(
    oracle: runner.Oracle, case: runner.Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = oracle.run_oracle(case)
    monkeypatch.setattr(oracle, "timeout", 5.0)  # a program whose calls all fail may wait for ever
    report = runner.difference(case, "nothing", want, oracle.run_bare(case))
    assert report is not None


def test_seeds_differ(oracle: runner.Oracle) -> None:
    one, two = (oracle.run_oracle(runner.Case("credfuzz", seed)).lines for seed in (1, 2))
    assert one != two
