# SPDX-License-Identifier: GPL-2.0-or-later
"""What was installed must also run: daemons that drop to their users, and tools that switch identity.

The services are in `tests/e2e/services/`. Each script runs as real root, under each engine and with --strict, and must
print the same. Those of one engine share a root, and one transaction installs what they need.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.e2e.ahead import Ahead, wanted
from tests.e2e.serving import ALONE, SERVICES, STRICT, WAYS, by_service, serve, succeeded

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.e2e

ALWAYS = {
    "notify": ("accounts", "alpm-sandbox", "at", "cron", "dbus", "identities", "logrotate", "memcached", "nginx",
               "polkitd", "postgresql", "redis", "rsyslog", "sshd", "systemd-tools"),
    "trace": ("identities", "sshd"),
    "ptrace": ("identities",),
    STRICT: ("cron", "sshd"),
}  # fmt: skip
"""What runs each time; the others do where there is time."""


def root_of(name: str) -> str:
    """Which services share a root; too many take too long for one run."""
    return name if name in ALONE else "always" if name in ALWAYS["notify"] else "others"


CASES = [
    pytest.param(name, way, marks=[] if name in ALWAYS[way] else [pytest.mark.slow])
    for way in WAYS
    for name in SERVICES
]


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest) -> Iterator[Ahead]:
    """A run for real root, and for each way, with the services that are wanted of it."""
    cases = [(case["name"], case["way"]) for case in wanted(request) if "way" in case]
    with Ahead() as made:
        for way in (None, *WAYS):
            names = sorted({name for name, of in cases if way in (None, of)})
            for root in ("always", "others", *ALONE):
                some = [name for name in names if root_of(name) == root]
                if some:
                    made.begin([((way, root), partial(serve, some, way))])
        yield made


@pytest.mark.parametrize(("name", "way"), CASES)
def test_runs_as_under_real_root(runs: Ahead, name: str, way: str) -> None:
    real, result = runs.result((None, root_of(name))), runs.result((way, root_of(name)))
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
