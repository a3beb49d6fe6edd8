# SPDX-License-Identifier: GPL-2.0-or-later
"""A process of a running container, as `remainroot enter` finds it: its namespaces, ids, directories, environment."""

from __future__ import annotations

import os

from remainroot.containers import capabilities, cgroup, names, namespaces
from remainroot.containers.mounts import O_PATH
from remainroot.errors import RemainrootError
from remainroot.kernel import PR_SET_NO_NEW_PRIVS, prctl, setns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, NoReturn

_ENGINES: Final = {"podman": "{{.State.Pid}}", "docker": "{{.State.Pid}}"}
_OVERFLOW: Final = 65534
_LARGEST: Final = (1 << 31) - 1


def find_pid(text: str) -> int:
    """The process that TARGET means: a pid, a box's CMD by its name, or what a container engine says of ENGINE:NAME."""
    if text.isdecimal():
        if not 0 < int(text) <= _LARGEST:
            raise RemainrootError(f"enter: there is no process {text}")
        return int(text)
    engine, colon, name = text.partition(":")
    if not colon and (pid := names.find(text)):
        return pid
    if not colon or engine not in _ENGINES or not name:
        raise RemainrootError(
            f"enter: TARGET is a pid, podman:NAME, docker:NAME or the name of a box, and no box is called {text!r}"
        )
    reader, writer = os.pipe2(os.O_CLOEXEC)
    complaints, complain = os.pipe2(os.O_CLOEXEC)
    actions = [(os.POSIX_SPAWN_DUP2, writer, 1), (os.POSIX_SPAWN_DUP2, complain, 2)]
    words = [engine, "inspect", "--format", _ENGINES[engine], name]
    try:
        child = os.posix_spawnp(engine, words, os.environ, file_actions=actions)
    except FileNotFoundError:
        raise RemainrootError(f"enter: there is no program {engine} to ask for {name}") from None
    os.close(writer)
    os.close(complain)
    with open(reader, encoding="utf-8", errors="replace") as file:
        answer = file.read().strip()
    with open(complaints, encoding="utf-8", errors="replace") as file:
        complaint = " ".join(file.read().split())
    if os.waitpid(child, 0)[1] or not answer.isdecimal():
        raise RemainrootError(f"enter: {engine} knows no container {name}" + (complaint and f" ({complaint})"))
    if answer == "0":
        raise RemainrootError(f"enter: the container {text} is not running")
    return int(answer)


class Target:
    """A live process, held by a pidfd: whatever is asked after its end fails, and never hits another one."""

    def __init__(self, pid: int) -> None:
        """Look at the process `pid`. RemainrootError that says why it cannot be entered."""
        self.pid = pid
        try:
            self.pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            raise RemainrootError(f"enter: there is no process {pid}") from None
        except OSError as error:
            raise RemainrootError(f"enter: cannot use process {pid}: {error.strerror}") from None
        try:
            self.kinds = [kind for kind in namespaces.KINDS if self._differs(kind)]
            self.root = os.open(f"/proc/{pid}/root", O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            self.cwd = os.open(f"/proc/{pid}/cwd", O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            with open(f"/proc/{pid}/environ", "rb") as file:
                self._environ = file.read()
        except PermissionError:
            self._refuse()
        except OSError as error:
            self.must_live()
            raise RemainrootError(f"enter: cannot look into process {pid}: {error.strerror}") from None
        self.must_live()
        self._ids: tuple[int, int, list[int]] = (0, 0, [])

    def _refuse(self) -> NoReturn:
        owner = os.stat(f"/proc/{self.pid}").st_uid
        own = os.geteuid()
        whose = f"it belongs to uid {owner}, and we are {own}" if owner != own else "it hides itself, or yama hides it"
        raise RemainrootError(f"enter: process {self.pid} may not be entered: {whose}")

    def _differs(self, kind: str) -> bool:
        theirs = namespaces.identity(self.pid, kind)
        return theirs is not None and theirs != namespaces.identity("self", kind)

    def must_live(self) -> None:
        """RemainrootError if the process has ended."""
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as file:
                dead = file.read().rpartition(b") ")[2][:1] in (b"Z", b"X")
        except OSError:
            dead = True
        if dead:
            raise RemainrootError(f"enter: process {self.pid} has ended")

    @property
    def environment(self) -> dict[str, str]:
        """What it was started with."""
        words = (os.fsdecode(word).partition("=") for word in self._environ.split(b"\0") if word)
        return {name: value for name, equals, value in words if name and equals}

    @property
    def cwd_name(self) -> str:
        """What it calls its working directory, "/" if that is out of its reach."""
        root, cwd = (os.readlink(f"/proc/self/fd/{fd}").rstrip("/") + "/" for fd in (self.root, self.cwd))
        return "/" + cwd.removeprefix(root).rstrip("/") if cwd.startswith(root) else "/"

    def _status(self) -> dict[bytes, bytes]:
        self.must_live()
        with open(f"/proc/{self.pid}/status", "rb") as file:
            return dict(line.split(b":", 1) for line in file.read().splitlines() if b":" in line)

    def learn_ids(self) -> None:
        """Read its ids as they are called in our user namespace by now, and while we still have the host's /proc."""
        fields = self._status()
        uid, gid = int(fields[b"Uid"].split()[1]), int(fields[b"Gid"].split()[1])
        self._ids = uid, gid, [int(word) for word in fields[b"Groups"].split()]

    def join(self, kinds: list[str]) -> None:
        """Join its namespaces of these kinds, all at once."""
        flags = 0
        for kind in kinds:
            flags |= namespaces.KINDS[kind][0]
        if not flags:
            return
        try:
            setns(self.pidfd, flags)
        except ProcessLookupError:
            raise RemainrootError(f"enter: process {self.pid} has ended") from None
        except OSError as error:
            what = ", ".join(kinds)
            why = "only the user who made a container may enter it"
            if len(os.listdir("/proc/self/task")) > 1:
                why = "a process with several threads may not"
            raise RemainrootError(
                f"enter: cannot join the {what} namespace{'s' if len(kinds) > 1 else ''} of process {self.pid}: "
                f"{error.strerror}; {why}"
            ) from None

    def take_limits(self, kept: tuple[int, ...]) -> None:
        """Give up the capabilities that it can never have, but for those `kept`; and new privileges, if it has."""
        fields = self._status()
        try:
            capabilities.bound(int(fields[b"CapBnd"], 16) | sum(1 << number for number in kept))
        except PermissionError:
            pass  # we have none ourselves
        if int(fields.get(b"NoNewPrivs", b"0")):
            prctl(PR_SET_NO_NEW_PRIVS, 1)

    def take_ids(self) -> None:
        """Be whom it is. Groups that the namespace forbids to set, or does not map, are left out."""
        uid, gid, groups = self._ids
        try:
            os.setgroups([group for group in groups if group != _OVERFLOW])
        except OSError:
            pass  # setgroups is denied where one id is mapped
        try:
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
        except OSError as error:
            raise RemainrootError(f"enter: cannot become {uid}:{gid} of the container: {error.strerror}") from None

    def take_cgroup(self) -> None:
        """Join its cgroup, where one is allowed to: cgroups(7). Rootless, that is only a delegated one."""
        try:
            with open(f"{cgroup.directory_of(self.pid)}/cgroup.procs", "wb", buffering=0) as file:
                file.write(b"0")
        except OSError:
            pass
