# SPDX-License-Identifier: GPL-2.0-or-later
"""`remainroot box`: a minimal rootless container with the shim on.

The supervisor stays outside, so the root needs nothing of ours inside. It has the box's user namespace, and the host's
of every other kind; PID 1 (`remainroot.containers.init`) is its child, and so is CMD, which it sees by their outer
pids. CMD's process makes the remaining namespaces and its own root (`remainroot.containers.root`), already under the
shim, and then turns into CMD.
"""

from __future__ import annotations

import os
import sys

from remainroot.containers import afterwards, archive, capabilities, cgroup, confine, names, namespaces, options
from remainroot.containers.init import Init, die_with
from remainroot.containers.root import Plan, build, isolate, isolate_cgroup
from remainroot.containers.start import Start
from remainroot.errors import RemainrootError
from remainroot.front import complain
from remainroot.launch import Place, launch
from remainroot.supervisor import joined, supervise

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import Final, NoReturn

    from remainroot.dispatch import When
    from remainroot.engines.base import Watcher
    from remainroot.settings import Settings
else:
    import _signal as signal

SYNTAX: Final = options.Syntax(
    "box",
    "[OPTION...] ROOTFS [--] [CMD [ARG...]]",
    "Run CMD as root of a minimal rootless container whose root is ROOTFS: a directory, a tar file\n"
    "(.gz, .xz, .zst) or an OCI image layout (DIR or DIR:NAME). It ends, with all it started, when CMD ends.",
    (
        ("--name", "NAME", "what the box is called, for remainroot enter NAME"),
        ("--user", "UID[:GID]", "run CMD as this user instead of root; names of the box, too"),
        ("--env", "NAME[=VALUE]", "set a variable, or pass one on (any number of times)"),
        ("--workdir", "DIR", "CMD's working directory (default /)"),
        ("--hostname", "NAME", "the box's host name (default: box)"),
        ("--bind", "FROM:TO", "show the host's FROM at TO (any number of times)"),
        ("--bind-ro", "FROM:TO", "the same, read-only"),
        ("--tmpfs", "DIR", "an empty file system in memory at DIR, as for /tmp and /run (any number of times)"),
        ("--read-only", "", "the root cannot be written to"),
        ("--overlay", "[=DIR]", "keep changes out of ROOTFS: in DIR, or nowhere"),
        ("--network", "host|none", "the host's network (default), or nothing but a loopback interface"),
        ("--memory", "SIZE", "limit of the box's memory, swap included, as 512M or 2G; needs a delegated cgroup (v2)"),
        ("--cpus", "N", "limit of its processors, as 0.5; the same"),
        ("--pids", "N", "limit of its processes and threads; the same"),
        ("--rlimit", "NAME=SOFT[:HARD]", "a resource limit of CMD, as nofile=1024 (any number of times)"),
        ("--cap-drop", "CAP", "go without a capability, as CHOWN or cap_chown, or ALL (any number of times)"),
        ("--cap-add", "CAP", "have it nevertheless, after --cap-drop ALL (any number of times)"),
        ("--deny-syscalls", "[=NAME,...]", "refuse these calls (default: user namespaces, TIOCSTI, keys, bpf, ...)"),
        *options.SHIM,
    ),
)


class _Ending:
    """A watcher that ends the box when CMD ends, before anybody hears of it."""

    def __init__(self, watcher: Watcher, init: int) -> None:
        self.stopped = watcher.stopped
        self.continued = watcher.continued
        self._ended = watcher.ended
        self._init = init

    def ended(self, status: int) -> None:
        """CMD ended."""
        try:
            os.kill(self._init, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._ended(status)


class Box(Place):
    """A root and what is to be around it."""

    joins = False
    lingers = True

    def __init__(self, plan: Plan, start: Start) -> None:
        self.plan = plan
        self.start = start
        self.hostname = "box"
        self.name = ""
        self.denied: dict[str, tuple[When, ...]] = {}
        self.limits: cgroup.Limits = {}
        self._claim: names.Claim | None = None
        self._group: cgroup.Group | None = None
        self._front = 0

    def enter(self, settings: Settings, *, anyway: bool) -> None:
        """Make the box's user namespace. Real root needs one, too: in it, it is a root like any other."""
        del settings, anyway
        self._front = os.getpid()
        if self.name:
            self._claim = names.Claim(self.name)
        if self.limits:
            self._group, notice = cgroup.choose(self.limits)
            if notice:
                complain(f"box: {notice}")
        if self._claim is not None or self._group is not None:
            afterwards.when_over(self._tidy_up)
        if self._claim is not None:
            self._claim.take()
        if self._group is not None:
            self._group.make()
        try:
            namespaces.new_user()
        except OSError as error:
            raise RemainrootError(
                f"box: a user namespace is refused ({error.strerror}); remainroot doctor tells why"
            ) from None

    def serve(
        self, settings: Settings, watcher: Watcher, become: Callable[[], NoReturn], started: Callable[[int], None]
    ) -> None:
        """Start PID 1, then CMD after it."""
        die_with(self._front)
        try:
            init = Init()
        except OSError as error:
            raise RemainrootError(f"box: a pid namespace is refused ({error.strerror})") from None

        def furnish_and_become() -> NoReturn:
            self.start.guarded(lambda: self._furnish(init))
            become()

        pidfd = os.pidfd_open(init.pid)
        settings.root = self.plan.source

        def fork() -> int:
            pid = namespaces.fork_into(pidfd, namespaces.NEWPID)
            if pid == 0:
                names.mark()
                # The real set: once the shim is there, it answers.
                self.start.guarded(lambda: capabilities.bound(self.start.capabilities))
            return pid

        def began(pid: int) -> None:
            started(pid)
            if self._claim is not None:
                self._claim.publish(pid)

        try:
            supervise(settings, _Ending(watcher, init.pid), furnish_and_become, began, fork=fork)
        finally:
            if self._claim is not None:
                self._claim.release()
            if self._group is not None:
                self._group.remove()

    def _furnish(self, init: Init) -> None:
        """In CMD's process: everything up to the exec."""
        flags = isolate(self.plan)
        build(self.plan)
        namespaces.set_hostname(self.hostname)
        if self.plan.network == "none":
            namespaces.raise_loopback()
        if self._group is not None:
            self._group.join()  # not before: what is unpacked into memory is no doing of CMD's
        flags |= isolate_cgroup()
        if not init.follow(flags):
            raise RemainrootError("box: PID 1 could not join the box")
        if self.denied:
            confine.deny(self.denied)
        self.start.prepare()

    def _tidy_up(self) -> None:
        """When everybody has gone: what could not be done by one of us, or was not, as it was killed."""
        if self._claim is not None:
            names.discard(self._claim.path, names.PATIENCE)
        if self._group is not None:
            self._group.remove()
            self._group.step_back()


# ---------------------------------------------------------------- the command line


def _pair(option: str, text: str) -> tuple[str, str]:
    source, colon, target = text.partition(":")
    if not colon or not source or not _is_place(target):
        raise SYNTAX.fail(f"option {option} is FROM:TO, with an absolute TO, not {text!r}")
    if not os.path.lexists(source):
        raise RemainrootError(f"box: cannot bind {source}: it does not exist")
    return os.path.abspath(source), target


def _is_place(path: str) -> bool:
    """Whether something can be mounted there: by an absolute path, but not the root."""
    return path.startswith("/") and os.path.normpath(path).strip("/") != ""


def _absolute(option: str, path: str) -> str:
    if not _is_place(path):
        raise SYNTAX.fail(f"option {option} needs an absolute path, not {path!r}")
    return path


def plan_of(given: options.Given, root: str) -> Plan:
    """What file system the options ask for."""
    path, _, reference = root.partition(":") if not os.path.exists(root) else (root, "", "")
    if not os.path.exists(path):
        raise RemainrootError(f"box: the root {root} does not exist")
    plan = Plan(os.path.abspath(path))
    if archive.is_layout(path):
        plan.image = archive.open_layout(path, reference)
    elif reference:
        raise RemainrootError(f"box: {path} is no OCI image layout, so it has no image {reference!r}")
    elif os.path.isfile(path):
        plan.image = archive.Image([plan.source], {})
    elif not os.path.isdir(path):
        raise RemainrootError(f"box: {path} is neither a directory nor a tar file")
    plan.network = options.last(given, "--network", "host")
    plan.read_only = "--read-only" in given
    if "--overlay" in given:
        if plan.image is not None:
            raise SYNTAX.fail("option --overlay is for directories: what is unpacked is thrown away anyway")
        overlay = options.last(given, "--overlay")
        plan.overlay = os.path.abspath(overlay) if overlay else ""
    plan.binds = [(*_pair("--bind", text), False) for text in given.get("--bind", [])]
    plan.binds += [(*_pair("--bind-ro", text), True) for text in given.get("--bind-ro", [])]
    plan.tmpfs = [_absolute("--tmpfs", path) for path in given.get("--tmpfs", [])]
    return plan


def main(arguments: list[str]) -> int:
    """Run the subcommand."""
    given, words = SYNTAX.parse(arguments)
    if "--help" not in given:
        run(given, words)
    sys.stdout.write(SYNTAX.usage())
    return 0


def run(given: options.Given, words: list[str]) -> NoReturn:
    """Make the box and end as CMD ends."""
    if not words or not words[0]:
        raise SYNTAX.fail("no ROOTFS given")
    if joined():
        raise RemainrootError("box: not inside another remainroot, whose supervisor would answer for this one's tasks")
    plan = plan_of(given, words[0])
    config = plan.image.config if plan.image is not None else {}
    command = words[2:] if words[1:2] == ["--"] else words[1:]
    command = command or [*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])]
    if not command:
        raise SYNTAX.fail("no CMD given")
    settings = options.settings_of(given)
    if plan.image is not None and not settings.store:
        settings.store = "memory"  # as lasting as what is unpacked
    start = Start(
        "box", command, environment=list(config.get("Env") or []) + given.get("--env", []),
        directory=options.last(given, "--workdir") or config.get("WorkingDir") or "/",
        user=options.last(given, "--user") or config.get("User") or "0", limits=given.get("--rlimit", []),
        capabilities=capabilities.kept(given.get("--cap-drop", []), given.get("--cap-add", [])),
    )  # fmt: skip
    box = Box(plan, start)
    _describe(box, given)
    talks = settings.trace_calls or settings.stats or settings.log is not None
    launch(settings, command, anyway=True, keep_stderr=talks, place=box)


def _describe(box: Box, given: options.Given) -> None:
    """Take what concerns neither the root nor CMD from the options."""
    box.hostname = options.last(given, "--hostname", "box")
    if not 0 < len(box.hostname.encode()) <= 64:
        raise SYNTAX.fail("option --hostname needs a name of 1 to 64 bytes")
    box.name = options.last(given, "--name")
    if "--name" in given and not names.is_name(box.name):
        raise SYNTAX.fail(
            f"option --name: letters, digits, and after the first - _ ., at most 64, and no number, not {box.name!r}"
        )
    if "--deny-syscalls" in given:
        box.denied = confine.rules_of(options.last(given, "--deny-syscalls"))
    box.limits = cgroup.limits_of({name: given[name][-1] for name in cgroup.OPTIONS if name in given})
