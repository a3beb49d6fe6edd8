# SPDX-License-Identifier: GPL-2.0-or-later
"""Who each task is.

Almost every task is plain root from start to end and is not known here at all. What differs is a `State`: an
immutable value, numbered when it is first seen. The number is written into the process itself, as its soft
RLIMIT_RTTIME (2**62 and more, no limit at all in practice), which the kernel hands on over fork, vfork, clone and
exec at the very moment of the copy. So the state of a process is read back from the kernel, whoever its parent was
and whatever became of it since; there is nothing to follow, nothing to expire, and no tid that could be reused by
another. With the number goes one that every supervisor draws for itself, so that no other's tasks are taken for ours.

The limit belongs to the process, credentials to the thread. While the threads of one process differ (a raw
setresuid, or half of glibc's broadcast), its number names a `_Mixed` record: the state of each thread by tid, and the
state of threads to come, which `cloning` puts there. A child that such a process forks inherits the number of the
record, too. What it inherits of the thread that forked it is that thread's timer slack: while threads differ, each
one's is 50 us, as everybody's, and 1 ns more than the number of its own state. So the child is known, and its children,
though all between are gone. Where the slack says nothing (a task set its own, or we lack CAP_SYS_NICE to change it) the
thread that forked is looked for when the child is first seen, and before that thread changes.

A task that makes or joins a user namespace, or has a child do so, is seen when it asks, not when it is there. So from
then on its number names a `_Parting` record, and whoever is seen to bear that is asked, by its own entry in procfs,
which namespace it is in.
"""

from __future__ import annotations

import os
from errno import ESRCH

from remainroot.credentials import ROOT, Credentials
from remainroot.kernel import RLIM_INFINITY, prlimit, same_memory
from remainroot.namespaces import INITIAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.namespaces import Namespace

RLIMIT_RTTIME: Final = 15
_LEAST_TAG: Final = 1 << 62
_NUMBER_BITS: Final = 32
_CHANCE: Final = (1 << 29) - 1
"""What may be drawn, above the bits of the number."""
DEFAULT_SLACK: Final = 50_000
"""The timer slack of every task that has not set one and is no real-time task, in ns: prctl(2), PR_SET_TIMERSLACK."""
_MOST_SLACK: Final = 2 * DEFAULT_SLACK
"""States with higher numbers are not marked: it is a slack still."""
SUID_DUMPABLE: Final = 0
"""/proc/sys/fs/suid_dumpable as it is everywhere: what changed its ids leaves no core."""


class State:
    """What a task is beyond what the kernel knows. Immutable.

    `dumpable` is prctl(PR_GET_DUMPABLE)'s answer, `rttime` the RLIMIT_RTTIME (soft, hard) the task believes to have,
    `confined` whether it has put itself under Landlock, `memory` the user namespace that it executed its program in,
    `pretences` what it was granted in words only: by name, two
    numbers (`remainroot.handlers.scheduling`, `.resource_limits`).
    """

    __slots__ = ("_key", "confined", "creds", "dumpable", "memory", "pretences", "rttime")

    def __init__(
        self,
        creds: Credentials,
        dumpable: int = 1,
        rttime: tuple[int, int] = (RLIM_INFINITY, RLIM_INFINITY),
        *,
        confined: bool = False,
        memory: Namespace = INITIAL,
        pretences: tuple[tuple[str, tuple[int, int]], ...] = (),
    ) -> None:
        self.creds = creds
        self.dumpable = dumpable
        self.rttime = rttime
        self.confined = confined
        self.memory = memory
        self.pretences = pretences
        self._key = (creds, dumpable, rttime, confined, id(memory), pretences)

    def replace(
        self,
        creds: Credentials | None = None,
        dumpable: int | None = None,
        rttime: tuple[int, int] | None = None,
        *,
        confined: bool | None = None,
        memory: Namespace | None = None,
    ) -> State:
        """The same state with these parts changed."""
        return State(
            self.creds if creds is None else creds,
            self.dumpable if dumpable is None else dumpable,
            self.rttime if rttime is None else rttime,
            confined=self.confined if confined is None else confined,
            memory=self.memory if memory is None else memory,
            pretences=self.pretences,
        )

    def pretended(self, name: str) -> tuple[int, int] | None:
        """What the task was told to have of this; None: what it really has."""
        for known, value in self.pretences:
            if known == name:
                return value
        return None

    def pretend(self, name: str, value: tuple[int, int] | None) -> State:
        """The same state with this pretence, or without it (None)."""
        rest = [pair for pair in self.pretences if pair[0] != name]
        pretences = tuple(sorted(rest if value is None else [*rest, (name, value)]))
        return State(
            self.creds, self.dumpable, self.rttime, confined=self.confined, memory=self.memory, pretences=pretences
        )

    def with_creds(self, creds: Credentials) -> State:
        """The state after a change of credentials.

        One that gains anything, or acts as another, is dumpable no more (prctl(2)).
        """
        if self.acts_as_another(creds):
            return self.replace(creds=creds, dumpable=SUID_DUMPABLE)
        return self.replace(creds=creds)

    def acts_as_another(self, creds: Credentials) -> bool:
        """Whether this change of credentials gains anything, or has the task act as another."""
        old = self.creds
        same = (old.euid, old.egid, old.fsuid, old.fsgid) == (creds.euid, creds.egid, creds.fsuid, creds.fsgid)
        return not same or bool(creds.permitted & ~old.permitted)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, State) and self._key == other._key)

    def __hash__(self) -> int:
        return hash(self._key)


PLAIN: Final = State(ROOT)
"""Root as it starts: the state of every task that never changed."""


class _Mixed:
    """A process whose threads differ: their states by tid, and the state that the next new thread will have."""

    __slots__ = ("newborn", "parting", "tgid", "threads")

    def __init__(self, tgid: int, threads: dict[int, State], newborn: State) -> None:
        self.tgid = tgid
        self.threads = threads
        self.newborn = newborn
        self.parting: tuple[int, Namespace] | None = None
        """The namespace that its children may be in, and the number of its own."""


class _Parting:
    """A process that is about to have somebody in another user namespace: itself or a child.

    `home` is the number of the namespace it was in, `outside` its state there, `inside` that of whoever is elsewhere.
    """

    __slots__ = ("home", "inside", "outside")

    def __init__(self, home: int, outside: State, inside: State) -> None:
        self.home = home
        self.outside = outside
        self.inside = inside


def user_namespace(tid: int) -> int:
    """The inode number of the user namespace of `tid`, or 0 if it is gone."""
    try:
        return os.stat(f"/proc/{tid}/ns/user").st_ino
    except OSError:
        return 0


def thread_ids(tid: int) -> list[int]:
    """The tids of the process of `tid`; empty if it is gone."""
    try:
        return [int(name) for name in os.listdir(f"/proc/{tid}/task")]
    except OSError:
        return []


def thread_group(tid: int) -> int:
    """The tgid of `tid`, or 0 if it is gone."""
    try:
        with open(f"/proc/{tid}/status", "rb") as file:
            for line in file:
                if line.startswith(b"Tgid:"):
                    return int(line[5:])
    except OSError:
        pass
    return 0


def _is_thread(tgid: int, tid: int) -> bool:
    return os.path.lexists(f"/proc/{tgid}/task/{tid}")


def parent_of(tid: int) -> int:
    """The tgid of the parent of `tid`, or 0."""
    try:
        with open(f"/proc/{tid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return 0
    return int(text[text.rindex(b")") + 2 :].split()[1])


def children_of(tid: int) -> list[int]:
    """The children that this very thread forked (or was given, where the thread that forked them is gone)."""
    try:
        with open(f"/proc/{tid}/task/{tid}/children", "rb") as file:
            return [int(number) for number in file.read().split()]
    except OSError:
        return []


def slack_of(tid: int) -> int:
    """The timer slack of `tid` in ns; 0 if we may not know."""
    try:
        with open(f"/proc/{tid}/timerslack_ns", "rb") as file:
            return int(file.read())
    except OSError:
        return 0


class Tasks:
    """The states of all supervised tasks."""

    def __init__(self) -> None:
        self.tag = _LEAST_TAG | (int.from_bytes(os.urandom(4), "little") & _CHANCE) << _NUMBER_BITS
        """What the limit of each of our tasks is more than its number."""
        self.untouched = True
        """No task was ever anything but plain root."""
        self.mixed = False
        """Some process has, or had, threads that differ."""
        self.nested = False
        """Some task asked for a user namespace."""
        self.spaces: dict[int, Namespace] = {}
        """Those that somebody was seen in, by inode number."""
        self._numbers: dict[State | _Mixed | _Parting, int] = {PLAIN: 0}
        self._divided: dict[int, _Mixed] = {}
        self._named: list[State | _Mixed | _Parting] = [PLAIN]

    @property
    def count(self) -> int:
        """How many numbers have been given out."""
        return len(self._named)

    def numbered(self, number: int) -> State | None:
        """The state of this number, or None if it takes a look at the thread to tell."""
        named = self._named[number]
        return named if isinstance(named, State) else None

    def state(self, tid: int) -> State:
        """What `tid` is now. A task that died meanwhile is plain root: nobody will see the answer."""
        if self.untouched:
            return PLAIN
        try:
            number = prlimit(tid, RLIMIT_RTTIME)[0] - self.tag
        except OSError:
            return PLAIN
        if number < 0:
            return PLAIN
        try:
            named = self._named[number]
        except IndexError:
            return PLAIN
        if isinstance(named, State):
            return named
        return self._parted(named, tid) if isinstance(named, _Parting) else self._in_mixed(named, tid)

    def _in_mixed(self, mixed: _Mixed, tid: int) -> State:
        """What `tid` is, whose number names `mixed`: one of its threads, a new one, or a child that it forked."""
        state = mixed.threads.get(tid)
        inside = _is_thread(mixed.tgid, tid)
        if state is not None and inside:  # the number may be a later process'
            return state
        marked = self.marked(tid)
        if inside:
            state = mixed.threads[tid] = marked or mixed.newborn
            return state
        state = marked or self._forker(mixed, tid)
        if mixed.parting is not None:
            home, namespace = mixed.parting
            number = user_namespace(tid)
            if number not in (home, 0):
                self.spaces[number] = namespace
                state = state.replace(creds=state.creds.enter(namespace))
        try:
            self._tag(tid, state)
            self._mark(tid, None)
        except OSError:
            pass  # gone
        return state

    def _parted(self, parting: _Parting, tid: int) -> State:
        """What `tid` is, whose number names `parting`. Who is still at home may be on its way."""
        number = user_namespace(tid)
        if number in (parting.home, 0):
            return parting.outside
        self.spaces[number] = parting.inside.creds.namespace
        try:
            self._tag(tid, parting.inside)
        except OSError:
            pass  # gone
        return parting.inside

    def depart(self, tid: int, namespace: Namespace) -> None:
        """`tid` asks to be, or to have a child, in this user namespace: unshare(2), clone(2), setns(2)."""
        self.nested = True
        self.untouched = False
        home = user_namespace(tid)
        named = self._named_by(tid)
        if isinstance(named, _Mixed):
            named.parting = home, namespace
            return
        state = self.state(tid)
        self._tag(tid, _Parting(home, state, state.replace(creds=state.creds.enter(namespace))))

    def arrive(self, tid: int) -> None:
        """`tid` makes a call: if it is its process' only thread, its parting is over."""
        named = self._named_by(tid)
        if isinstance(named, _Parting) and len(thread_ids(tid)) == 1:
            self._tag(tid, self._parted(named, tid))

    def marked(self, tid: int) -> State | None:
        """The state whose number the timer slack of `tid` bears, or None if it bears none."""
        number = slack_of(tid) - DEFAULT_SLACK - 1
        return self.numbered(number) if 0 <= number < len(self._named) else None

    def _mark(self, tid: int, state: State | None) -> None:
        """Let the timer slack of thread `tid`, if it is a usual one, bear the number of `state`, or none."""
        slack = slack_of(tid)
        if not DEFAULT_SLACK <= slack < _MOST_SLACK:
            return
        wanted = DEFAULT_SLACK if state is None else DEFAULT_SLACK + 1 + self._number(state)
        if wanted == slack or wanted >= _MOST_SLACK:
            return
        try:
            with open(f"/proc/{tid}/timerslack_ns", "wb", buffering=0) as file:
                file.write(b"%d" % wanted)
        except OSError:
            pass  # gone, or we have not CAP_SYS_NICE

    @staticmethod
    def _forker(mixed: _Mixed, tid: int) -> State:
        """The state of the thread of `mixed` that `tid` descends from; the first thread's, if that cannot be told."""
        child = thread_group(tid)
        while child:
            parent = parent_of(child)
            if parent == mixed.tgid:
                for thread, state in mixed.threads.items():
                    if child in children_of(thread):
                        return state
            child = 0 if parent in (1, os.getpid()) else parent
        return mixed.threads.get(mixed.tgid, mixed.newborn)

    def _settle_children(self, mixed: _Mixed) -> None:
        """Give the descendants that carry the number of `mixed` one of their own, before what it names changes."""
        # An orphan is a child of ours.
        todo = [child for thread in (*mixed.threads, os.getpid()) for child in children_of(thread)]
        while todo:
            child = todo.pop()
            try:
                if self._named_by(child) is not mixed:
                    continue
                todo += [grandchild for thread in thread_ids(child) for grandchild in children_of(thread)]
                if child != mixed.tgid:
                    self._in_mixed(mixed, child)
            except OSError:
                continue

    def _named_by(self, tid: int) -> State | _Mixed | _Parting:
        number = prlimit(tid, RLIMIT_RTTIME)[0] - self.tag
        return self._named[number] if 0 <= number < len(self._named) else PLAIN

    def _tag(self, tid: int, named: State | _Mixed | _Parting) -> None:
        """Write the number of `named` into the process of `tid`."""
        prlimit(tid, RLIMIT_RTTIME, (self.tag + self._number(named), RLIM_INFINITY))

    def _number(self, named: State | _Mixed | _Parting) -> int:
        number = self._numbers.get(named, -1)
        if number < 0:
            number = self._numbers[named] = len(self._named)
            self._named.append(named)
        return number

    def set(self, tid: int, state: State) -> None:
        """`tid` is `state` from now on.

        The other threads of its process stay what they are. OSError(ESRCH) if it is gone.
        """
        self.untouched = False
        threads = thread_ids(tid)
        if not threads:
            raise OSError(ESRCH, os.strerror(ESRCH))
        dumpable = state.dumpable
        if dumpable != self.state(tid).dumpable:
            self._share_dumpable(tid, dumpable)
        if len(threads) == 1:
            self._tag(tid, state)
            return
        named = self._named_by(tid)
        if isinstance(named, _Mixed) and named.tgid in threads:
            self._settle_children(named)
            old, rest = named.threads, named.newborn
        else:
            old, rest = {}, self.state(tid)
        # Dumpable and the limit belong to the process.
        whole = state.dumpable, state.rttime
        now = {
            thread: (self._in_mixed(named, thread) if old else rest).replace(None, *whole)  # type: ignore[arg-type]
            for thread in threads
        }
        now[tid] = state
        alike = all(other == state for other in now.values())
        if alike:  # before the marks go: who forks meanwhile must not hand on the record alone
            self._tag(tid, state)
        for thread, its in now.items():
            if alike or its != old.get(thread):
                self._mark(thread, None if alike else its)
        if alike:
            return
        if old:
            named.threads = now  # type: ignore[union-attr]
        else:
            self.mixed = True
            mixed = self._divide(thread_group(tid), now, state)
            mixed.parting = (named.home, named.inside.creds.namespace) if isinstance(named, _Parting) else None
            self._tag(tid, mixed)

    def _divide(self, tgid: int, threads: dict[int, State], newborn: State) -> _Mixed:
        """The record of a process whose threads come to differ; the one it had before, or another of its number had."""
        mixed = self._divided.get(tgid)
        if mixed is None:
            mixed = self._divided[tgid] = _Mixed(tgid, threads, newborn)
        else:
            self._settle_children(mixed)
            mixed.threads, mixed.newborn = threads, newborn
        return mixed

    def _share_dumpable(self, tid: int, dumpable: int) -> None:
        """Dumpable belongs to the memory: a parent that lent its own (vfork) has the same value."""
        parent = parent_of(tid)
        if parent and same_memory(tid, parent):
            self._tag(parent, self.state(parent).replace(dumpable=dumpable))

    def set_process(self, tid: int, state: State) -> None:
        """Every thread of the process of `tid` is `state` from now on (exec leaves only one)."""
        self.untouched = False
        if self.mixed:
            named = self._named_by(tid)
            if isinstance(named, _Mixed):
                self._settle_children(named)
                self._mark(tid, None)
        self._tag(tid, state)

    def supervises(self, tid: int) -> bool:
        """Whether `tid` is one of ours: every task of the tree bears a number, nobody else does."""
        try:
            return prlimit(tid, RLIMIT_RTTIME)[0] >> _NUMBER_BITS == self.tag >> _NUMBER_BITS
        except OSError:
            return False

    def is_mixed(self, tid: int) -> bool:
        """Whether the threads of the process of `tid` differ (exec ends that: the one that calls it remains)."""
        return self.mixed and isinstance(self._named_by(tid), _Mixed)

    def cloning(self, tid: int) -> None:
        """`tid` is about to make a thread: where the threads of its process differ, the new one is what `tid` is."""
        if not self.mixed:
            return
        named = self._named_by(tid)
        if isinstance(named, _Mixed):
            state = self._in_mixed(named, tid)
            if _is_thread(named.tgid, tid):
                named.threads = {thread: self._in_mixed(named, thread) for thread in thread_ids(tid)}
                named.newborn = state

    def start(self, tid: int, state: State) -> None:
        """CMD's process starts as `state`."""
        if state != PLAIN:
            self.untouched = False
        self._tag(tid, state)
