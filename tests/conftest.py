# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules for the whole suite: skips are failures where everything must work, slow tests run on demand."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

MUST_WORK = os.environ.get("REMAINROOT_MUST_WORK") == "1"
SLOW = os.environ.get("REMAINROOT_SLOW") == "1"
RLIMIT_RTTIME = 15


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked slow unless REMAINROOT_SLOW=1 asks for it (deselected, not skipped)."""
    if SLOW:
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


@pytest.fixture
def plain_again() -> Iterator[None]:
    """What a test makes of its own process, and so of its children, by the number of a state, ends with it."""
    before = resource.getrlimit(RLIMIT_RTTIME)
    yield
    resource.setrlimit(RLIMIT_RTTIME, before)


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"REMAINROOT_MUST_WORK=1 and this was not run: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where REMAINROOT_MUST_WORK=1: a lack must not look like a success."""
    report = yield
    if MUST_WORK:
        _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Do the same for a whole module that asks to be skipped."""
    report = yield
    if MUST_WORK:
        _fail_if_skipped(report)
    return report
