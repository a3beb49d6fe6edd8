# SPDX-License-Identifier: GPL-2.0-or-later
"""A plain user who may make no user namespace: the whole identity is faked, as fakeroot does."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.launching import environment, for_everybody

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = 12345
# A user namespace that allows one more below it, in which we are nobody special: there none can be made.
DENY = (
    "echo 1 > /proc/sys/user/max_user_namespaces;"
    ' exec unshare --user --map-user=1000 --map-group=1000 sh -c "$1" "$0"'
)
PLACE = (
    "setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "unshare", "--user", "--map-root-user",
    "sh", "-ec", DENY,
)  # fmt: skip
ENGINES = ("notify", "trace", "ptrace")


@pytest.fixture
def home() -> Iterator[str]:
    base = f"/var/tmp/remainroot-whole-{os.getpid()}"
    os.mkdir(base)
    os.chown(base, USER, USER)
    yield base
    # A supervisor outlasts its command by a moment, in which it removes what SQLite keeps beside a database.
    shutil.rmtree(base, onerror=unless_gone)


def unless_gone(_: object, path: str, caught: tuple[type[BaseException], BaseException, object]) -> None:
    """What rmtree is to do with a failure: nothing if somebody else was faster."""
    if not isinstance(caught[1], FileNotFoundError) or os.path.lexists(path):
        raise caught[1]


def run(home: str, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PLACE, "sh", script], cwd=home, env=environment(), capture_output=True, text=True, check=False, timeout=60
    )


def test_the_place_is_what_it_is_said_to_be(home: str) -> None:
    done = run(home, "id -u; unshare --user true")
    assert (done.stdout, done.returncode) == ("1000\n", 1)
    assert "unshare failed" in done.stderr


@pytest.mark.parametrize("engine", ENGINES)
def test_the_user_is_root_and_so_are_the_files(home: str, engine: str) -> None:
    inner = """
    id -u; id -g; id -G; stat -c %u:%g . /etc; touch a; mkdir d; mknod n c 1 3; stat -c %u:%g:%F a d n
    chown 5:6 a; chmod 4755 a; cp -a a b; stat -c %u:%g:%A b; setcap cap_net_raw+ep d/../a; getcap a
    tar -cf t d b n; tar --numeric-owner -tvf t | cut -c1-22; setpriv --reuid=1 id -u
    """
    done = run(home, f"{for_everybody()} --engine {engine} -- sh -ec '{inner}'")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "0", "0", "0", "0:0", "0:0",
        "0:0:regular empty file", "0:0:directory", "0:0:character special file",
        "5:6:-rwsr-xr-x", "a cap_net_raw=ep",
        "drwxr-xr-x 0/0        ", "-rwsr-xr-x 5/6        ", "crw-r--r-- 0/0        ", "1",
    ]  # fmt: skip


def test_unknown_is_real(home: str) -> None:
    inner = "stat -c %u:%g old; touch new; stat -c %u:%g new; chown 0:0 old; stat -c %u:%g old"
    done = run(home, f"touch old; {for_everybody()} -u -- sh -ec '{inner}'")
    assert (done.stdout, done.stderr) == ("1000:1000\n0:0\n0:0\n", "")


def test_owners_last_if_that_is_asked_for(home: str) -> None:
    command = f"{for_everybody()} --store durable:{home}/owners.db -- sh -ec"
    show = "stat -c %u:%g:%a a b l"
    make = "touch a b; ln -s a l; chown 1:2 a; chmod 0 b; chown 3 b; chown -h 4 l"
    done = run(home, f"{command} '{make}; {show}'; {command} '{show}'")
    assert done.stderr == ""
    assert done.stdout == "1:2:644\n3:0:0\n4:0:777\n" * 2
