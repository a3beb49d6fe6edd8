# SPDX-License-Identifier: GPL-2.0-or-later
"""The BPF program: run in a small interpreter over every number and condition, and loaded for real."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from itertools import product
from struct import iter_unpack, pack, unpack_from
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import remainroot.handlers  # noqa: F401  # declares every syscall
from remainroot import abi as abis
from remainroot import readers
from remainroot.dispatch import INT, SYSCALLS, When, build_table, differs, equals, has_bits
from remainroot.engines.filter import RET_ALLOW, RET_ERRNO, RET_TRACE, RET_USER_NOTIF, Spared, assemble, program
from tests.launching import ROOT, environment

if TYPE_CHECKING:
    from collections.abc import Iterable

    Instruction = tuple[int, int, int, int]

MAX_INSTRUCTIONS = 4096
"""BPF_MAXINSNS: the kernel takes no longer program."""
LOAD, AND, JUMP, EQUAL, AT_LEAST, RETURN = 0x20, 0x54, 0x05, 0x15, 0x35, 0x06
TO_X, MINUS_X, EQUAL_X = 0x07, 0x1C, 0x1D
POINTER = 0x7234_5678_9EF0


def instructions(code: bytes) -> list[Instruction]:
    return list(iter_unpack("=HBBI", code))


def interpret(
    code: list[Instruction], arch: int, nr: int, args: Iterable[int] = (), pointer: int = POINTER
) -> int:
    """What the kernel would make of this call, made from `pointer`: a classic BPF machine over struct seccomp_data."""
    data = pack("=IIQ6Q", nr, arch, pointer, *[*args, 0, 0, 0, 0, 0, 0][:6])
    accumulator = index = 0
    position = 0
    while True:
        operation, if_true, if_false, value = code[position]
        position += 1
        if operation == LOAD:
            assert value % 4 == 0
            (accumulator,) = unpack_from("=I", data, value)
        elif operation == AND:
            accumulator &= value
        elif operation == TO_X:
            index = accumulator
        elif operation == MINUS_X:
            accumulator = accumulator - index & INT
        elif operation == EQUAL_X:
            position += if_true if accumulator == index else if_false
        elif operation == JUMP:
            position += value
        elif operation == EQUAL:
            position += if_true if accumulator == value else if_false
        elif operation == AT_LEAST:
            position += if_true if accumulator >= value else if_false
        else:
            assert operation == RETURN
            return value


def passes(when: tuple[When, ...], args: Iterable[int]) -> bool:
    """What the conditions mean, said a second time."""
    words = [*args, 0, 0, 0, 0, 0, 0]
    for test in when:
        equal = words[test.arg] & test.mask == test.value
        if test.nonzero >= 0 and not words[test.nonzero] & INT:
            continue
        if equal if test.op == "eq" else not equal:
            return True
    return not when


@pytest.fixture(scope="module")
def code() -> list[Instruction]:
    return instructions(program(RET_USER_NOTIF))


# ---------------------------------------------------------------- the program as a whole


def test_kernel_would_take_it(code: list[Instruction]) -> None:
    """Few enough instructions, jumps that stay inside, an end on every way."""
    assert len(code) <= MAX_INSTRUCTIONS
    for position, (operation, if_true, if_false, value) in enumerate(code):
        assert operation in (LOAD, AND, JUMP, EQUAL, AT_LEAST, RETURN, TO_X, MINUS_X, EQUAL_X)
        if operation in (EQUAL, AT_LEAST, EQUAL_X):
            assert position + 1 + max(if_true, if_false) < len(code)
        elif operation == JUMP:
            assert position + 1 + value < len(code)
        elif operation == LOAD:
            assert value < 64
    assert code[-1][0] == RETURN


@pytest.mark.parametrize("action", [RET_USER_NOTIF, RET_TRACE, RET_ERRNO | errno.EPERM])
def test_every_number_of_every_abi(action: int) -> None:
    """Just the declared calls get the action, whatever else is near them; those that wait, where all do."""
    code = instructions(program(action))
    table = build_table()
    for arch in {abi.audit_arch for abi in abis.ALL}:
        declared = table.get(arch, {})
        rows = {nr: row for nr, row in declared.items() if action == RET_USER_NOTIF or not row.waits}
        numbers = {*range(700), *range(abis.X32_BIT, abis.X32_BIT + 700), *declared, 0xFFFF_FFFF, 0x8000_0000, 0xF0005}
        for nr in numbers:
            when = SYSCALLS[rows[nr].name].when if nr in rows else ()
            if nr not in rows:
                assert interpret(code, arch, nr) == RET_ALLOW, (hex(arch), nr)
            elif not when:
                assert interpret(code, arch, nr) == action, (hex(arch), nr)


def interesting(when: tuple[When, ...]) -> set[int]:
    """Values of an argument on and beside the edges of the conditions."""
    edges = {0, 1, INT, 1 << 63, 1 << 32}
    for test in when:
        edges |= {test.value, test.value ^ 1, test.value - 1 & INT, test.value + 1 & INT, ~test.value & INT}
        edges |= {test.mask, test.value | 0x8000, test.value | 1 << 32}
    return edges


def test_every_condition_of_every_declaration(code: list[Instruction]) -> None:
    count = 0
    for arch, rows in build_table().items():
        for nr, row in rows.items():
            when = SYSCALLS[row.name].when
            for test in when:
                for value, other in product(interesting(when), (0x5A5A_5A5A, 0)):
                    args = [other] * 6
                    args[test.arg] = value
                    # Registers are 64 bits wide, the arguments tested 32: the upper half is no part of them.
                    low = [word & INT for word in args]
                    wanted = RET_USER_NOTIF if passes(when, low) else RET_ALLOW
                    assert interpret(code, arch, nr, args) == wanted, (row.name, test.arg, hex(value))
                    count += 1
    assert count > 100


def test_readers_calls_are_caught_whatever_their_arguments(code: list[Instruction]) -> None:
    """And those of the same numbers that are made from anywhere else are not, up to both edges."""
    low, high, top = readers.LOW << 32, readers.HIGH << 32, readers.TOP << 32
    kinds = {(readers.ARCH, nr): row.readers for nr, row in build_table()[readers.ARCH].items() if row.readers}
    for name, kind in (("open", readers.ANY), ("openat", readers.ANY), ("getdents64", readers.MARKED)):
        assert kinds[ARCH, abis.X86_64.numbers[name]] == kind
    for arch, rows in build_table().items():
        for nr, row in rows.items():
            usual = RET_USER_NOTIF if row.passes((0,) * 6) else RET_ALLOW
            reads = kinds.get((arch, nr), 0)
            for origin in (low, low + 5, high - 1):
                assert interpret(code, arch, nr, [], origin) == (RET_USER_NOTIF if reads else usual), row.name
            for origin in (0, 0x40_1000, high, 0x5555_5555_4000, top - 1):
                wanted = RET_USER_NOTIF if reads == readers.ANY else usual
                assert interpret(code, arch, nr, [], origin) == wanted, row.name
            for origin in (1 << 32, low - 1, top, 0x7FFF_F000_0000, 1 << 63):
                assert interpret(code, arch, nr, [], origin) == usual, row.name


def test_unknown_architecture_is_allowed(code: list[Instruction]) -> None:
    assert interpret(code, 0xDEAD_BEEF, abis.X86_64.numbers["setuid"]) == RET_ALLOW


# ---------------------------------------------------------------- made-up rules

ARCH, OTHER = 0xC000_003E, 0x4000_0003
CONDITIONS = st.lists(
    st.builds(
        When, st.integers(0, 5), st.sampled_from(["eq", "ne"]), st.integers(0, 15), st.sampled_from([3, 15, INT])
    ),
    max_size=3,
).map(tuple)
RULES = st.dictionaries(
    st.sampled_from([ARCH, OTHER]), st.dictionaries(st.integers(0, 40), CONDITIONS, max_size=30), max_size=2
)


@given(rules=RULES, args=st.lists(st.integers(0, 15), min_size=6, max_size=6))
def test_any_rules(rules: dict[int, dict[int, tuple[When, ...]]], args: list[int]) -> None:
    code = instructions(assemble(rules, RET_TRACE))
    for arch in (ARCH, OTHER, 5):
        for nr in range(42):
            caught = nr in rules.get(arch, {}) and passes(rules[arch][nr], args)
            assert interpret(code, arch, nr, args) == (RET_TRACE if caught else RET_ALLOW)


def test_many_conditions_reach_far() -> None:
    """More code in one architecture than a conditional jump can skip."""
    when = equals(0, *range(400))
    code = instructions(assemble({ARCH: {7: (), 300: has_bits(1, 0x40)}, OTHER: {9: ()}}, 0))
    assert interpret(code, OTHER, 9) == 0
    rules = {ARCH: {nr: equals(0, *range(20)) for nr in range(100)}, OTHER: {9: differs(0, 0)}}
    code = instructions(assemble(rules, 0))
    assert len(code) > 2000
    assert interpret(code, OTHER, 9, [1]) == 0
    assert interpret(code, OTHER, 9, [0]) == RET_ALLOW
    assert interpret(code, ARCH, 99, [19]) == 0
    assert interpret(code, ARCH, 99, [20]) == RET_ALLOW
    assert len(when) == 400


# ---------------------------------------------------------------- allowed from one place

SPARED = Spared("made-up", string=2, flags=(4, 0x1000), site=0xEF0, distance=0xFFFF_0010)

@given(
    page=st.integers(0, 1 << 35),
    site=st.sampled_from([0xEF0, 0xEF1, 0x6F0]),
    distance=st.sampled_from([-0xFFF0, -0xFFEF, 0xFFF0, -0xFFF0 + (1 << 32), -0xFFF0 - (1 << 32)]),
    flags=st.sampled_from([0x1000, 0, 0x1001, 0x1000 | 1 << 32]),
)
def test_one_call_from_one_place(page: int, site: int, distance: int, flags: int) -> None:
    """Wherever it is loaded. What lies on both sides of a multiple of 4 GB is not recognised, which harms nobody."""
    code = instructions(assemble({ARCH: {7: (), 9: ()}, OTHER: {7: ()}}, 0, spared={ARCH: {7: SPARED}}))
    pointer = (page << 12) + site
    string = pointer + distance & (1 << 64) - 1
    args = (1, 2, string, 3, flags, 5)
    far = distance & INT == -0xFFF0 & INT and string >> 32 == pointer >> 32
    same = far and (site, flags & INT) == (0xEF0, 0x1000)
    assert interpret(code, ARCH, 7, args, pointer) == (RET_ALLOW if same else 0)
    assert interpret(code, ARCH, 9, args, pointer) == 0
    assert interpret(code, OTHER, 7, args, pointer) == 0


def test_place_that_is_not_known_is_nowhere(code: list[Instruction]) -> None:
    """As it is assembled, the program lets through nothing: no instruction pointer ends in such bits."""
    numbers = abis.X86_64.numbers
    for site in range(1 << 12):
        pointer = POINTER & ~0xFFF | site
        for distance in (0xFACE_F002, 0xFACE_F004):
            string = pointer + distance & (1 << 64) - 1
            for name, args in (("newfstatat", (3, string, 0, 0x1000)), ("access", (string, 4))):
                assert interpret(code, ARCH, numbers[name], args, pointer) == RET_USER_NOTIF


# ---------------------------------------------------------------- loaded for real

LOADED = """
import os, sys
import remainroot.handlers
from remainroot import abi as abis
from remainroot.dispatch import equals
from remainroot.engines.filter import assemble, program, RET_ERRNO
from remainroot.kernel import load_filter
abi = abis.native()[0]
if sys.argv[1] == "all":
    load_filter(program(RET_ERRNO | 77))
    tries = {
        "getuid": os.getuid, "setuid": lambda: os.setuid(0), "stat": lambda: os.stat("/"),
        "read": lambda: os.read(os.open("/dev/null", os.O_RDONLY), 1), "getpid": os.getpid,
        "creat": lambda: os.open("/dev/null", os.O_WRONLY | os.O_CREAT),
        "exec": lambda: os.execv("/bin/true", ["true"]),
    }
else:
    fd = os.memfd_create("file")
    load_filter(assemble({abi.audit_arch: {abi.numbers["fchmod"]: equals(1, 0o700)}}, RET_ERRNO | 77))
    tries = {"700": lambda: os.fchmod(fd, 0o700), "600": lambda: os.fchmod(fd, 0o600)}
for name, call in tries.items():
    try:
        result = call()
    except OSError as error:
        result = error.errno
    # getuid cannot fail in C: the error is its result.
    print(name, "caught" if result in (77, 2**32 - 77) else "ran")
"""


def loaded(what: str) -> dict[str, str]:
    result = subprocess.run(
        [sys.executable, "-c", LOADED, what], capture_output=True, text=True, check=True, env=environment(), cwd=ROOT
    )
    return dict(line.split() for line in result.stdout.splitlines())


def test_the_kernel_takes_the_whole_program() -> None:
    assert loaded("all") == {
        "getuid": "caught", "setuid": "caught", "stat": "caught", "read": "ran", "getpid": "ran",
        "creat": "caught", "exec": "caught",
    }  # fmt: skip


def test_the_kernel_reads_conditions_alike() -> None:
    assert loaded("one") == {"700": "caught", "600": "ran"}


def test_no_filter_is_left_on_us() -> None:
    with open(f"/proc/{os.getpid()}/status", encoding="ascii") as file:
        assert "Seccomp:\t0\n" in file.read()
