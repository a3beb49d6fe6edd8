# SPDX-License-Identifier: GPL-2.0-or-later
"""One declaration per syscall: what a handler is given, what it may answer, and the table made of all of them.

A handler is a function `Call -> Outcome` declared with `@handles(...)`. The seccomp filter, the numbers of each ABI,
the names in logs and the table in the documents are derived from these declarations and from nothing else.
"""

from __future__ import annotations

import os
from errno import ESRCH

from remainroot import abi as abis
from remainroot.kernel import EXHAUSTED, read_memory, read_string, write_memory
from remainroot.newer import is_newer
from remainroot.outcomes import (
    CONTINUE,
    DONE,
    Attend,
    Continue,
    Exec,
    Fail,
    InstallFd,
    Instead,
    Lend,
    Letter,
    Outcome,
    Pair,
    Post,
    Replace,
    Return,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from remainroot.abi import Abi
    from remainroot.credentials import Credentials
    from remainroot.quick import Quick
    from remainroot.tasks import State
    from remainroot.world import World

    Handler = Callable[["Call"], "Outcome"]
    Guard = Callable[["Call"], None]

__all__ = [
    "CONTINUE",
    "DONE",
    "Attend",
    "Continue",
    "Exec",
    "Fail",
    "InstallFd",
    "Instead",
    "Lend",
    "Letter",
    "Outcome",
    "Pair",
    "Post",
    "Replace",
    "Return",
]
"""What handlers find here besides what is defined here: the outcomes."""


# ---------------------------------------------------------------- conditions the filter can test


class When:
    """A test on one argument's register that the filter makes in the kernel: only calls that pass reach the handler.

    `op` is "eq" or "ne"; the argument is masked with `mask` before it is compared with `value`. The argument `nonzero`
    (-1: none) must not be 0, either.
    """

    __slots__ = ("arg", "mask", "nonzero", "op", "value")

    def __init__(self, arg: int, op: str, value: int, mask: int, nonzero: int = -1) -> None:
        self.arg = arg
        self.op = op
        self.value = value
        self.mask = mask
        self.nonzero = nonzero

    def passes(self, args: tuple[int, ...]) -> bool:
        """The test itself, of a call's arguments."""
        if self.nonzero >= 0 and not args[self.nonzero] & INT:
            return False
        return (args[self.arg] & self.mask == self.value) == (self.op == "eq")


def meets(when: tuple[When, ...], args: tuple[int, ...]) -> bool:
    """Whether a call with these arguments passes one of the tests (or there are none)."""
    for test in when:
        if test.passes(args):
            return True
    return not when


INT = 0xFFFF_FFFF


def equals(arg: int, *values: int) -> tuple[When, ...]:
    """The int argument `arg` is one of `values`."""
    return tuple(When(arg, "eq", value, INT) for value in values)


def has_bits(arg: int, *bits: int) -> tuple[When, ...]:
    """All bits of one of `bits` are set in the argument `arg`."""
    return tuple(When(arg, "eq", bit, bit) for bit in bits)


def differs(arg: int, value: int) -> tuple[When, ...]:
    """The int argument `arg` is not `value`."""
    return (When(arg, "ne", value, INT),)


# ---------------------------------------------------------------- the table


class Syscall:
    """One declared syscall.

    Its kernel name, its handler, when the filter lets it through (any of `when`; empty: always), when it needs no
    handler (`remainroot.quick`; None: never), and when it may be said to have succeeded with nobody there to answer
    (any of `blind`; empty: always; None: never). `readers`: which of those whom `remainroot.readers` knows have
    each such call seen (0: none). `waits`: it is caught only where calls wait for us in the kernel, and not in a stop.
    `strictly`: with `--strict` each is the handler's, but for those that this lets through (None: no more than
    without). Not `lax`: it is caught with that option only. `guarded`: a guard stands before the
    handler.
    """

    __slots__ = ("blind", "guarded", "handler", "lax", "name", "quick", "readers", "strictly", "waits", "when")

    def __init__(
        self,
        name: str,
        handler: Handler,
        when: tuple[When, ...],
        quick: Quick | None,
        blind: tuple[When, ...] | None,
        *,
        readers: int = 0,
        waits: bool = False,
        strictly: Quick | None = None,
        lax: bool = True,
        guarded: bool = False,
    ) -> None:
        self.guarded = guarded
        self.lax = lax
        self.readers = readers
        self.strictly = strictly
        self.waits = waits
        self.name = name
        self.handler = handler
        self.when = when
        self.quick = quick
        self.blind = blind

    def passes(self, args: tuple[int, ...]) -> bool:
        """Whether a call with these arguments is the handler's."""
        return meets(self.when, args)


ALWAYS: Final[tuple[When, ...]] = ()
"""No condition: for `when` and `blind`."""

SYSCALLS: Final[dict[str, Syscall]] = {}
"""Every declared syscall by kernel name; filled when `remainroot.handlers` is imported (`declare`)."""


def handles(
    *names: str,
    when: tuple[When, ...] = (),
    quick: Quick | None = None,
    blind: tuple[When, ...] | None = None,
    readers: int = 0,
    waits: bool = False,
    strictly: Quick | None = None,
    lax: bool = True,
) -> Callable[[Handler], Handler]:
    """Declare the decorated function the handler of the syscalls `names` (kernel names, of any ABI).

    A name that no ABI knows, or that is declared twice, is an error at import.
    """

    def declare(handler: Handler) -> Handler:
        for name in names:
            if name in SYSCALLS:
                raise ValueError(f"syscall {name} is declared twice")
            if not abis.known(name):
                raise ValueError(f"syscall {name} is in no ABI's table")
            SYSCALLS[name] = Syscall(
                name, handler, when, quick, blind, readers=readers, waits=waits, strictly=strictly, lax=lax
            )
        return handler

    return declare


class Refused(Exception):  # noqa: N818  # no error of ours: the task's answer
    """A guard's objection: the call fails with `errno`."""

    def __init__(self, errno: int) -> None:
        super().__init__(errno)
        self.errno = errno


class Settled(Exception):  # noqa: N818  # the same
    """A guard has seen to the call itself: it returns `value`."""

    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.value = value


GUARDS: Final[dict[str, Guard]] = {}
"""What `--strict` asks before the handler, by kernel name; without that option no guard exists."""
GUARDED_WHEN: Final[dict[str, tuple[When, ...]]] = {}
"""Which of these calls are the guard's: any that passes one of the tests, or all."""
GUARDED_QUICKLY: Final[dict[str, Quick]] = {}
"""When calls that no handler is there for need not be asked about, where that is not for root alone."""


def guards(*names: str, when: tuple[When, ...] = (), quick: Quick | None = None) -> Callable[[Guard], Guard]:
    """Declare the decorated function the guard of the syscalls `names`.

    It raises Refused where real credentials like the caller's would not do; an OSError means that the kernel will say
    what is wrong, Settled that nothing is left to do. With `--strict` such a call is caught if one of `when` passes
    (empty: always), be it handled otherwise or not.
    """

    def declare(guard: Guard) -> Guard:
        for name in names:
            if name in GUARDS:
                raise ValueError(f"syscall {name} is guarded twice")
            if not abis.known(name):
                raise ValueError(f"syscall {name} is in no ABI's table")
            GUARDS[name] = guard
            GUARDED_WHEN[name] = when
            if quick is not None:
                GUARDED_QUICKLY[name] = quick
        return guard

    return declare


OTHERWISE: Final[dict[str, tuple[Handler, int, int]]] = {}
"""What answers calls that are caught for their guard alone, and their arguments with a path and a descriptor."""


def otherwise(name: str, *, path: int, dirfd: int = -1) -> Callable[[Handler], Handler]:
    """Declare what answers calls of the syscall `name` that its handler is not for, where `--strict` catches them.

    It is for files on procfs only: of others it has nothing to say but CONTINUE, and need not be asked. `path` and
    `dirfd` are the arguments that say which file.
    """

    def declare(handler: Handler) -> Handler:
        OTHERWISE[name] = handler, path, dirfd
        return handler

    return declare


def _guarded(name: str, syscall: Syscall | None) -> Syscall:
    """The syscall as it is declared (None: it is not), behind its guard."""
    from remainroot.permissions import is_powerful
    from remainroot.quick import open_to_read, unguarded

    guard, guarded = GUARDS[name], GUARDED_WHEN[name]
    rest, path, dirfd = OTHERWISE.get(name, (None, -1, -1))
    when = guarded
    if syscall is None:
        quick: Quick | None = GUARDED_QUICKLY.get(name) or unguarded()
    elif not syscall.when:
        quick, when = syscall.quick, ()
    elif guarded:  # a call that is the guard's alone needs nothing else of those whom it never refuses
        quick, when = syscall.quick, syscall.when + guarded
    else:  # what the filter let pass is let pass, if that is tested by one argument's bits
        tests = {(test.arg, test.op, test.value == test.mask) for test in syscall.when}
        bits = 0
        for test in syscall.when:
            bits |= test.value
        argument = syscall.when[0].arg
        quick = open_to_read(argument, bits, path, dirfd) if tests == {(argument, "eq", True)} else None

    def handler(call: Call) -> Outcome:
        if not call.world.tasks.untouched and meets(guarded, call.args) and not is_powerful(call.creds):
            try:
                guard(call)
            except Refused as refusal:
                return Fail(refusal.errno)
            except Settled as settled:
                return Return(settled.value)
            except OSError as error:
                if error.errno in EXHAUSTED:  # it was not judged: whatever it is, it cannot be done now
                    return Fail(error.errno)
        if syscall is not None and syscall.passes(call.args):
            return syscall.handler(call)
        return CONTINUE if rest is None else rest(call)

    return Syscall(name, handler, when, quick, None, guarded=True)


def _strictly() -> dict[str, Syscall]:
    """What is another row with `--strict` than without."""
    every = {
        name: Syscall(name, syscall.handler, ALWAYS, syscall.strictly, syscall.blind)
        for name, syscall in SYSCALLS.items()
        if syscall.strictly is not None
    }
    return every | {name: _guarded(name, every.get(name, SYSCALLS.get(name))) for name in GUARDS}


class Row:
    """A declared syscall as one ABI knows it: what dispatch finds by number."""

    __slots__ = ("abi", "guarded", "handler", "name", "newer", "nr", "quick", "readers", "short_ids", "waits", "when")

    def __init__(self, abi: Abi, nr: int, syscall: Syscall) -> None:
        self.abi = abi
        self.nr = nr
        self.name = syscall.name
        self.guarded = syscall.guarded
        self.newer = is_newer(nr)
        self.handler = syscall.handler
        self.quick = syscall.quick
        self.short_ids = syscall.name in abi.short_ids
        self.when = syscall.when
        self.readers = syscall.readers
        self.waits = syscall.waits

    def passes(self, args: tuple[int, ...]) -> bool:
        """Whether the filter lets the call with these arguments through to the handler."""
        return meets(self.when, args)


def declare(*, strict: bool = False) -> None:
    """Import all declarations; `strict`: the guards, too. By name, for they stand on top of this module."""
    for name in ("handlers", "handlers.every_guard") if strict else ("handlers",):
        __import__(f"remainroot.{name}")


_TABLES: Final[dict[bool, dict[int, dict[int, Row]]]] = {}


def build_table(*, strict: bool = False) -> dict[int, dict[int, Row]]:
    """Rows by audit architecture and syscall number, for every ABI this machine runs; made once.

    `strict`: with guards, which are not to be found anywhere else.
    """
    table = _TABLES.get(strict)
    if table is not None:
        return table
    declare(strict=strict)
    table = {}
    if strict:
        declared = SYSCALLS | _strictly()
    else:
        declared = {name: syscall for name, syscall in SYSCALLS.items() if syscall.lax}
    for abi in abis.native():
        rows = table.setdefault(abi.audit_arch, {})
        for name, syscall in declared.items():
            nr = abi.numbers.get(name)
            if nr is not None:
                rows[nr] = Row(abi, nr, syscall)
    _TABLES[strict] = table
    return table


# ---------------------------------------------------------------- the call


class Call:
    """One intercepted syscall of one task, as a handler sees it.

    `tid` is the task's number in the supervisor's pid namespace, `args` the six argument registers. Memory accessors
    raise OSError (EFAULT for a bad address, ESRCH for a task that died meanwhile); an OSError that leaves a handler
    is the call's errno.
    """

    __slots__ = ("abi", "args", "name", "short_ids", "tid", "world")

    def __init__(self, world: World) -> None:
        self.world = world
        self.tid = 0
        self.args: tuple[int, ...] = ()
        self.abi: Abi = abis.native()[0]
        self.name = ""
        self.short_ids = False

    @property
    def state(self) -> State:
        """What the task is: credentials and the per-process values kept with them."""
        return self.world.tasks.state(self.tid)

    @state.setter
    def state(self, state: State) -> None:
        self.check()
        self.world.tasks.set(self.tid, state)

    @property
    def creds(self) -> Credentials:
        """The task's fake credentials."""
        return self.world.tasks.state(self.tid).creds

    @creds.setter
    def creds(self, creds: Credentials) -> None:
        tasks = self.world.tasks
        old = tasks.state(self.tid)
        if creds is not old.creds:
            self.check()
            tasks.set(self.tid, old.with_creds(creds))
            pdeathsigs = self.world.pdeathsigs
            if pdeathsigs and self.tid in pdeathsigs and old.acts_as_another(creds):
                pdeathsigs[self.tid] = True
            if self.world.waiters.calls:
                self.world.waiters.recall()

    # -- arguments

    def id(self, index: int) -> int:
        """A uid_t or gid_t argument; the 16-bit calls' -1 becomes the 32-bit one, as the kernel widens it."""
        value = self.args[index]
        if self.short_ids:
            value &= 0xFFFF
            return 0xFFFF_FFFF if value == 0xFFFF else value
        return value & 0xFFFF_FFFF

    def signed(self, index: int) -> int:
        """A C int argument, signed."""
        value = self.args[index] & 0xFFFF_FFFF
        return value - 0x1_0000_0000 if value & 0x8000_0000 else value

    def unsigned(self, index: int) -> int:
        """A C unsigned int argument."""
        return self.args[index] & 0xFFFF_FFFF

    def ptr(self, index: int) -> int:
        """A pointer or unsigned long argument."""
        return self.args[index] & self.abi.word_mask

    def check(self) -> None:
        """OSError(ESRCH) if the task died meanwhile.

        Its number may be another's, so nothing may be done in its name any more.
        """
        if self.world.vanished():
            raise OSError(ESRCH, os.strerror(ESRCH))

    # -- memory

    def read(self, address: int, size: int) -> bytes:
        """Exactly `size` bytes of the task's memory, or OSError(EFAULT)."""
        return read_memory(self.tid, address, size)

    def write(self, address: int, data: bytes) -> None:
        """Write all of `data` to the task's memory, or OSError(EFAULT)."""
        self.check()
        write_memory(self.tid, address, data)

    def path(self, index: int) -> bytes:
        """The path whose address is argument `index`.

        OSError(EFAULT) or OSError(ENAMETOOLONG) as getname() in the kernel.
        """
        return read_string(self.tid, self.args[index] & self.abi.word_mask)
