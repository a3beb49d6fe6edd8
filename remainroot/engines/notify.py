# SPDX-License-Identifier: GPL-2.0-or-later
"""Seccomp user notification: seccomp_unotify(2). No ptrace, so debuggers work inside; the default where it works.

Two threads. The first receives notifications, has them answered and sends the answers. The second waits for children:
the supervisor is the reaper of the whole tree, so when it has no child left the tree is gone (a listener does not
tell, before Linux 6.11). In another pid namespace orphans have another reaper: there the listener must tell.

An exec that changes what its task is must be seen to succeed, and the new program's auxiliary vector be mended before
it runs. For that one call the task is seized with ptrace(2) and let go at its exec stop. So is a task that was lent
something for a call, until the call is over.
"""

from __future__ import annotations

import _thread
import os
from errno import EFAULT, EINTR, ENOENT
from fcntl import ioctl
from select import POLLIN, poll

from remainroot import loop
from remainroot.engines import prepared
from remainroot.engines.holding import Holding
from remainroot.engines.listener import ID_VALID, RESP, SEND, ask, listen, take_listener
from remainroot.kernel import Seize, write_memory
from remainroot.outcomes import (
    CONTINUE,
    Attend,
    Continue,
    Exec,
    Fail,
    InstallFd,
    Instead,
    Lend,
    Pair,
    Post,
    Replace,
    Return,
)
from remainroot.tasks import thread_group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from signal import SIG_UNBLOCK, SIGKILL, SIGUSR1, pthread_kill, pthread_sigmask, signal
    from typing import Final, NoReturn

    from remainroot.engines.base import Answer, Watcher
    from remainroot.engines.prepared import Prepared
    from remainroot.engines.seized import Held
    from remainroot.outcomes import Judge
    from remainroot.settings import Settings
    from remainroot.world import World

    Exchange = Callable[[int, int, int, int, int], tuple[int, int, int, int, tuple[int, ...]] | None]
else:
    # Without the module's 8 ms of enum.
    from _signal import SIG_UNBLOCK, SIGKILL, SIGUSR1, pthread_kill, pthread_sigmask, signal

SET_FLAGS: Final = 0x40082104
_SYNC_WAKE_UP: Final = 1
_FLAG_CONTINUE: Final = 1

_WALL: Final = 0x40000000
_EXEC_PATIENCE: Final = 0.05
_SEIZED_POLL: Final = 3
_ATTENDED_POLL: Final = 10
_SHORT_PATIENCE: Final = 100


class NotifyEngine(Holding):
    """See the module."""

    name = "notify"
    filters = 1
    spawn_tells = True
    uses_quick = True
    """Have answered in C what the filter lets through and no handler is needed for."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._listener = -1
        self._interruptible = True
        self._loop: loop.Loop | None = None
        """Answers calls by itself, where it may."""
        self._spawning: tuple[bytes, int, int]
        """The filter, and the ends of pipes: what CMD's process says of its listener, and what lets it go on."""
        self._cmd = 0
        self._over = False
        self._finished = _thread.allocate_lock()
        """Held until `_over`."""
        self._finished.acquire()
        self._response = bytearray(RESP.size)
        self._current = 0
        self._known: Prepared

    # -- start

    @staticmethod
    def unavailable() -> str | None:
        """Try: load a filter for getppid on a child, receive its call, let it continue, answer another."""
        from remainroot.engines.filter import assemble
        from remainroot.engines.trial import try_notify

        return try_notify(assemble, lambda code: listen(code)[0])

    def spawn(self, become: Callable[[], NoReturn]) -> int:
        """Fork; the child loads the filter, says which descriptor its listener is, waits until we have taken it."""
        code = self._filter()
        told_read, told = os.pipe2(os.O_CLOEXEC)
        go, go_write = os.pipe2(os.O_CLOEXEC)
        pid = self.fork()
        if pid == 0:
            try:
                os.close(told_read)
                os.close(go_write)
                try:
                    listener, interruptible = listen(code)
                except OSError as error:
                    os.write(told, b"E%d" % (error.errno or 0))
                    os._exit(125)
                os.write(told, b"%c%d" % (b"I" if interruptible else b"L", listener))
                os.close(told)
                os.read(go, 1)
                os.close(go)
                os.close(listener)
                become()
            finally:
                os._exit(125)
        os.close(told)
        os.close(go)
        self._cmd = pid
        self._spawning = code, told_read, go_write
        return pid

    def equip(self, world: World, answer: Answer, watcher: Watcher) -> None:
        """Take them, and make the loop."""
        super().equip(world, answer, watcher)
        if self.uses_quick and loop.usable(world):
            self._loop = loop.Loop(world, self._known.rules)

    def catch(self) -> None:
        """Take the listener from CMD's process."""
        code, told_read, go_write = self._spawning
        try:
            word = os.read(told_read, 64)
            self._listener = take_listener(self._cmd, word, code)
            self._interruptible = word[:1] == b"I"
        except OSError:
            os.kill(self._cmd, SIGKILL)
            os.waitpid(self._cmd, 0)
            raise
        finally:
            os.close(told_read)
            os.close(go_write)
        try:
            ioctl(self._listener, SET_FLAGS, _SYNC_WAKE_UP)
        except OSError:
            pass  # before Linux 6.6: each answer wakes its task on some other CPU, and costs the more

    def _filter(self) -> bytes:
        """The program that sends calls here."""
        self._known = prepared.get(strict=self.settings.strict)
        return prepared.completed(self._known.notify, self.settings.root, self._known.known)

    # -- service

    def run(self) -> None:
        """Send, receive, have it answered; until the waiting thread says that nobody is left."""
        signal(SIGUSR1, lambda *_: None)
        pthread_sigmask(SIG_UNBLOCK, (SIGUSR1,))
        self.world.vanished = self._vanished
        self.world.waiters.renew = self._renew
        _thread.start_new_thread(self._wait, (_thread.get_ident(),))
        answer, execs = self.answer, self._execs
        loop = self._loop
        exchange = self._exchange()
        current = value = error = flags = 0
        while True:
            try:
                # An awaited exec ends in a stop that the other thread is told of; its signal may come too early.
                patience = min([held.patience for held in execs.values()]) if execs else -1
                caught = exchange(current, value, error, flags, patience)
            except OSError as failure:
                caught = None
                self._interrupted(failure)
                if self._over:
                    return
            if execs:
                self._serve_execs(0)
                for held in {*execs.values()}:
                    held.check()
                if loop is not None:
                    loop.refresh()  # one may have made a task another user, the first that is not root
            if caught is None:
                current = 0
                continue
            current, tid, arch, nr, args = caught
            self._current = current
            outcome = answer(tid, arch, nr, args)
            value = error = flags = 0
            if outcome is CONTINUE:
                flags = _FLAG_CONTINUE
            elif outcome.__class__ is Return:
                value = outcome.value
            elif outcome.__class__ is Fail:
                error = -outcome.errno
            else:
                self._special(tid, arch, outcome)
                current = 0
            if loop is not None:
                loop.refresh()

    def _exchange(self) -> Exchange:
        """How to send an answer and receive the next call."""
        if self._loop is None:
            from remainroot.engines.conversation import Conversation

            return Conversation(self._listener).exchange
        self._loop.listen(self._listener, interruptible=self._interruptible)
        self._loop.refresh()  # since it was made CMD has become who it is
        exchange: Exchange = self._loop.exchange
        return exchange

    def _interrupted(self, error: OSError) -> None:
        """RECV failed: a signal from the waiting thread, a task that died before we took its call, or nobody left.

        That nobody is left, Linux 6.11 says each time at once. Then what remains is the waiting thread's to do, and it
        needs the processor for it: under SCHED_FIFO it would never have it while we asked again and again.
        """
        if error.errno not in (EINTR, ENOENT):
            raise error
        if error.errno == ENOENT:
            poller = poll()
            poller.register(self._listener, 0)  # POLLHUP comes unasked
            if poller.poll(0):
                self._finished.acquire()

    def _send(self, value: int, error: int, flags: int) -> bool:
        RESP.pack_into(self._response, 0, self._current, value, error, flags)
        return ask(self._listener, SEND, self._response)

    def _vanished(self) -> bool:
        """Whether the task whose call is being answered is gone (its tid may be another's by now)."""
        return not ask(self._listener, ID_VALID, self._current.to_bytes(8, "little"))

    def _special(self, tid: int, arch: int, outcome: object) -> None:
        """The outcomes that are rare."""
        match outcome:
            case InstallFd():
                self._install(tid, outcome)
            case Replace():
                self._replace(outcome)
            case Instead():
                self._make_instead(tid, arch, outcome)
            case Exec():
                self._execute(tid, outcome)
            case Lend():
                self._lend(tid, outcome)
            case Post():
                self._post(tid, outcome)
            case Pair() if not (self._interruptible or self._is_attended(tid)):
                self._give_pair(tid, arch, outcome)
            case Attend():
                self._attend(tid, arch, outcome)
            case Continue():
                self._send(0, 0, _FLAG_CONTINUE)
            case _:
                raise TypeError(f"not an outcome: {outcome!r}")

    def _install(self, tid: int, outcome: InstallFd) -> None:
        if outcome.judge is not None and not self._interruptible:
            self._show_calls(tid, outcome.judge)
        from remainroot.engines.descriptors import install

        result = install(self._listener, self._current, outcome)
        if result is not None:
            self._send(*result, 0)

    def _show_calls(self, tid: int, judge: Judge) -> None:
        """Have the task stop at each of its calls from the one on that it waits for now."""
        from remainroot.engines.watching import OPTIONS, Watching

        held = self._execs.get(tid)
        if isinstance(held, Watching):
            held.judge = judge
            return
        try:
            seize = Seize(tid, OPTIONS)
        except OSError:
            return  # somebody inside traces it
        self._watch_calls(tid, judge, seize)
        os.eventfd_write(self._seized, 1)
        # The interrupt must be there before the task can be anywhere but on its way out of this call.
        seize.interrupt()

    def _give_pair(self, tid: int, arch: int, outcome: Pair) -> None:
        """A signal cannot have the call made again, for it waits killable."""
        from _struct import pack

        from remainroot.engines.descriptors import install_pair

        try:
            ends = outcome.make()
        except OSError:
            self._attend(tid, arch, outcome)
            return
        numbers, error = install_pair(self._listener, self._current, ends, cloexec=outcome.cloexec)
        if not error and not self._vanished():
            try:
                write_memory(tid, outcome.address, pack("=ii", *numbers))
            except OSError as failure:
                error = failure.errno or EFAULT
        if not error or not numbers:
            self._send(0, -error, 0)
        else:
            self._take_back(tid, arch, numbers, error)

    def _replace(self, outcome: Replace) -> None:
        from remainroot.engines.descriptors import replace

        replace(self._listener, self._current, outcome)
        self._send(outcome.value, 0, 0)

    # -- exec

    def _execute(self, tid: int, outcome: Exec) -> None:
        """Let the exec run under ptrace, so that we see it succeed or fail."""
        tgid = thread_group(tid)
        try:
            seize = Seize(tid, Seize.O_TRACESYSGOOD if outcome.endings else 0)
        except OSError:
            # Somebody inside traces it (strace, gdb). The exec will succeed, as far as can be told; nobody can mend
            # its vector.
            self.world.not_executed(tid, outcome.stack)
            if outcome.state is not None:
                self.world.tasks.set_process(tid, outcome.state)
            self._send(0, 0, _FLAG_CONTINUE)
            return
        from remainroot.engines.seized import Execution

        self._see_through(Execution(tid, tgid, outcome, seize, self._end_signal), lent=outcome.stack is not None)

    def _lend(self, tid: int, outcome: Lend) -> None:
        """Let the call run under ptrace, so that we see it end."""
        seize = None
        try:
            if not outcome.waits:
                seize = Seize(tid)
        except OSError:
            pass  # somebody inside traces it
        if seize is None:
            self.world.owe(tid, outcome.kept)
            self._send(0, 0, _FLAG_CONTINUE)
        else:
            from remainroot.engines.seized import Loan

            self._see_through(Loan(tid, outcome, seize), lent=True)

    def _see_through(self, held: Held, *, lent: bool) -> None:
        """Have the seized task make its call and stop on its way out; see to that stop."""
        self._execs[held.tid] = held
        self._execs.setdefault(held.tgid, held)
        os.eventfd_write(self._seized, 1)
        # What was lent must be given back before the task goes on: then the interrupt must be there when the call ends.
        # But where a signal interrupts the wait for us, so would this, and the call would be made again.
        early = lent and not self._interruptible
        if early:
            held.seize.interrupt()
        self._send(0, 0, _FLAG_CONTINUE)
        if not early:
            held.seize.interrupt()
        self._serve_execs(_EXEC_PATIENCE)

    # -- the waiting thread

    def _wait(self, serving: int) -> None:
        """See to children until the tree is gone, then wake the serving thread for good."""
        self._reap(serving, 0)
        if self.fork is not os.fork:
            self._watch(serving)
        self._finish(serving)

    def _watch(self, serving: int) -> None:
        """Wait until no task uses the filter any more, be it whose child it may; meanwhile for what we seize."""
        poller = poll()
        poller.register(self._listener, 0)  # POLLHUP comes unasked
        poller.register(self._seized, POLLIN)
        # While a task is seized we look again and again: nothing would end a wait for it when the other thread lets go.
        while not (ready := dict(poller.poll(self._longest_poll()))).get(self._listener):
            if ready:
                os.eventfd_read(self._seized)
            self._reap(serving, os.WNOHANG)

    def _longest_poll(self) -> int | None:
        """For how many ms nothing need be looked at."""
        if self._held:
            return _SEIZED_POLL
        # The other thread may be changing it.
        patience = [held.patience for held in list(self._execs.values())]
        if not patience:
            return None
        return _SEIZED_POLL if min(patience) < _SHORT_PATIENCE else _ATTENDED_POLL

    def _reap(self, serving: int, flags: int) -> None:
        """Reap children and report CMD's fate; hand ptrace stops over.

        Until waitpid(2), with `flags`, has nobody, or CMD has ended, and what it left is no child of ours.
        """
        while True:
            try:
                tid, status = os.waitpid(-1, _WALL | os.WUNTRACED | os.WCONTINUED | flags)
            except ChildProcessError:
                return
            except InterruptedError:
                continue
            if not tid:
                return
            # A task that a seized one has made is seized, too.
            seized = tid in self._execs or tid in self._held or status >> 16 == Seize.EVENT_STOP
            if seized and not os.WIFCONTINUED(status):  # SIGCONT ends no stop of a tracee
                self._hand_over(tid, status, serving)
            if os.WIFSTOPPED(status):
                if not seized and tid == self._cmd:
                    self.watcher.stopped(os.WSTOPSIG(status))
            elif os.WIFCONTINUED(status):
                if tid == self._cmd:
                    self.watcher.continued()
            elif tid == self._cmd:
                self._cmd = 0
                self.watcher.ended(status)
                if self.fork is not os.fork:
                    return

    def _hand_over(self, tid: int, status: int, serving: int) -> None:
        """Have the serving thread see to the stop of a task that is seized."""
        self._stops.append((tid, status))
        if self._stopped.locked():
            self._stopped.release()
        pthread_kill(serving, SIGUSR1)

    def _finish(self, serving: int) -> None:
        """Wake the serving thread for good."""
        self._over = True
        self._finished.release()
        pause = _thread.allocate_lock()
        pause.acquire()
        while True:
            # The signal may come just before the serving thread enters the kernel, and then wakes nobody: once more.
            try:
                pthread_kill(serving, SIGUSR1)
            except OSError:
                return
            pause.acquire(timeout=0.005)
