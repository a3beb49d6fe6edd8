# SPDX-License-Identifier: GPL-2.0-or-later
"""The main job: apt-get install of real packages where one uid and one gid are mapped, on every engine.

The tree that is left, as the tasks themselves see it, must be the one that real root leaves: every file's
type, mode, owner and device number.
"""

from __future__ import annotations

import functools
import re

import pytest

from tests.e2e.containers import ENGINES, LIST, PLACES, TRUTH, UID, Image, Place, Result, run_in

pytestmark = pytest.mark.e2e

TOGETHER = (
    "hello tree rsync sudo libcap2-bin iputils-ping man-db cron openssh-server postgresql postfix "
    "nginx-light redis-server dbus chrony at polkitd"
)
"""Packages that between them change owners, create users, switch identities and start what cannot start."""
ALONE = "exim4-daemon-light"
"""One more, which cannot be installed beside postfix."""
FEW = "hello cron man-db"

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

ACCEPTED = re.compile(r"^Setting access ACL .* on /var/log/journal failed: Invalid argument$")
"""POSIX ACLs that name an unmapped id are still the kernel's to refuse."""


def tree(output: str) -> dict[str, str]:
    """The listing of a root as path -> mode, owner, device number."""
    return dict(line.split("\t", 1) for line in output.splitlines())


def complaints(log: str) -> set[str]:
    """Lines of a log that tell of a refused call, without what differs from run to run."""
    lines = [line.strip() for line in log.splitlines() if COMPLAINT.search(line)]
    return {re.sub(r"\d+", "N", line) for line in lines if not ACCEPTED.match(line)}


@functools.cache
def truth(image: Image, packages: str) -> Result:
    """What real root gets; once per image and set of packages."""
    result = run_in(TRUTH[image], INSTALL.format(packages=packages, list=LIST))
    assert result.status == 0, f"real root itself fails: {result.tail()}"
    return result


def differences(place: Place, real: dict[str, str], shown: dict[str, str]) -> list[str]:
    """What differs between two trees, one line each, apart from what the place itself makes."""
    lines = []
    for path in sorted(real.keys() | shown.keys()):
        if VOLATILE.match(path) or any(path == top or path.startswith(top + "/") for top in place.unlike):
            continue
        if real.get(path) != shown.get(path):
            lines.append(f"{path}: real root {real.get(path, 'absent')}, here {shown.get(path, 'absent')}")
    return lines


def install_and_compare(name: str, engine: str, packages: str) -> None:
    """Install in this place; status, complaints and resulting tree must be real root's."""
    place = PLACES[name]
    real = truth(place.image, packages)
    result = run_in(place, INSTALL.format(packages=packages, list=LIST), engine=engine)
    assert result.status == 0, f"status {result.status}\n{result.tail()}"
    assert len(tree(result.output)) > 1000
    wrong = differences(place, tree(real.output), tree(result.output))
    assert not wrong, f"{len(wrong)} files differ:\n" + "\n".join(wrong[:40])
    new = complaints(result.log) - complaints(real.log)
    assert not new, "refused here, not to real root:\n" + "\n".join(sorted(new))


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
FULL = [(name, engine) for name, engine in PAIRS if name == "unshare-outside" or engine == "notify"]
"""Every place with one engine, and every engine in one place; the others get the large transaction on demand."""
REST = [pair for pair in PAIRS if pair not in FULL]


@pytest.mark.parametrize(("name", "engine"), REST)
def test_few_packages(name: str, engine: str) -> None:
    install_and_compare(name, engine, FEW)


@pytest.mark.parametrize(("name", "engine"), FULL)
def test_seventeen_packages_in_one_transaction(name: str, engine: str) -> None:
    install_and_compare(name, engine, TOGETHER)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "engine"), REST)
def test_seventeen_packages_elsewhere(name: str, engine: str) -> None:
    install_and_compare(name, engine, TOGETHER)


@pytest.mark.parametrize("engine", ["notify", *(pytest.param(name, marks=pytest.mark.slow) for name in ENGINES[1:])])
def test_eighteenth_package(engine: str) -> None:
    """The one package that excludes another of the seventeen: on every engine where there is time."""
    install_and_compare("unshare-outside", engine, ALONE)
