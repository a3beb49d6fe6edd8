# SPDX-License-Identifier: GPL-2.0-or-later
"""Declarations, the table made of them, and what a handler is given."""

from __future__ import annotations

import ctypes
import errno
import os
from typing import TYPE_CHECKING, Any

import pytest

import remainroot.handlers  # noqa: F401  # declares every syscall
from remainroot import abi as abis
from remainroot import dispatch
from remainroot.credentials import user
from remainroot.dispatch import (
    CONTINUE,
    SYSCALLS,
    Call,
    Fail,
    When,
    build_table,
    differs,
    equals,
    handles,
    has_bits,
)
from remainroot.settings import Settings
from remainroot.store.memory import MemoryStore
from remainroot.tasks import PLAIN, State
from remainroot.world import World
from tests.tasking import Task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from remainroot.dispatch import Outcome


def nothing(call: Call) -> Outcome:
    del call
    return CONTINUE


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> dict[str, dispatch.Syscall]:
    """The declarations of one test."""
    made: dict[str, dispatch.Syscall] = {}
    monkeypatch.setattr(dispatch, "SYSCALLS", made)
    return made


# ---------------------------------------------------------------- declarations


def test_declaration_is_found_by_name(declared: dict[str, dispatch.Syscall]) -> None:
    when = equals(0, 3)
    assert handles("setuid", "setuid32", when=when)(nothing) is nothing
    assert set(declared) == {"setuid", "setuid32"}
    for name, syscall in declared.items():
        assert syscall.name == name
        assert syscall.handler is nothing
        assert syscall.when == when


def test_declaring_twice_is_an_error(declared: dict[str, dispatch.Syscall]) -> None:
    handles("setuid")(nothing)
    with pytest.raises(ValueError, match="setuid is declared twice"):
        handles("getuid", "setuid")(nothing)
    with pytest.raises(ValueError, match="chown is declared twice"):
        handles("chown", "chown")(nothing)
    assert "setuid" in declared


def test_unknown_name_is_an_error(declared: dict[str, dispatch.Syscall]) -> None:
    with pytest.raises(ValueError, match="setuidd is in no ABI's table"):
        handles("setuidd")(nothing)
    assert declared == {}


@pytest.mark.parametrize("name", sorted(SYSCALLS))
def test_each_declaration_has_a_documented_handler(name: str) -> None:
    handler = SYSCALLS[name].handler
    assert handler.__doc__
    assert handler.__module__.startswith("remainroot.handlers.")


@pytest.mark.parametrize("name", sorted(name for name in SYSCALLS if SYSCALLS[name].when))
def test_conditions_are_sound(name: str) -> None:
    for test in SYSCALLS[name].when:
        assert 0 <= test.arg < 6
        assert test.op in ("eq", "ne")
        assert test.value & ~test.mask == 0, "it could never be equal"
        assert 0 < test.mask <= 0xFFFF_FFFF, "the filter tests 32 bits"


def fields(when: tuple[When, ...]) -> list[tuple[int, str, int, int]]:
    return [(test.arg, test.op, test.value, test.mask) for test in when]


def test_makers_of_conditions() -> None:
    assert fields(equals(2, 5, 7)) == [(2, "eq", 5, 0xFFFF_FFFF), (2, "eq", 7, 0xFFFF_FFFF)]
    assert fields(has_bits(1, 0o100)) == [(1, "eq", 0o100, 0o100)]
    assert fields(differs(0, 0)) == [(0, "ne", 0, 0xFFFF_FFFF)]


# ---------------------------------------------------------------- the table


def test_table_has_each_declared_number_of_each_abi() -> None:
    table = build_table()
    expected = {
        (abi.audit_arch, abi.numbers[name]): (abi.name, name)
        for abi in abis.native()
        for name, syscall in SYSCALLS.items()
        if name in abi.numbers and syscall.lax
    }
    got = {(arch, nr): (row.abi.name, row.name) for arch, rows in table.items() for nr, row in rows.items()}
    assert got == expected
    for rows in table.values():
        for nr, row in rows.items():
            assert row.nr == nr
            assert row.handler is SYSCALLS[row.name].handler
            assert row.short_ids == (row.name in row.abi.short_ids)


def test_every_way_to_change_ids_is_declared() -> None:
    """No variant on any ABI slips past."""
    families = ("set", "setre", "setres", "setfs")
    names = {f"{family}{kind}{width}" for family in families for kind in ("uid", "gid") for width in ("", "32")}
    names |= {f"{verb}groups{width}" for verb in ("get", "set") for width in ("", "32")}
    assert names <= SYSCALLS.keys()


# ---------------------------------------------------------------- the call


@pytest.fixture
def task() -> Iterator[Task]:
    with Task() as made:
        yield made


@pytest.fixture
def call(task: Task) -> Call:
    made = Call(World(Settings(), MemoryStore()))
    made.world.tasks.start(task.tid, PLAIN)
    made.tid = task.tid
    return made


def given(call: Call, *args: int, abi: Any = abis.X86_64, short: bool = False) -> Call:
    call.args = (*args, 0, 0, 0, 0, 0, 0)[:6]
    call.abi = abi
    call.short_ids = short
    return call


@pytest.mark.parametrize(
    ("register", "short", "value"),
    [
        (0, False, 0),
        (42, False, 42),
        (0xFFFF_FFFF, False, 0xFFFF_FFFF),
        (0xFFFF_FFFF_FFFF_FFFF, False, 0xFFFF_FFFF),
        (0x1_0000_002A, False, 42),
        (0xFFFF, False, 0xFFFF),
        (0xFFFF, True, 0xFFFF_FFFF),
        (0xFFFF_FFFF, True, 0xFFFF_FFFF),
        (0xFFFE, True, 0xFFFE),
        (0x1_002A, True, 42),
    ],
)
def test_ids(call: Call, register: int, short: bool, value: int) -> None:
    assert given(call, register, short=short).id(0) == value


@pytest.mark.parametrize(
    ("register", "signed", "unsigned"),
    [
        (0, 0, 0),
        (0x7FFF_FFFF, 0x7FFF_FFFF, 0x7FFF_FFFF),
        (0x8000_0000, -0x8000_0000, 0x8000_0000),
        (0xFFFF_FF9C, -100, 0xFFFF_FF9C),
        (0xFFFF_FFFF_FFFF_FF9C, -100, 0xFFFF_FF9C),
        (0x5_0000_0001, 1, 1),
    ],
)
def test_ints(call: Call, register: int, signed: int, unsigned: int) -> None:
    assert given(call, register).signed(0) == signed
    assert given(call, register).unsigned(0) == unsigned


def test_pointers_are_as_wide_as_the_abi(call: Call) -> None:
    assert given(call, 0xFFFF_FFFF_FFFF_F000).ptr(0) == 0xFFFF_FFFF_FFFF_F000
    assert given(call, 0xFFFF_FFFF_FFFF_F000, abi=abis.I386).ptr(0) == 0xFFFF_F000


def test_memory_of_a_task() -> None:
    """Our own memory will do: the accessors take any task's."""
    call = Call(World(Settings(), MemoryStore()))
    call.tid = os.getpid()
    buffer = ctypes.create_string_buffer(b"/some/path", 64)
    address = ctypes.addressof(buffer)
    given(call, 7, address)
    assert call.read(address, 5) == b"/some"
    assert call.path(1) == b"/some/path"
    call.write(address, b"/else\0")
    assert call.path(1) == b"/else"
    for bad in (0, 8, 1 << 47, 0xFFFF_FFFF_FFFF_F000):
        given(call, bad)
        for access in (lambda: call.read(bad, 4), lambda: call.path(0), lambda: call.write(bad, b"x")):  # noqa: B023
            with pytest.raises(OSError, match="Bad address") as caught:
                access()
            assert caught.value.errno == errno.EFAULT


def test_state_and_credentials(call: Call) -> None:
    assert call.state == PLAIN
    call.creds = user(33, 34, ())
    assert (call.creds.uid, call.creds.gid) == (33, 34)
    assert call.state.dumpable == 0
    call.state = State(user(1, 1, ()), dumpable=1)
    assert (call.creds.uid, call.state.dumpable) == (1, 1)


def test_nothing_is_done_for_a_task_that_is_gone(call: Call, task: Task) -> None:
    call.world.vanished = lambda: True
    with pytest.raises(ProcessLookupError):
        call.check()
    with pytest.raises(ProcessLookupError):
        call.creds = user(33, 34, ())
    with pytest.raises(ProcessLookupError):
        call.state = State(user(1, 1, ()))
    with pytest.raises(ProcessLookupError):
        call.write(0, b"x")
    assert call.world.tasks.state(task.tid) == PLAIN


def test_same_credentials_are_no_change(call: Call) -> None:
    call.creds = call.creds
    assert call.world.tasks.untouched


def test_outcomes_hold_what_they_are_given() -> None:
    assert dispatch.Return().value == 0
    assert dispatch.Return(7).value == 7
    assert Fail(errno.EPERM).errno == errno.EPERM
    install = dispatch.InstallFd(5, cloexec=True)
    assert (install.fd, install.cloexec) == (5, True)
