# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs made ahead of the tests that look at them: a transaction keeps one processor busy, and machines have more."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    import pytest

    from tests.e2e.containers import Result

    Job = Callable[[], Result]


def wanted(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """The parameters of the tests of the asking module that were selected, in their order."""
    return [
        item.callspec.params
        for item in request.session.items
        if getattr(item, "module", None) is request.module and hasattr(item, "callspec")
    ]


class Ahead:
    """Jobs by key, run as many at a time as there are processors, in the order in which they are given.

    A key that is given again is the same run. Leaving the block drops what was not begun.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(os.cpu_count())
        self._runs: dict[Hashable, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def begin(self, jobs: Iterable[tuple[Hashable, Job]]) -> None:
        """Run these, too."""
        for key, job in jobs:
            if key not in self._runs:
                self._runs[key] = self._pool.submit(job)

    def result(self, key: Hashable) -> Result:
        """What the job of this key returned, or raised; waits for it."""
        return self._runs[key].result()  # type: ignore[no-any-return]
