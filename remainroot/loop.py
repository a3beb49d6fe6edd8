# SPDX-License-Identifier: GPL-2.0-or-later
"""What the compiled loop (`remainroot._fast`) knows of the world, and is told again when that has changed.

Which calls it may answer by that knowledge, the declarations say: `remainroot.quick`.
"""

from __future__ import annotations

from remainroot import readers
from remainroot.connections import is_plain
from remainroot.credentials import CAP_CHOWN, CAP_FOWNER, CAP_FSETID, CAP_MKNOD, CAP_SYS_NICE, ROOT
from remainroot.kernel import compiled
from remainroot.namespaces import INITIAL
from remainroot.quick import (
    CHMODS,
    CHOWNS,
    CREATES,
    CREATES_ANYWHERE,
    EXECUTES,
    FORKS,
    GIVES,
    GIVES_DIRECTORIES,
    GOES,
    LIMITED,
    LISTS,
    MAKES,
    NODES,
    OOM_SCORE_ADJ,
    PLAIN_PEER,
    REACHES,
    REACHES_ANYWHERE,
    SCHEDULES,
    SEES,
    SEES_ATTRIBUTES,
    SIGNALS,
    SPECIAL_NAME,
    TRUNCATES,
    UNGUARDED,
    WRITES,
    WRITTEN_NAMES,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.tasks import State
    from remainroot.world import World


def powers(state: State, *, strict: bool = False) -> int:
    """What tasks in this state may have done for them."""
    creds = state.creds
    if strict:
        from remainroot.permissions import is_powerful

        if not is_powerful(creds):
            return _guarded(state)
    found = UNGUARDED | LISTS | SEES | SEES_ATTRIBUTES | FORKS
    if creds.fsuid == creds.euid:
        found |= GOES
    if creds.capable(CAP_CHOWN):
        found |= CHOWNS | GIVES | GIVES_DIRECTORIES
    if creds.capable(CAP_FOWNER) and creds.capable(CAP_FSETID):
        found |= CHMODS | TRUNCATES | WRITES
    if creds.fsuid == 0 and creds.fsgid == 0:
        found |= _creation(state)
    if creds.capable(CAP_SYS_NICE):
        found |= SCHEDULES
    if is_plain(creds):
        found |= PLAIN_PEER
    if not state.pretences:
        found |= LIMITED
    if creds == ROOT:
        found |= REACHES | REACHES_ANYWHERE | SIGNALS
        if state.dumpable == 1:
            found |= EXECUTES
    return found


def _guarded(state: State) -> int:
    """Of tasks that the guards of `--strict` are there for: what the loop can tell that none objects to."""
    creds = state.creds
    found = LISTS | FORKS
    if not state.pretences:
        found |= LIMITED
    if creds.fsuid == creds.euid:
        found |= SEES | SEES_ATTRIBUTES | GOES
    return found


def _creation(state: State) -> int:
    """Of tasks whose new files are root's."""
    creds = state.creds
    found = MAKES
    if creds.capable(CAP_FOWNER) and creds.capable(CAP_FSETID):
        found |= CREATES | CREATES_ANYWHERE
    if creds.capable(CAP_MKNOD) and not state.confined:
        found |= NODES
    return found


def _listed(words: tuple[bytes, ...]) -> bytes:
    """Each with a NUL behind it; C adds the one that ends the list."""
    return b"".join(word + b"\0" for word in words)


class Loop:
    """The compiled loop of a listener and what keeps its knowledge up to date; only where `usable`."""

    def __init__(self, world: World, rules: bytes) -> None:
        """`rules`: as `pack_rules` makes them."""
        self._world = world
        hidden = [OTHERS if number < 0 else number for number in world.hidden_ids]
        store = world.store
        keys = compiled.Keys()
        self._complete = store.watched_by(keys)
        self._loop = compiled.Loop(
            world.tasks.tag, hidden[0], hidden[1], keys, store.table, SPECIAL_NAME, rules
        )
        refused = (OOM_SCORE_ADJ,) if "oom" in world.settings.refused else ()
        self._loop.leave_writes(_listed(tuple(name for name in WRITTEN_NAMES if name not in refused)))
        if world.marks_readers:
            self._loop.watch_for(_listed(readers.LIBRARIES), readers.PROC, _listed(readers.FILES))
        self.exchange = self._loop.exchange
        self._states = 0
        self._shared = -1 & 0xFFFF_FFFF
        self._known: tuple[object, ...] = ()
        self._mounts = 0
        self.refresh()

    def listen(self, listener: int, *, interruptible: bool) -> None:
        """Converse by this descriptor. `interruptible`: a signal interrupts calls that were received, too."""
        self._loop.listen(listener, interruptible)

    def refresh(self) -> None:
        """Take in what may have changed while a handler ran."""
        world = self._world
        tasks, store = world.tasks, world.store
        now = (
            tasks.untouched,
            tasks.mixed,
            tasks.count,
            world.files.roots_differ,
            store.empty,
            store.carried,
            store.placeholders,
            world.readable_nodes,
            store.group_directories,
            store.default_lists,
            store.no_attributes,
            world.dates is None,
            not world.births.pending,
            not world.loose_set_ids,
            not world.pdeathsigs,
            not world.connections.processes,
            world.mounts,
        )
        if now == self._known:
            return
        if self._mounts != world.mounts:
            self._mounts = world.mounts
            self._loop.forget_devices()
        self._known = now
        self._tell_states()
        empty = store.empty and store.no_attributes and world.dates is None
        differ, nodes, readable = world.files.roots_differ, store.placeholders, world.readable_nodes
        pdeathsigs = bool(world.pdeathsigs)
        self._loop.set_conditions(
            self._valid(), self._shared, tasks.untouched, differ, empty, store.carried, self._complete, nodes, readable,
            pdeathsigs,
        )  # fmt: skip

    def _tell_states(self) -> None:
        """What the states mean that are new. Of one that the loop is not told of, nobody may anything without us."""
        tasks = self._world.tasks
        for number in range(self._states, tasks.count):
            state = tasks.numbered(number)
            may = 0
            if state is not None and state.creds.namespace is INITIAL:
                creds = state.creds
                may = powers(state, strict=self._world.settings.strict)
                self._loop.set_who(number, creds.uid, creds.euid, creds.gid, creds.egid, may, state.dumpable,
                                   may & UNGUARDED == 0)  # fmt: skip
            self._shared &= may
        self._states = tasks.count

    def _valid(self) -> int:
        """The powers that count at present."""
        world = self._world
        if world.births.pending or world.settings.whole_identity or world.settings.unknown_is_real:
            return 0
        valid = -1 & 0xFFFF_FFFF & ~self._store_forbids()
        if world.real_uid or world.real_gid:
            valid &= ~CHOWNS
        if world.readable_nodes:
            valid &= ~REACHES_ANYWHERE
        if world.loose_set_ids:
            valid &= ~(TRUNCATES | CREATES_ANYWHERE | CREATES | WRITES)
        if world.tasks.mixed:
            valid &= ~FORKS
        if world.connections.processes:
            valid &= ~PLAIN_PEER  # of one that is plain root again, it must be noted
        if world.weak:
            valid &= ~(TRUNCATES | CHMODS | CREATES_ANYWHERE | CREATES | NODES)
        return valid

    def _store_forbids(self) -> int:
        """The powers that do not count, by what the store holds and how."""
        store = self._world.store
        forbidden = 0
        if store.placeholders or not store.no_attributes:
            forbidden |= TRUNCATES
        if store.placeholders:
            forbidden |= LISTS
        if store.group_directories or store.default_lists:
            forbidden |= CREATES_ANYWHERE
        if store.carried:
            writable = not store.keeps_modes
        else:
            writable = store.table is not None and not store.empty and store.no_attributes
        if not writable:
            forbidden |= GIVES | GIVES_DIRECTORIES
        if not store.group_directories:
            forbidden |= GIVES_DIRECTORIES
        if not (writable and store.placeholders):
            forbidden |= NODES  # the first one is the handler's, which has the store know that there are some
        return forbidden


OTHERS: Final = 0xFFFF_FFFF
"""No file's id."""


def usable(world: World) -> bool:
    """Whether calls may be answered without being seen here."""
    settings = world.settings
    return compiled is not None and not (settings.trace_calls or settings.stats or settings.log is not None)
