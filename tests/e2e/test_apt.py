# SPDX-License-Identifier: GPL-2.0-or-later
"""The main job: apt-get install of real packages where one uid and one gid are mapped, on every engine.

The tree that is left, as the tasks themselves see it, must be the one that real root leaves: every file's
type, mode, owner and device number.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.e2e.ahead import Ahead, wanted
from tests.e2e.containers import ENGINES, LIST, PLACES, TRUTH, UID, Place, Result, run_in

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.e2e

PACKAGES = {
    # Between them they change owners, create users, switch identities and start what cannot start.
    "seventeen": "hello tree rsync sudo libcap2-bin iputils-ping man-db cron openssh-server postgresql postfix "
    "nginx-light redis-server dbus chrony at polkitd",
    # One more, which cannot be installed beside postfix.
    "eighteenth": "exim4-daemon-light",
    "few": "hello cron man-db",
}

INSTALL = """
exec 3>&1 >&2
apt-get update
apt-get install -y --no-install-recommends {packages}
{list} >&3
"""

VOLATILE = re.compile(
    r"^/(var/cache/apt/(archives/.*\.deb|.*\.bin)|var/lib/apt/lists/[^/]*_[^/]*|root/\.cache(/.*)?"
    r"|var/lib/remainroot(/.*)?)$"
)
"""Files that differ between two runs of real root too, and remainroot's own cache and database."""

COMPLAINT = re.compile(r"Operation not permitted|Invalid argument|Permission denied|Function not implemented")


def tree(output: str) -> dict[str, str]:
    """The listing of a root as path -> mode, owner, device number."""
    return dict(line.split("\t", 1) for line in output.splitlines())


def complaints(log: str) -> set[str]:
    """Lines of a log that tell of a refused call, without what differs from run to run."""
    lines = [line.strip() for line in log.splitlines() if COMPLAINT.search(line)]
    return {re.sub(r"\d+", "N", line) for line in lines}


def install(place: Place, packages: str, engine: str | None = None) -> Result:
    return run_in(place, INSTALL.format(packages=packages, list=LIST), engine=engine)


def differences(place: Place, real: dict[str, str], shown: dict[str, str]) -> list[str]:
    """What differs between two trees, one line each, apart from what the place itself makes."""
    lines = []
    for path in sorted(real.keys() | shown.keys()):
        if VOLATILE.match(path) or any(path == top or path.startswith(top + "/") for top in place.unlike):
            continue
        if real.get(path) != shown.get(path):
            lines.append(f"{path}: real root {real.get(path, 'absent')}, here {shown.get(path, 'absent')}")
    return lines


@pytest.mark.parametrize("name", PLACES)
def test_place_maps_one_id_and_refuses_the_rest(name: str) -> None:
    """Without remainroot each place is what it is meant to be, and apt-get dies in it."""
    if name == "plain-host":
        name = "unshare-outside"  # bare, the two are the same
    script = """
    cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups
    chown 42:42 /etc/hostname || echo chown refused
    apt-get update >&2 || echo apt-get $?
    """
    place = PLACES[name]
    result = run_in(place, script)
    mapped = ["0", str(UID), "1"]
    lines = result.output.splitlines()
    assert [line.split() for line in lines[:2]] == [mapped, mapped], result.tail()
    assert lines[2:] == ["deny", "chown refused", "apt-get 100"], result.tail()
    assert "setgroups" in result.log


PAIRS = [(name, engine) for name in PLACES for engine in ENGINES]
BY_TURNS = [(name, ENGINES[1 + at % 2]) for at, name in enumerate(PLACES)]
FULL = [("unshare-outside", "notify"), ("podman", "notify"), ("unshare-outside", "trace")]
"""What gets the large transaction; the others do where there is time."""
FEW = [pair for pair in PAIRS if pair not in FULL and (pair[1] == "notify" or pair in BY_TURNS)]
"""What gets the small one: each place with notify, and with one of the other engines."""
ALONE_ON = [("unshare-outside", engine) for engine in ENGINES]
"""The one package that excludes another of the seventeen: on every engine where there is time."""
SLOW = pytest.mark.slow
CASES = [
    *(pytest.param(*pair, "seventeen", marks=[] if pair in FULL else SLOW) for pair in PAIRS),
    *(pytest.param(*pair, "few", marks=[] if pair in FEW else SLOW) for pair in PAIRS if pair not in FULL),
    *(pytest.param(*pair, "eighteenth", marks=SLOW if pair[1] != "notify" else []) for pair in ALONE_ON),
]


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest) -> Iterator[Ahead]:
    """What the tests compare. Real root comes first, and leaves the packages that it has downloaded to the others."""
    cases = [(case["name"], case["engine"], case["packages"]) for case in wanted(request) if "engine" in case]
    truths = [(PLACES[name].image, packages) for name, _, packages in cases]
    with Ahead() as made:
        made.begin((key, partial(install, TRUTH[key[0]], PACKAGES[key[1]])) for key in truths)
        for key in truths:
            real = made.result(key)
            assert real.status == 0, f"real root itself fails: {real.tail()}"
        made.begin((key, partial(install, PLACES[key[0]], PACKAGES[key[2]], key[1])) for key in cases)
        yield made


@pytest.mark.parametrize(("name", "engine", "packages"), CASES)
def test_install_as_real_root(runs: Ahead, name: str, engine: str, packages: str) -> None:
    """Status, complaints and resulting tree are real root's."""
    place = PLACES[name]
    real, result = runs.result((place.image, packages)), runs.result((name, engine, packages))
    assert result.status == 0, f"status {result.status}\n{result.tail()}"
    assert len(tree(result.output)) > 1000
    wrong = differences(place, tree(real.output), tree(result.output))
    assert not wrong, f"{len(wrong)} files differ:\n" + "\n".join(wrong[:40])
    new = complaints(result.log) - complaints(real.log)
    assert not new, "refused here, not to real root:\n" + "\n".join(sorted(new))
