# SPDX-License-Identifier: GPL-2.0-or-later
"""What was installed must also run: daemons that drop to their users, and tools that switch identity.

The services are in `tests/e2e/services/`. Each script runs as real root and under each engine, and must print the same.
Those of one engine share a root, and one transaction installs what they need.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.e2e.ahead import Ahead, wanted
from tests.e2e.containers import ENGINES
from tests.e2e.serving import SERVICES, by_service, serve, succeeded

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.e2e

CONFLICTING = frozenset({"postfix"})
"""What cannot be installed beside the others: exim is a mail server, too."""

ALWAYS = {
    "notify": ("accounts", "alpm-sandbox", "at", "cron", "dbus", "identities", "logrotate", "memcached", "nginx",
               "polkitd", "postgresql", "redis", "rsyslog", "sshd", "systemd-tools"),
    "trace": ("identities", "postgresql", "sshd"),
    "ptrace": ("identities",),
}  # fmt: skip
"""What runs each time; the others do where there is time."""

CASES = [
    pytest.param(name, engine, marks=[] if name in ALWAYS[engine] else [pytest.mark.slow])
    for engine in ENGINES
    for name in SERVICES
]


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest) -> Iterator[Ahead]:
    """A run for real root, and for each engine, with the services that are wanted of it."""
    cases = [(case["name"], case["engine"]) for case in wanted(request) if "engine" in case]
    with Ahead() as made:
        for engine in (None, *ENGINES):
            names = sorted({name for name, of in cases if engine in (None, of)})
            for conflicting in (False, True):
                some = [name for name in names if (name in CONFLICTING) == conflicting]
                if some:
                    made.begin([((engine, conflicting), partial(serve, some, engine))])
        yield made


@pytest.mark.parametrize(("name", "engine"), CASES)
def test_runs_as_under_real_root(runs: Ahead, name: str, engine: str) -> None:
    real, result = runs.result((None, name in CONFLICTING)), runs.result((engine, name in CONFLICTING))
    expected, output = by_service(real.output).get(name, ""), by_service(result.output).get(name)
    assert succeeded(name, real.output), f"real root itself fails: {expected}\n{real.tail()}"
    log = by_service(result.log).get(name, "")
    assert output == expected, f"status {result.status}\n{log[-4000:]}\n{result.tail()}"


@pytest.mark.parametrize("name", SERVICES)
def test_the_description_is_whole(name: str) -> None:
    service = SERVICES[name]
    assert service.what
    assert service.packages
    assert all(script.strip() for script in service.scripts)
