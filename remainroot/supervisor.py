# SPDX-License-Identifier: GPL-2.0-or-later
"""Joins the table of handlers, the world and an engine; answers each call."""

from __future__ import annotations

import _thread
import errno
import gc
import os
from time import sleep

from remainroot.credentials import user
from remainroot.errors import RemainrootError
from remainroot.kernel import PR_REMAINROOT, REMAINROOT_ANSWER, prctl
from remainroot.outcomes import CONTINUE, Fail
from remainroot.store.choice import import_store, open_store
from remainroot.tasks import PLAIN, State
from remainroot.world import World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, NoReturn

    from remainroot.dispatch import Call, Row
    from remainroot.engines.base import Answer, Engine, Watcher
    from remainroot.outcomes import Outcome
    from remainroot.settings import Settings
    from remainroot.store.base import Store

ENGINES: Final = ("notify", "trace", "ptrace")
"""The engines `auto` tries, in this order."""
_SHORT: Final = 0.05
"""How long a short CMD runs, in seconds."""


def joined() -> bool:
    """Whether an outer remainroot already answers for this process."""
    try:
        return prctl(PR_REMAINROOT) == REMAINROOT_ANSWER
    except OSError:
        return False


def engine_class(name: str) -> type[Engine]:
    """The engine of this name; imports only that one."""
    if name == "notify":
        from remainroot.engines.notify import NotifyEngine

        return NotifyEngine
    from remainroot.engines.trace import PtraceEngine, TraceEngine

    return TraceEngine if name == "trace" else PtraceEngine


def prepare(settings: Settings) -> None:
    """Import what `supervise` will need: before the fork, after which each page that an import touches is copied."""
    engine_class(ENGINES[0] if settings.engine == "auto" else settings.engine)
    import_store(settings.store, lasting=settings.outer is None and not settings.load and not settings.save)


def start_engine(
    settings: Settings,
    make: Callable[[type[Engine]], Engine],
    become: Callable[[], NoReturn],
    equip: Callable[[Engine], None],
) -> tuple[Engine, int]:
    """Start CMD under the engine asked for, or the first that works here; the engine and CMD's pid.

    `equip` is called of each engine that is tried, while CMD's process prepares itself. RemainrootError if none works,
    saying why of each.
    """
    names = ENGINES if settings.engine == "auto" else (settings.engine,)
    reasons: list[str] = []
    for name in names:
        kind = engine_class(name)
        reason = None if kind.spawn_tells else kind.unavailable()
        if reason is None:
            engine = make(kind)
            pid, reason = _start(engine, become, equip)
            if reason is None:
                if settings.log is not None:
                    settings.log.info("engine", name=name, passed_over=reasons)
                return engine, pid
        reasons.append(f"{name}: {reason}")
    asked = "no engine works here" if settings.engine == "auto" else "the engine asked for does not work here"
    raise RemainrootError(f"{asked}: {'; '.join(reasons)}; try another --engine, or a container that allows one")


def _start(
    engine: Engine, become: Callable[[], NoReturn], equip: Callable[[Engine], None]
) -> tuple[int, str | None]:
    """CMD's pid; and why the engine does not work here after all, if it does not."""
    try:
        pid = engine.spawn(become)
    except OSError as error:
        return 0, str(error.strerror)
    equip(engine)
    try:
        engine.catch()
    except OSError as error:
        return 0, str(error.strerror)
    return pid, None


def make_store(settings: Settings) -> Store:
    """The store that the options name.

    By default owners last, but where we made the namespace ourselves they go with us, as fakeroot's do.
    """
    if settings.load or settings.save:
        from remainroot.store.fakeroot_file import FakerootStore

        store = FakerootStore(settings.save)
        if settings.load and os.path.lexists(settings.load):
            store.load(settings.load)
        elif settings.load:
            text = f"remainroot: {settings.load} does not exist: no owners to load\n"
            os.write(2, text.encode(errors="surrogateescape"))
        return store
    return open_store(settings.store, lasting=settings.outer is None, whole_identity=settings.whole_identity)


class _Saving:
    """A watcher that has the store saved when CMD ends, before anybody hears of it."""

    def __init__(self, watcher: Watcher, store: Store) -> None:
        self.stopped = watcher.stopped
        self.continued = watcher.continued
        self._ended = watcher.ended
        self._store = store

    def ended(self, status: int) -> None:
        """CMD ended."""
        self._store.save()
        self._ended(status)


class Supervisor:
    """Answers calls: finds the row, fills the Call, runs the handler."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.world = World(settings, make_store(settings))
        self.table: dict[int, dict[int, Row]] = {}
        """Empty until `load`."""
        self.call: Call

    def load(self) -> None:
        """Import the handlers: when the first call is theirs, or a moment after CMD was started, and only once.

        A short CMD has all its calls answered by the compiled loop. A long one might replace our own files.
        """
        if self.table:
            return
        from remainroot.dispatch import Call, build_table

        self.call = Call(self.world)
        self.table = build_table(strict=self.settings.strict)
        gc.freeze()

    def load_soon(self) -> None:
        """For a thread of its own: `load`, once CMD is no short one any more."""
        sleep(_SHORT)
        self.load()

    def answer(self, tid: int, arch: int, nr: int, args: tuple[int, ...]) -> Outcome:
        """The outcome of one call.

        Whatever a handler raises, the task is answered: an OSError is the call's errno, else EIO.
        """
        if not self.table:
            self.load()
        try:
            row = self.table[arch][nr]
        except KeyError:
            return CONTINUE
        if row.newer and self._lacks(nr):
            return CONTINUE
        call = self.call
        call.tid = tid
        call.args = args
        call.abi = row.abi
        call.name = row.name
        call.short_ids = row.short_ids
        try:
            if self.world.births.pending:
                self.world.births.settle(tid)
            if self.world.tasks.nested:
                self.world.tasks.arrive(tid)
                if self.world.id_maps is not None:
                    self.world.id_maps.settle()
            outcome = row.handler(call)
            return self._ended_pdeathsig(outcome) if self.world.pdeathsigs else outcome
        except OSError as error:
            return Fail(error.errno or errno.EIO)
        except Exception as error:  # noqa: BLE001  # a fault of ours must not hang the task
            self._fault(error)
            return Fail(errno.EIO)

    @staticmethod
    def _lacks(nr: int) -> bool:
        from remainroot.newer import is_missing

        return is_missing(nr)

    def _ended_pdeathsig(self, outcome: Outcome) -> Outcome:
        from remainroot.handlers.process_control import end_pdeathsig

        return end_pdeathsig(self.call, outcome)

    def _fault(self, error: Exception) -> None:
        """Say on stderr that a handler failed, and where."""
        call = self.call
        trace = error.__traceback__
        where = ""
        while trace is not None:
            where = f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"
            trace = trace.tb_next
        what = f"{call.name} of task {call.tid}"
        text = f"remainroot: {what} failed inside remainroot ({where}: {error!r}); answered EIO\n"
        try:
            os.write(2, text.encode(errors="replace"))
        except OSError:
            pass
        if self.settings.log is not None:
            self.settings.log.error("handler failed", syscall=call.name, tid=call.tid, where=where, cause=repr(error))

    def answerer(self) -> Answer:
        """`answer`, wrapped in what was asked for: each call logged, counted and timed. Nothing where nothing was."""
        if not (self.settings.trace_calls or self.settings.stats or self.settings.log is not None):
            return self.answer
        self.load()
        from remainroot.observe import Observer

        self.observer = Observer(self)
        return self.observer.answer

    def initial_state(self) -> State:
        """What CMD starts as: root, or the user given by --user."""
        settings = self.settings
        if settings.uid == 0 and settings.gid == 0 and not settings.groups:
            return PLAIN
        if settings.uid == 0:
            return State(PLAIN.creds.setgroups(settings.groups).setresgid(settings.gid, settings.gid, settings.gid))
        return State(user(settings.uid, settings.gid, settings.groups))


def supervise(
    settings: Settings,
    watcher: Watcher,
    become: Callable[[], NoReturn],
    started: Callable[[int], None],
    *,
    fork: Callable[[], int] | None = None,
) -> None:
    """Choose the engine, start CMD (its process runs `become`), call `started(pid)`, serve until the last task is gone.

    `fork` makes CMD's process where that is to have other namespaces than this one. Raises RemainrootError before
    CMD is started if no engine works.
    """
    service: tuple[Supervisor, Answer, Watcher] | None = None
    go_read, go = os.pipe2(os.O_CLOEXEC)

    def begin() -> NoReturn:
        os.close(go)
        if os.read(go_read, 1):  # else the supervisor has ended
            os.close(go_read)
            become()
        os._exit(125)

    def make(kind: type[Engine]) -> Engine:
        engine = kind(settings)
        engine.fork = fork or os.fork
        return engine

    def equip(engine: Engine) -> None:
        nonlocal service
        if service is None:
            supervisor = Supervisor(settings)
            supervisor.world.files.roots_differ = fork is not None
            saving = _Saving(watcher, supervisor.world.store) if settings.save else watcher
            service = supervisor, supervisor.answerer(), saving
        supervisor, answer, told = service
        engine.equip(supervisor.world, answer, told)

    engine, pid = start_engine(settings, make, begin, equip)
    assert service is not None
    supervisor = service[0]
    os.close(go_read)
    try:
        supervisor.world.tasks.start(pid, supervisor.initial_state())
    except OSError as error:
        os.kill(pid, 9)
        raise RemainrootError(
            f"RLIMIT_RTTIME, which carries a task's credentials, cannot be set ({error.strerror}): "
            "its hard limit must be unlimited"
        ) from error
    os.write(go, b"g")
    os.close(go)
    started(pid)
    gc.freeze()
    gc.enable()
    if not supervisor.table:
        _thread.start_new_thread(supervisor.load_soon, ())
    engine.run()
    world = supervisor.world
    if world.births.pending:
        world.births.settle(0)
    world.store.close()
    observer = getattr(supervisor, "observer", None)
    if observer is not None:
        observer.finish()
