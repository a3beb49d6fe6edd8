# SPDX-License-Identifier: GPL-2.0-or-later
"""System V IPC objects and message queues of root and of users, as real root and real users have them."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.compiling import FIXTURES, abis, program
from tests.launching import ENGINES, PLACE, REMAINROOT, TIMEOUT, environment

OWN_NAMESPACE = ["unshare", "--ipc"]


def printed(*command: str, abi: str, name: str = "ipc_objects.c") -> list[str]:
    """What the program prints, in an IPC namespace where nobody else has objects."""
    done = subprocess.run(
        [*OWN_NAMESPACE, *command, str(program(FIXTURES / name, abi))],
        capture_output=True, text=True, check=False, timeout=TIMEOUT, env=environment(),
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.oracle
@pytest.mark.parametrize("abi", abis())
@pytest.mark.parametrize("engine", ENGINES)
def test_as_real_root(engine: str, abi: str) -> None:
    expected = printed(abi=abi)
    assert len(expected) > 300
    assert printed(*PLACE, *REMAINROOT[:-1], engine, "--", abi=abi) == expected


@pytest.mark.oracle
def test_where_the_loop_knows_all_owners() -> None:
    """With owners in memory the compiled loop passes on what is asked about procfs in general."""
    shim = [*PLACE, *REMAINROOT[:-1], "notify", "--store", "memory", "--"]
    assert printed(*shim, abi="") == printed(abi="")


@pytest.mark.oracle
def test_in_another_namespace_than_the_supervisor() -> None:
    assert printed(*PLACE, *REMAINROOT, "--", *OWN_NAMESPACE, abi="") == printed(abi="")


@pytest.mark.oracle
def test_without_the_shim_it_is_not_so() -> None:
    assert printed(*PLACE, abi="") != printed(abi="")


MANY = """
for _ in $(seq 100); do ipcmk -Q; done >/dev/null
setpriv --reuid=33 --regid=34 --clear-groups ipcmk -Q -p 0604 >/dev/null
ipcs -q -c | tail -n 2
ipcs -q | wc -l
"""


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ENGINES)
def test_a_table_of_several_pages(engine: str) -> None:
    """A read of a table gives a page at most."""

    def lines(*prefix: str) -> str:
        return subprocess.run(
            [*OWN_NAMESPACE, *prefix, "sh", "-c", MANY],
            capture_output=True, text=True, check=True, timeout=TIMEOUT, env=environment(),
        ).stdout  # fmt: skip

    assert "www-data" in lines()
    assert lines(*PLACE, *REMAINROOT[:-1], engine, "--") == lines()


MOUNTING = 'mount -t mqueue none "$0" && exec "$@"'


def queues(place: str, inner: list[str], outer: list[str], abi: str) -> list[str]:
    """What queues.c prints under `inner`, in namespaces of its own, all of it under `outer`."""
    space = [*OWN_NAMESPACE, "--mount", "sh", "-c", MOUNTING, place]
    done = subprocess.run(
        [*outer, *space, *inner, str(program(FIXTURES / "queues.c", abi)), place],
        capture_output=True, text=True, check=False, timeout=TIMEOUT, env=environment(),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.oracle
@pytest.mark.parametrize("abi", abis())
@pytest.mark.parametrize("engine", ENGINES)
def test_queues_as_real_root(engine: str, abi: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)  # pytest's own keeps users out
        expected = queues(place, [], [], abi)
        assert len(expected) == 18
        shim = [*PLACE, *REMAINROOT[:-1], engine, "--"]
        assert queues(place, shim, [], abi) == expected
        assert queues(place, [], shim, abi) == expected


@pytest.mark.oracle
@pytest.mark.parametrize(("engine", "abi"), [("notify", "i386"), ("notify", "x86_64"), ("trace", "x86_64")])
def test_strictly_as_real_users(engine: str, abi: str) -> None:
    expected = printed(abi=abi, name="ipc_users.c")
    assert len(expected) == 84
    assert printed(*PLACE, *REMAINROOT[:-1], engine, "--strict", "--", abi=abi, name="ipc_users.c") == expected
