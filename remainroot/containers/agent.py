# SPDX-License-Identifier: GPL-2.0-or-later
"""`remainroot agent`: one supervisor for containers that others make.

An OCI seccomp agent (the runtime specification's linux.seccomp.listenerPath): a runtime sends the descriptor of a
container's notifications over a unix socket, with the container's state as JSON. Each container is served by a process
of its own, in the container's user namespace, with its own tasks and store, so that none disturbs another.
"""

from __future__ import annotations

import json
import os
import sys

from remainroot import kernel
from remainroot.containers import namespaces, options, profile
from remainroot.dispatch import CONTINUE
from remainroot.engines.notify import NotifyEngine
from remainroot.errors import RemainrootError
from remainroot.supervisor import Supervisor

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Any, Final, NoReturn

    from remainroot.dispatch import Outcome
    from remainroot.settings import Settings
else:
    import _signal as signal

SYNTAX: Final = options.Syntax(
    "agent",
    "[OPTION...] --socket PATH | --print-profile",
    "Serve the containers whose seccomp profile names PATH as its listenerPath: every one has the shim on.",
    (
        ("--socket", "PATH", "where runtimes send notifications (default: $XDG_RUNTIME_DIR/remainroot-agent.sock)"),
        ("--print-profile", "", "print a seccomp profile, podman's own with our calls sent to PATH"),
        ("--base-profile", "FILE", "the profile to start from (default: podman's, or one that allows everything)"),
        *options.SHIM[1:],
    ),
)
_MESSAGE_MAX: Final = 1 << 16
_FDS_MAX: Final = 16


class _Nobody:
    """A watcher for a container whose runtime sees to its first process itself."""

    def stopped(self, signo: int) -> None:
        """Nobody asks."""

    def continued(self) -> None:
        """Nobody asks."""

    def ended(self, status: int) -> None:
        """Nobody asks."""


class _Served(NotifyEngine):
    """Notifications that come from a listener made by somebody else, of tasks that are not our children."""

    uses_quick = False  # it answers by number alone, and more comes here than is wanted
    injects = False  # so do the calls that we have tasks make

    def serve(self, listener: int) -> None:
        """Answer until no task uses the filter any more."""
        self._listener = listener
        self.run()

    def _wait(self, serving: int) -> None:
        """Nobody here is our child."""
        self._watch(serving)
        self._finish(serving)


# ---------------------------------------------------------------- one container


def serve(settings: Settings, pid: int, listener: int) -> None:
    """Answer for the container whose first process is `pid`, to its end. RemainrootError, or OSError, if it cannot."""
    if namespaces.identity(pid, "user") != namespaces.identity("self", "user"):
        pidfd = os.pidfd_open(pid)
        try:
            kernel.setns(pidfd, namespaces.NEWUSER)
        except OSError as error:
            raise RemainrootError(f"agent: cannot join the user namespace of process {pid}: {error.strerror}") from None
        finally:
            os.close(pidfd)
    supervisor = Supervisor(settings)
    supervisor.world.files.roots_differ = True
    supervisor.world.marks_readers = False  # a profile cannot say where a call comes from
    inner = supervisor.answerer()
    supervisor.load()

    def answer(tid: int, arch: int, nr: int, args: tuple[int, ...]) -> Outcome:
        row = supervisor.table.get(arch, {}).get(nr)
        if row is not None and not row.passes(args):
            return CONTINUE
        return inner(tid, arch, nr, args)

    supervisor.world.tasks.start(pid, supervisor.initial_state())
    engine = _Served(settings)
    engine.equip(supervisor.world, answer, _Nobody())
    engine.serve(listener)
    supervisor.world.store.close()


def read_message(data: bytes, fds: list[int]) -> tuple[int, int, str]:
    """The container's first process, the listener (one of `fds`) and its name, from a runtime's message.

    RemainrootError for anything else: the OCI runtime specification's containerProcessState.
    """
    try:
        message: dict[str, Any] = json.loads(data)
        pid = message["pid"]
        listener = fds[message["fds"].index("seccompFd")]
        name = str(message.get("state", {}).get("id", ""))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise RemainrootError(f"agent: a message that no runtime sends: {type(error).__name__}: {error}") from None
    if not isinstance(pid, int) or pid <= 0:
        raise RemainrootError(f"agent: a message with the pid {pid!r}")
    return pid, listener, name


# ---------------------------------------------------------------- the socket


class Agent:
    """Listens for runtimes and starts a process for each container."""

    def __init__(self, settings: Settings, path: str) -> None:
        """Listen at `path`, for processes of this user alone. RemainrootError if it is taken."""
        import socket

        self._socket = socket
        self.settings = settings
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._replace_stale(path)
        mask = os.umask(0o177)
        try:
            self.listener.bind(path)
        except OSError as error:
            raise RemainrootError(f"agent: cannot listen at {path}: {error.strerror}") from None
        finally:
            os.umask(mask)
        self.listener.listen(64)

    def _replace_stale(self, path: str) -> None:
        """Remove a socket that nobody listens at any more."""
        probe = self._socket.socket(self._socket.AF_UNIX, self._socket.SOCK_STREAM)
        try:
            probe.connect(path)
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError as error:
            raise RemainrootError(f"agent: cannot listen at {path}: {error.strerror}") from None
        else:
            raise RemainrootError(f"agent: another one listens at {path}")
        finally:
            probe.close()

    def run(self) -> NoReturn:
        """Take messages for ever. A bad one is told of and forgotten."""
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            connection = self.listener.accept()[0]
            # Whoever says nothing must not keep others waiting: each is heard in a process of its own.
            if os.fork() == 0:
                try:
                    self.listener.close()
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    self._hear(connection)
                finally:
                    os._exit(1)
            connection.close()

    def _hear(self, connection: Any) -> None:
        """One runtime's message, and then one container's life. Ends the process."""
        name = ""
        try:
            connection.settimeout(10)
            data, fds, _, _ = self._socket.recv_fds(connection, _MESSAGE_MAX, _FDS_MAX, self._socket.MSG_CMSG_CLOEXEC)
            while data and not _complete(data) and len(data) < _MESSAGE_MAX:
                more = connection.recv(_MESSAGE_MAX)
                if not more:
                    break
                data += more
            connection.close()
            pid, listener, name = read_message(data, fds)
            serve(self.settings, pid, listener)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is told, and ends this container's service alone
            known = isinstance(error, (RemainrootError, OSError))
            text = "remainroot: " + (f"{error}" if known else f"agent: {type(error).__name__}: {error}")
            text += f" (container {name})" if name else ""
            os.write(2, f"{text}\n".encode(errors="surrogateescape"))
            os._exit(1)
        os._exit(0)


def _complete(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


# ---------------------------------------------------------------- the command line


def base_profile(path: str) -> dict[str, Any]:
    """The profile to add ours to: the file, or podman's, or one that allows everything."""
    for candidate in [path] if path else profile.DEFAULTS:
        try:
            with open(candidate, "rb") as file:
                found = json.load(file)
        except FileNotFoundError:
            if path:
                raise RemainrootError(f"agent: the profile {path} does not exist") from None
            continue
        except (OSError, ValueError) as error:
            raise RemainrootError(f"agent: the profile {candidate} cannot be read: {error}") from None
        if not isinstance(found, dict) or "defaultAction" not in found:
            raise RemainrootError(f"agent: {candidate} is no seccomp profile")
        return found
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}


def main(arguments: list[str]) -> int:
    """Run the subcommand."""
    given, words = SYNTAX.parse(arguments)
    if "--help" in given:
        sys.stdout.write(SYNTAX.usage())
        return 0
    if words:
        raise SYNTAX.fail(f"unexpected argument {words[0]!r}")
    directory = os.environ.get("XDG_RUNTIME_DIR", "")
    path = options.last(given, "--socket") or (f"{directory}/remainroot-agent.sock" if directory else "")
    if not path:
        raise SYNTAX.fail("option --socket is needed: XDG_RUNTIME_DIR is not set")
    path = os.path.abspath(path)
    if "--print-profile" not in given:
        Agent(options.settings_of(given), path).run()
    json.dump(profile.merge(base_profile(options.last(given, "--base-profile")), path), sys.stdout, indent=1)
    sys.stdout.write("\n")
    return 0
