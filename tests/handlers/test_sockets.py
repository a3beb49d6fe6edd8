# SPDX-License-Identifier: GPL-2.0-or-later
"""Peers of unix sockets and the credentials that go with messages and signals, as real root sees them."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.compiling import FIXTURES, abis, program
from tests.handlers.rooted import PYTHON, as_real_root, bare, under
from tests.launching import ENGINES, PLACE, REMAINROOT, TIMEOUT, environment, remainroot

if TYPE_CHECKING:
    from pathlib import Path

SCENARIOS = (
    "pairs", "connections", "others", "messages", "named_processes", "many_messages", "implicit", "stamped",
    "named_sender", "waited_for", "queued_signals", "file_owners", "group_owners",
)  # fmt: skip


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


@pytest.mark.oracle
@pytest.mark.parametrize("way", ["direct", "socketcall"])
@pytest.mark.parametrize("abi", abis())
@pytest.mark.parametrize("engine", ENGINES)
def test_many_messages_in_one_call(engine: str, abi: str, way: str) -> None:
    command = [str(program(FIXTURES / "many_messages.c", abi)), way]
    expected = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT).stdout
    assert expected.count("33:34") > 5
    assert remainroot("--engine", engine, "--", *command).stdout == expected


TALK = """
import os, socket, struct, sys
os.setresgid(34, 34, 0)
os.setresuid(33, 33, 0)
inside = socket.socket(socket.AF_UNIX)
inside.connect(sys.argv[1])
inside.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
for uid, gid in ((33, 34), (0, 0), (33, 35), (7, 34)):
    own = struct.pack("=iII", os.getpid(), uid, gid)
    try:
        print("sent", inside.sendmsg([b"claim"], [(socket.SOL_SOCKET, 2, own)]))
    except OSError as error:
        print("errno", error.errno)
inside.shutdown(socket.SHUT_WR)
data, ((_, _, told),), _, _ = inside.recvmsg(9, 99)
print(data, struct.unpack("=iII", told)[1:], struct.unpack("=iII", inside.getsockopt(1, socket.SO_PEERCRED, 12))[1:])
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_a_peer_outside_is_told_who_it_really_is(engine: str, tmp_path: Path) -> None:
    """To the world outside all of us are the user; of it we are told what the kernel tells."""
    address = str(tmp_path / "outside")
    command = [*PLACE, *REMAINROOT[:-1], engine, "--", PYTHON, "-c", TALK, address]
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        server.settimeout(TIMEOUT)
        task = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
        outside, _ = server.accept()
    seen = []
    with outside, task:
        outside.settimeout(TIMEOUT)
        outside.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        while True:
            data, ancillary, _, _ = outside.recvmsg(9, 99)
            if not data:
                break
            seen += [struct.unpack("=iII", value)[1:] for _, _, value in ancillary]
        own = struct.pack("=iII", os.getpid(), os.getuid(), os.getgid())
        outside.sendmsg([b"reply"], [(socket.SOL_SOCKET, 2, own)])
        printed, _ = task.communicate(timeout=TIMEOUT)
    assert set(seen) == {(os.getuid(), os.getgid())}
    assert printed.splitlines() == ["sent 5", "sent 5", "errno 1", "errno 1", "b'reply' (0, 0) (0, 0)"]
