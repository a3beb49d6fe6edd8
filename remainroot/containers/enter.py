# SPDX-License-Identifier: GPL-2.0-or-later
"""`remainroot enter`: run a program inside a running container.

The user namespace is joined first, by front: what a plain user's container consists of belongs to it, and only its
root may join the rest. The process that turns into CMD joins the others; it is forked into the container's pid
namespace already.
"""

from __future__ import annotations

import os
import sys

from remainroot.containers import namespaces, options
from remainroot.containers.guest import Guest
from remainroot.containers.hostroot import HostRoot
from remainroot.containers.start import Start, inherit
from remainroot.containers.target import Target, find_pid
from remainroot.containers.watch import watch
from remainroot.credentials import CAP_SYS_ADMIN, CAP_SYS_CHROOT, CAP_SYS_PTRACE
from remainroot.errors import RemainrootError
from remainroot.launch import Place, launch
from remainroot.supervisor import joined, supervise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, NoReturn

    from remainroot.engines.base import Watcher
    from remainroot.settings import Settings

SYNTAX: Final = options.Syntax(
    "enter",
    "[OPTION...] TARGET [--] [CMD [ARG...]]",
    "Run CMD (default: /bin/sh) in the container of TARGET: a pid, podman:NAME, docker:NAME or a box's name. It gets\n"
    "the target's namespaces, root, working directory, environment and ids.",
    (
        ("--namespaces", "KIND,...", "join only these: " + " ".join(namespaces.KINDS)),
        ("--host-exe", "", "CMD is the host's program; what it needs and the container lacks is the host's, too"),
        ("--with-host-root", "[=DIR]", "CMD (default: $SHELL) sees the host's files, the container's at DIR (/mnt)"),
        ("--workdir", "DIR", "CMD's working directory (default: the target's)"),
        ("--env", "NAME[=VALUE]", "set a variable, or pass one on (any number of times)"),
        ("--shim", "", "put the shim on CMD"),
        *options.SHIM,
    ),
)


_DEBUGGING: Final = (CAP_SYS_ADMIN, CAP_SYS_CHROOT, CAP_SYS_PTRACE)
"""Capabilities for a program of the host, whatever the container has: a debugger looks into its mount namespace."""


class Inside(Place):
    """In a container that is running."""

    joins = False

    def __init__(
        self, target: Target, kinds: list[str], start: Start, *, guest: Guest | None, host: HostRoot | None, shim: bool
    ) -> None:
        self.target = target
        self.kinds = kinds
        self.start = start
        self.guest = guest
        self.host = host
        self.shim = shim
        self._later = [kind for kind in kinds if kind not in ("user", "pid")]

    def enter(self, settings: Settings, *, anyway: bool) -> None:
        """Join the user namespace."""
        del settings, anyway
        if "user" not in self.kinds:
            return
        self.target.join(["user"])
        self.target.learn_ids()
        if not _is_mapped(os.geteuid()):
            # Real root, or whoever else has no id in there: the namespace's root, of whom there is one if any.
            try:
                os.setresgid(0, 0, 0)
                os.setresuid(0, 0, 0)
            except OSError:
                self.target.take_ids()

    def serve(
        self, settings: Settings, watcher: Watcher, become: Callable[[], NoReturn], started: Callable[[int], None]
    ) -> None:
        """Fork CMD into the pid namespace, and wait for it or answer for it."""
        pidfd = self.target.pidfd

        def fork() -> int:
            try:
                return namespaces.fork_into(pidfd, namespaces.NEWPID) if "pid" in self.kinds else os.fork()
            except ProcessLookupError:
                raise RemainrootError(f"enter: process {self.target.pid} has ended") from None

        def go_in_and_become() -> NoReturn:
            self.start.guarded(self._go_in)
            become()

        if self.shim:
            settings.root = f"/proc/self/fd/{self.target.root}"
            supervise(settings, watcher, go_in_and_become, started, fork=fork)
        elif self.host is not None:
            from remainroot.containers import crossing

            container = crossing.Container(self.host.directory, inherit(self.target.environment), self.target.cwd_name)
            crossing.serve(settings, watcher, go_in_and_become, started, fork, container)
        else:
            watch(watcher, go_in_and_become, started, fork)

    def execute(self, command: list[str]) -> int:
        """In CMD's process: start it, by the host's file if it is the host's."""
        return super().execute(command) if self.guest is None else self.guest.execute()

    def _go_in(self) -> None:
        """In CMD's process: everything up to the exec."""
        target = self.target
        target.take_cgroup()
        if not self.shim:
            target.take_limits(_DEBUGGING if self.guest is not None or self.host is not None else ())
        if self.host is not None:
            self.host.build(target, processes="pid" in self.kinds)
            target.join([kind for kind in self._later if kind != "mount"])
            self.host.go_back()
        else:
            self._go_to_its_files()
        if "user" in self.kinds:
            target.take_ids()
        self.start.prepare(is_here=self.guest is None)

    def _go_to_its_files(self) -> None:
        """The target's root and directory, with the host's program in it."""
        if self.guest is not None:
            self.guest.take_host_along()
        self.target.join(self._later)
        if "mount" in self.kinds:
            os.fchdir(self.target.root)
            os.chroot(".")
        if self.guest is not None:
            self.guest.move_in()
        if "mount" in self.kinds and not self.start.directory:
            self._go_to_its_directory()

    def _go_to_its_directory(self) -> None:
        """The target's, by name where the root has been made anew around us."""
        try:
            if self.guest is None:
                os.fchdir(self.target.cwd)
            else:
                os.chdir(self.guest.name_of(self.target.cwd))
        except OSError:
            os.chdir("/")


def _is_mapped(uid: int) -> bool:
    with open("/proc/self/uid_map", "rb") as file:
        ranges = [list(map(int, line.split())) for line in file]
    return any(first <= uid < first + count for first, _, count in ranges)


def _kinds(target: Target, text: str) -> list[str]:
    """Which namespaces to join, of those that are not ours anyway."""
    if not text:
        return target.kinds
    wanted = text.split(",")
    for kind in wanted:
        if kind not in namespaces.KINDS:
            raise SYNTAX.fail(f"option --namespaces: there is no kind {kind!r}, but {', '.join(namespaces.KINDS)}")
    return [kind for kind in target.kinds if kind in wanted]


def main(arguments: list[str]) -> int:
    """Run the subcommand."""
    given, words = SYNTAX.parse(arguments)
    if "--help" not in given:
        run(given, words)
    sys.stdout.write(SYNTAX.usage())
    return 0


def run(given: options.Given, words: list[str]) -> NoReturn:
    """Enter, and end as CMD ends."""
    if not words:
        raise SYNTAX.fail("no TARGET given")
    shim = "--shim" in given
    if shim and joined():
        raise RemainrootError("enter: no --shim inside another remainroot, which answers for all that starts here")
    from_host = [option for option in ("--host-exe", "--with-host-root") if option in given]
    if len(from_host) == 2 or (shim and "--with-host-root" in given):
        raise SYNTAX.fail(f"option --with-host-root does not go with {'--shim' if shim else '--host-exe'}")
    command = words[2:] if words[1:2] == ["--"] else words[1:]
    target = Target(find_pid(words[0]))
    kinds = _kinds(target, options.last(given, "--namespaces"))
    if from_host and "mount" not in kinds:
        raise RemainrootError(f"enter: process {target.pid} sees the host's files: {from_host[0]} has no use")
    host = HostRoot(options.last(given, "--with-host-root")) if "--with-host-root" in given else None
    command = command or [os.environ.get("SHELL", "/bin/sh") if host is not None else "/bin/sh"]
    guest = Guest(command) if "--host-exe" in given else None
    start = Start(
        "enter", command, environment=given.get("--env", []), directory=options.last(given, "--workdir"), user="",
        limits=[], inherited=target.environment if host is None else dict(os.environ),
    )  # fmt: skip
    settings = options.settings_of(given)
    talks = shim and (settings.trace_calls or settings.stats or settings.log is not None)
    place = Inside(target, kinds, start, guest=guest, host=host, shim=shim)
    launch(settings, command, anyway=True, keep_stderr=talks, place=place)
