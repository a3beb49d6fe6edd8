# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules of `remainroot.credentials` against the kernel itself.

A forked child makes generated calls for real and reports errno and credentials after each; the same calls are
made on a `Credentials` that starts where the child did. REMAINROOT_EXAMPLES sets how many each test tries.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import json
import os
import resource
import signal
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from remainroot import credentials
from remainroot.credentials import ALL_CAPS, KEEP, Credentials
from remainroot.execution import execute
from remainroot.file_caps import parse_file_caps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Step = tuple[str, tuple[Any, ...]]

EXAMPLES = int(os.environ.get("REMAINROOT_EXAMPLES", "200"))
# The rules are those of 6.18; what an older kernel does otherwise is left out where the tests run on one.
LINUX = tuple(int(number) for number in os.uname().release.split("-")[0].split(".")[:2])
SOURCE = Path(__file__).parent.parent / "fixtures" / "show_credentials.c"

pytestmark = [
    pytest.mark.property,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make these calls of the kernel"),
]
bounded = settings(
    max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)

# The kernel's side

_libc = ctypes.CDLL(None, use_errno=True)
_CAPABILITY_VERSION_3 = 0x20080522


def _ids(name: str) -> Callable[..., int]:
    return lambda *ids: int(getattr(_libc, name)(*map(ctypes.c_uint32, ids)))


def _prctl(option: int, *args: int) -> int:
    return int(_libc.prctl(option, *(ctypes.c_ulong(arg) for arg in (*args, 0, 0, 0, 0)[:4])))


def _setgroups(gids: tuple[int, ...]) -> int:
    return int(_libc.setgroups(ctypes.c_size_t(len(gids)), (ctypes.c_uint32 * len(gids))(*gids)))


def _capset(effective: int, permitted: int, inheritable: int) -> int:
    sets = [(each >> shift) & 0xFFFFFFFF for shift in (0, 32) for each in (effective, permitted, inheritable)]
    return int(_libc.capset(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), struct.pack("=6I", *sets)))


KERNEL: dict[str, Callable[..., int]] = {
    **{name: _ids(name) for name in ("setuid", "setreuid", "setresuid", "setfsuid")},
    **{name: _ids(name) for name in ("setgid", "setregid", "setresgid", "setfsgid")},
    "setgroups": _setgroups,
    "capset": _capset,
    "drop_bound": lambda cap: _prctl(24, cap),
    "has_bound": lambda cap: _prctl(23, cap),
    "set_keepcaps": lambda value: _prctl(8, value),
    "set_securebits": lambda value: _prctl(28, value),
    "set_no_new_privs": lambda: _prctl(38, 1),
    "has_ambient": lambda cap: _prctl(47, 1, cap),
    "raise_ambient": lambda cap: _prctl(47, 2, cap),
    "lower_ambient": lambda cap: _prctl(47, 3, cap),
    "clear_ambient": lambda: _prctl(47, 4),
}
ANSWERS = {"has_bound", "has_ambient"}


def parse_status(text: str, securebits: int) -> Credentials:
    """Read credentials from /proc/PID/status, which lacks the securebits only."""
    lines = dict(line.split(":", 1) for line in text.splitlines())
    uids, gids, groups = ([int(word) for word in lines[name].split()] for name in ("Uid", "Gid", "Groups"))
    masks = [int(lines[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")]
    return Credentials(*uids, *gids, tuple(groups), *masks, securebits, lines["NoNewPrivs"].strip() == "1")


def real_credentials() -> Credentials:
    """Ask the kernel for this process's credentials."""
    return parse_status(Path("/proc/self/status").read_text(), _prctl(27))


def errno_of(error: OSError) -> int:
    assert error.errno is not None
    return error.errno


def perform(steps: list[Step]) -> Iterator[tuple[int, Credentials]]:
    """Make the calls for real; for each errno or 0 (or a question's answer, -errno), and what is left."""
    for name, args in steps:
        ctypes.set_errno(0)
        result = KERNEL[name](*args)
        error = ctypes.get_errno() if result == -1 and not name.startswith("setfs") else 0
        yield (-error or result) if name in ANSWERS else error, real_credentials()


def imagine(creds: Credentials, steps: list[Step]) -> Iterator[tuple[int, Credentials]]:
    """Make the calls on a value, with the same results."""
    for name, args in steps:
        result = 0
        try:
            answer = getattr(creds, name)(*args)
        except OSError as error:
            result = -errno_of(error) if name in ANSWERS else errno_of(error)
        else:
            if name in ANSWERS:
                result = int(answer)
            else:
                assert isinstance(answer, Credentials)
                assert (answer is creds) == (answer == creds)
                creds = answer
        yield result, creds


def in_child(work: Callable[[], object], *, stay: bool = False) -> tuple[str, int]:
    """Run in a fork: what it prints on descriptor 1 or returns (as JSON), and its pid (0 once it is gone)."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.dup2(write, 1)
            text = json.dumps(work())
            os.write(1, text.encode())
            status = 0
            if stay:
                os.close(1)
                os.close(write)
                signal.pause()
        except BaseException as error:  # noqa: BLE001 - the parent must see it, and this copy of pytest end here
            os.write(1, repr(error).encode())
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read) as output:
        text = output.read()
    if stay:
        return text, pid
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, text
    return text, 0


# What to call

ids = st.sampled_from([0, 0, 1, 2, 1000, 65534, 0xFFFFFFFE, KEEP])
known_ids = st.sampled_from([0, 1, 2, 1000])
# Those that decide in the rules, some that only must follow, and none that the kernel knows (41, 63).
caps = st.sampled_from([0, 1, 3, 5, 6, 7, 7, 8, 8, 9, 13, 21, 23, 27, 32, 40, 41, 63])
START = real_credentials()
masks = st.one_of(
    st.sampled_from([0, START.permitted, START.permitted & ~(1 << credentials.CAP_SETPCAP), (1 << 64) - 1]),
    st.sets(caps).map(lambda some: sum(1 << cap for cap in some)),
)
subsets = st.tuples(masks, masks, masks).map(lambda some: (some[0] & some[1], some[1], some[2] & some[1]))
# The bits for interpreters, 0x100 to 0x800, came with 6.14.
secure_bits = st.one_of(
    st.sampled_from([0, 1, 2, 4, 5, 0x10, 0x20, 0x40, 0xC0, 0x100, 0x300, 0x500, 0xFFF, 0x1000]),
    st.integers(0, 0xFFF),
).map(lambda bits: bits if LINUX >= (6, 14) else bits & ~0xF00)


def call(name: str, *args: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(name), st.tuples(*args))


steps = st.one_of(
    call("setuid", ids),
    call("setreuid", ids, ids),
    call("setresuid", ids, ids, ids),
    call("setresuid", ids, ids, ids),
    call("setfsuid", ids),
    call("setgid", ids),
    call("setregid", ids, ids),
    call("setresgid", ids, ids, ids),
    call("setfsgid", ids),
    call("setgroups", st.lists(ids, max_size=4).map(tuple)),
    call("setgroups", st.lists(known_ids, max_size=4).map(tuple)),
    call("capset", masks, masks, masks),
    subsets.map(lambda some: ("capset", some)),
    subsets.map(lambda some: ("capset", some)),
    call("drop_bound", caps),
    call("has_bound", caps),
    call("set_keepcaps", st.sampled_from([0, 1, 1, 2])),
    call("set_securebits", secure_bits),
    call("set_securebits", st.sampled_from([1, 4, 0x40])),
    call("set_no_new_privs"),
    call("has_ambient", caps),
    call("raise_ambient", caps),
    call("lower_ambient", caps),
    call("clear_ambient"),
)
# A capability gets ambient by two calls that fit; chance alone makes them rare.
ambient = caps.map(
    lambda cap: [("capset", (START.effective, START.permitted, 1 << cap)), ("raise_ambient", (cap,))]
)
# Ids that differ from one another, with no capability left to change them at will.
mixed = st.tuples(known_ids, known_ids, known_ids, known_ids, known_ids, known_ids, known_ids).map(
    lambda some: [
        ("setresgid", some[:3]),
        ("setfsgid", some[3:4]),
        ("setresuid", some[4:]),
        ("capset", (0, 0, 0)),
    ]
)
# What is inheritable and bounding, but not permitted.
poorer = caps.map(
    lambda cap: [
        ("capset", (left := START.permitted & ~(1 << cap), left, 0)),
        ("capset", (left, left, 1 << cap)),
    ]
)
nothing: st.SearchStrategy[list[Step]] = st.just([])
# What is inheritable, but no longer bounding.
lent = caps.map(
    lambda cap: [("capset", (START.effective, START.permitted, 1 << cap)), ("drop_bound", (cap,))]
)
starts = nothing | ambient | mixed | poorer | lent
sequences = st.builds(lambda first, rest: first + rest, starts, st.lists(steps, max_size=16))
secure_steps = st.one_of(
    call("set_securebits", secure_bits),
    call("set_keepcaps", st.sampled_from([0, 1, 2])),
    st.just(("capset", (0, START.permitted, 0))),
    st.just(("setresuid", (2, 1, 1))),
    ambient.map(lambda some: some[0]),
    ambient.map(lambda some: some[1]),
)
secure_sequences = st.builds(
    lambda first, rest: first + rest, nothing | ambient, st.lists(secure_steps, min_size=4, max_size=16)
)
# Few steps leave credentials that an execve changes in many ways; many steps mostly powerless ones.
short_sequences = st.builds(lambda first, rest: first + rest, starts, st.lists(steps, max_size=3))


def plain(results: Iterator[tuple[int, Credentials]]) -> list[tuple[int, list[Any]]]:
    return [(result, [*creds._fields]) for result, creds in results]


def assert_agrees(sequence: list[Step]) -> None:
    """Make the calls both ways and compare after each."""
    told, _ = in_child(lambda: plain(perform(sequence)))
    real = json.loads(told)
    imagined = json.loads(json.dumps(plain(imagine(START, sequence))))
    for at, (is_real, is_ours) in enumerate(zip(real, imagined, strict=True)):
        if is_real != is_ours:
            names = ("result", *Credentials.FIELDS)
            ours, kernel = (dict(zip(names, (each[0], *each[1]), strict=True)) for each in (is_ours, is_real))
            assert ours == kernel, sequence[max(0, at - 6) : at + 1]


@bounded
@given(sequences | secure_sequences)
def test_every_call_leaves_what_the_kernel_leaves(sequence: list[Step]) -> None:
    assert_agrees(sequence)


def every_call(names: tuple[str, ...], values: tuple[int, ...]) -> Iterator[Step]:
    for count, name in enumerate(names, start=1):
        yield from ((name, args) for args in itertools.product(values, repeat=count))


@pytest.mark.parametrize("kind", ["uid", "gid"])
@pytest.mark.parametrize("fs", [1, 2, 3, 4])
def test_every_change_of_unprivileged_ids(kind: str, fs: int) -> None:
    # Permitted, and kept over changes of uid, but not effective: so that one process can try them all.
    sequence: list[Step] = [("set_securebits", (credentials.SECBIT_NO_SETUID_FIXUP,))]
    calls = every_call((f"set{kind}", f"setre{kind}", f"setres{kind}"), (1, 2, 3, 9, KEEP))
    for step in [*calls, *every_call((f"setfs{kind}",), (1, 2, 3, 4, 9, KEEP))]:
        sequence += [
            ("capset", (START.permitted, START.permitted, 0)),
            (f"setres{kind}", (1, 2, 3)),
            (f"setfs{kind}", (fs,)),
            ("capset", (0, START.permitted, 0)),
            step,
        ]
    assert_agrees(sequence)


@pytest.mark.parametrize("state", [*itertools.product((0, 1), repeat=3)])
def test_every_way_capabilities_follow_user_ids(state: tuple[int, int, int]) -> None:
    for step in [*every_call(("setuid", "setreuid", "setresuid"), (0, 1, KEEP)), ("setfsuid", (1,))]:
        setuid = 1 << credentials.CAP_SETUID
        some = setuid | 1 << credentials.CAP_CHOWN
        arrive: list[Step] = [("setresuid", state), ("capset", (setuid, some, some)), ("raise_ambient", (0,))]
        assert_agrees([*arrive, step])
    for step in [("setuid", (1,)), ("setresuid", (1, 1, 1)), ("setreuid", (1, 1))]:
        assert_agrees([("setresuid", state), ("set_keepcaps", (1,)), ("raise_ambient", (0,)), step])


def test_what_chance_seldom_finds() -> None:
    every = START.permitted
    assert_agrees([("drop_bound", (0,)), ("capset", (every, every, 1)), ("capset", (every, every, 2))])
    assert_agrees([("set_securebits", (bits,)) for bits in (0x2, 0x0, 0x1, 0x3, 0xA, 0x2, 0x8, 0xB, 0xA)])


# Programs

REVISION_2, REVISION_3 = 0x02000000, 0x03000000


def file_caps_value(permitted: int, inheritable: int, effective: int, rootid: int | None) -> bytes:
    """Make a value of security.capability: revision 3 where there is a rootid, else 2."""
    words = [permitted & 0xFFFFFFFF, inheritable & 0xFFFFFFFF, permitted >> 32, inheritable >> 32]
    if rootid is None:
        return struct.pack("<5I", REVISION_2 | effective, *words)
    return struct.pack("<6I", REVISION_3 | effective, *words, rootid)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The fixture program, where set-id bits count."""
    path = tmp_path_factory.mktemp("exec") / "show_credentials"
    subprocess.run(["cc", "-O1", "-Wall", "-Werror", "-o", path, SOURCE], check=True)
    assert not os.statvfs(path).f_flag & os.ST_NOSUID, f"{path} is on a nosuid mount: set TMPDIR elsewhere"
    return str(path)


file_caps_values = st.builds(
    file_caps_value,
    st.just(0) | masks.map(lambda mask: mask & ALL_CAPS),
    st.just(0) | masks.map(lambda mask: mask & ALL_CAPS),
    st.integers(0, 1),
    st.sampled_from([None, None, 0, 1000]),
)


@settings(bounded)
@given(
    sequence=short_sequences | sequences,
    owner=st.tuples(st.just(0) | known_ids, known_ids),
    mode=st.sampled_from([0, 0, 0o4000, 0o2000, 0o6000]),
    value=st.one_of(st.none(), st.none(), file_caps_values),
)
def test_execve_leaves_what_the_kernel_leaves(
    program: str, sequence: list[Step], owner: tuple[int, int], mode: int, value: bytes | None
) -> None:
    creds = [START, *(left for _, left in imagine(START, sequence))][-1]
    assume(as_older_kernels_do(creds, owner, mode))
    assert_exec_agrees(program, creds, sequence, owner, mode, value)


SOME = 1 << credentials.CAP_CHOWN | 1 << credentials.CAP_KILL
CHOWN = 1 << credentials.CAP_CHOWN
USER: list[Step] = [("setresgid", (1, 1, 1)), ("setresuid", (1, 1, 1))]
LENDING: list[Step] = [("capset", (START.effective, START.permitted, SOME))]
AMBIENT: list[Step] = [
    *[*LENDING, ("set_securebits", (credentials.SECBIT_NO_SETUID_FIXUP,)), *USER],
    *[("capset", (SOME, SOME, SOME)), ("raise_ambient", (credentials.CAP_CHOWN,))],
]
BEFORE: dict[str, list[Step]] = {
    "root": [],
    "root with less": [("capset", (CHOWN, SOME, 0))],
    "root lending": [*LENDING, ("drop_bound", (credentials.CAP_CHOWN,))],
    "root as user": [("set_securebits", (credentials.SECBIT_NOROOT | credentials.SECBIT_KEEP_CAPS,))],
    "root away": [("setresgid", (KEEP, 1, KEEP)), ("setresuid", (KEEP, 1, KEEP))],
    "user": USER,
    "user with less in bounds": [("drop_bound", (credentials.CAP_KILL,)), *USER],
    "user with inheritable": [*LENDING, *USER],
    "user with ambient": AMBIENT,
    "user with securebits": [("set_securebits", (credentials.SECBIT_NOROOT,)), *USER],
    "set-user-id root": [("setresuid", (1, 0, 0)), ("capset", (CHOWN, SOME, 0))],
    "set-id": [("setresgid", (1, 2, 2)), ("setresuid", (1, 2, 2))],
    "in the group": [("setgroups", ((2,),)), *USER],
    "stranger to its group": [("setresgid", (1, 2, 2)), ("setfsgid", (3,)), ("setresuid", (1, 1, 1))],
}
FILES: list[tuple[tuple[int, int], int]] = [
    *[((0, 0), 0), ((0, 0), 0o4000), ((2, 2), 0o4000), ((2, 2), 0o2000), ((1, 1), 0o6000)]
]
VALUES = [
    *[
        None,
        file_caps_value(SOME, 0, 1, None),
        file_caps_value(SOME, 0, 0, None),
        file_caps_value(0, CHOWN, 0, 0),
    ],
    *[file_caps_value(0, 0, 1, None), file_caps_value(CHOWN, SOME, 1, 1000)],
]


@pytest.mark.parametrize("locked", [[], [("set_no_new_privs", ())]], ids=["", "no_new_privs"])
@pytest.mark.parametrize("before", BEFORE)
def test_every_kind_of_execve(program: str, before: str, locked: list[Step]) -> None:
    sequence = BEFORE[before] + locked
    creds = [START, *(left for _, left in imagine(START, sequence))][-1]
    assert all(error == 0 for error, _ in imagine(START, sequence))
    for (owner, mode), value in itertools.product(FILES, VALUES):
        if as_older_kernels_do(creds, owner, mode):
            assert_exec_agrees(program, creds, sequence, owner, mode, value)


def as_older_kernels_do(creds: Credentials, owner: tuple[int, int], mode: int) -> bool:
    """Whether the kernel here agrees: before 6.18 any effective id unlike the real one counted as changed."""
    if LINUX >= (6, 18):
        return True
    euid = owner[0] if mode & 0o4000 and not creds.no_new_privs else creds.euid
    egid = owner[1] if mode & 0o2000 and not creds.no_new_privs else creds.egid
    differs = euid != creds.uid or egid != creds.gid
    return differs == (euid != creds.euid or not creds.in_group(egid))


def assert_exec_agrees(
    program: str,
    creds: Credentials,
    sequence: list[Step],
    owner: tuple[int, int],
    mode: int,
    value: bytes | None,
) -> None:
    """Compare one execve with `creds.exec`, `creds` being what the sequence leaves."""
    os.chown(program, *owner)
    os.chmod(program, 0o755 | mode)
    if value is not None:
        os.setxattr(program, "security.capability", value)

    descriptor = os.open(program, os.O_PATH | os.O_CLOEXEC)

    def become() -> object:
        for _ in perform(sequence):
            pass
        try:
            os.execve(descriptor, ["show_credentials"], {})
        except OSError as error:
            return error.errno

    told, _ = in_child(become)
    os.close(descriptor)
    if value is not None:
        os.removexattr(program, "security.capability")

    try:
        ours = execute(creds, uid=owner[0] if mode & 0o4000 else KEEP,
            gid=owner[1] if mode & 0o2000 else KEEP,
            file_caps=None if value is None else parse_file_caps(value),
        )
    except OSError as error:
        refused: int | None = errno_of(error)
        ours = None
    else:
        refused = None
    if ours is None:
        assert told == str(refused)
        return
    assert told.startswith("Name:"), errno.errorcode[int(told)]
    lines = dict(line.split(":", 1) for line in told.splitlines())
    real = parse_status(told, int(lines["Securebits"]))
    for name in Credentials.FIELDS:
        assert (name, getattr(ours.creds, name)) == (name, getattr(real, name))
    assert ours.secure == bool(int(lines["Secure"]))


# One task acting on another


def tried(work: Callable[[], object]) -> int:
    try:
        work()
    except OSError as error:
        return errno_of(error)
    return 0


@settings(bounded, max_examples=max(1, EXAMPLES // 2))
@given(ours=short_sequences, theirs=short_sequences)
def test_permission_on_another_task_is_the_kernels(ours: list[Step], theirs: list[Step]) -> None:
    caller, target = ([START, *(left for _, left in imagine(START, each))][-1] for each in (ours, theirs))

    def wait_as_target() -> object:
        return [error for error, _ in perform(theirs)]

    def act() -> object:
        for _ in perform(ours):
            pass
        everywhere = os.sched_getaffinity(0)
        return [
            tried(lambda: os.kill(pid, 0)),
            tried(lambda: os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid))),
            tried(lambda: os.sched_setaffinity(pid, everywhere)),
            tried(lambda: resource.prlimit(pid, resource.RLIMIT_CORE)),
        ]

    _, pid = in_child(wait_as_target, stay=True)
    try:
        told, _ = in_child(act)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    allowed = [
        caller.may_signal(target),
        caller.may_set_scheduling(target),
        caller.may_set_scheduling(target),
        caller.may_set_limits(target),
    ]
    assert json.loads(told) == [0 if yes else errno.EPERM for yes in allowed]
