# SPDX-License-Identifier: GPL-2.0-or-later
"""The last steps of the process that turns into CMD, once it is in its container: who, where, with what."""

from __future__ import annotations

import os

from remainroot.containers import programs
from remainroot.containers.capabilities import bound, hold
from remainroot.containers.user import find_user
from remainroot.credentials import ALL_CAPS
from remainroot.errors import EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND, EXIT_OURS, RemainrootError
from remainroot.kernel import prlimit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

_HIGHEST: Final = (1 << 63) - 1
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _limit(text: str) -> tuple[int, tuple[int, int], str]:
    """A resource, its limits, and its name, from NAME=SOFT[:HARD]."""
    import resource

    name, equals, values = text.partition("=")
    number = getattr(resource, f"RLIMIT_{name.upper()}", None)
    if not equals or number is None:
        raise RemainrootError(f"option --rlimit is NAME=SOFT[:HARD], as nofile=1024, not {text!r}")
    words = values.split(":")
    try:
        soft, *rest = (resource.RLIM_INFINITY if word == "unlimited" else int(word) for word in words)
    except ValueError:
        raise RemainrootError(f"option --rlimit: {values!r} is no limit: numbers, or unlimited") from None
    if len(rest) > 1 or min([soft, *rest]) < resource.RLIM_INFINITY or max([soft, *rest]) > _HIGHEST:
        raise RemainrootError(f"option --rlimit is NAME=SOFT[:HARD], as nofile=1024, not {text!r}")
    return number, (soft, rest[0] if rest else soft), name


def _variables(words: list[str]) -> dict[str, str]:
    """What NAME=VALUE sets, and NAME passes on."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name:
            raise RemainrootError(f"option --env is NAME=VALUE or NAME, not {word!r}")
        if equals:
            found[name] = value
        elif name in os.environ:
            found[name] = os.environ[name]
    return found


def inherit(environment: dict[str, str]) -> dict[str, str]:
    """An environment of a container, with what is true of the caller's terminal."""
    terminal = {name: os.environ[name] for name in ("TERM", "COLORTERM") if name in os.environ}
    return {"PATH": _PATH} | environment | terminal


class Start:
    """CMD and its circumstances."""

    def __init__(
        self, subcommand: str, command: list[str], *, environment: list[str], directory: str, user: str,
        limits: list[str], capabilities: int = ALL_CAPS, inherited: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.subcommand = subcommand
        self.command = command
        self.directory = directory
        """Where it starts, "" for where it is by then."""
        self.user = user
        """Whom it runs as, "" for whoever it is by then."""
        self.environment = inherit({"container": "remainroot"} if inherited is None else inherited)
        self.environment |= _variables(environment)
        self.limits = [_limit(text) for text in limits]
        self.capabilities = capabilities
        """Those that it is to have, as a mask. What becomes another user than root keeps them in its bounding set."""

    @staticmethod
    def guarded(work: Callable[[], None]) -> None:
        """Run `work` in CMD's process; where it fails, say so and end the process."""
        try:
            work()
        except RemainrootError as error:
            status, text = error.status, str(error)
        except BaseException as error:  # noqa: BLE001  # nothing may return from here into the supervisor's code
            status, text = EXIT_OURS, f"{type(error).__name__}: {error}"
        else:
            return
        os.write(2, f"remainroot: {text}\n".encode(errors="surrogateescape"))
        os._exit(status)

    def prepare(self, *, is_here: bool = True) -> None:
        """Take on user, limits, directory and environment, and look at the program if it is of this root."""
        user = find_user(self.user) if self.user else None
        for number, limits, name in self.limits:
            try:
                prlimit(0, number, limits)
            except OSError as error:
                raise RemainrootError(f"{self.subcommand}: the limit {name} cannot be set: {error.strerror}") from None
        bound(self.capabilities)
        if user is not None:
            user.become()
            self.environment.setdefault("HOME", user.home)
        if self.capabilities != ALL_CAPS and os.geteuid() == 0:
            hold(self.capabilities)
        try:
            if self.directory:
                os.chdir(self.directory)
        except OSError as error:
            raise RemainrootError(
                f"{self.subcommand}: cannot enter the directory {self.directory}: {error.strerror}"
            ) from None
        os.environ.clear()
        os.environ.update(self.environment)
        if is_here:
            self._check()

    def _check(self) -> None:
        """Name what execve(2) would not: a program that is there, but not its loader or interpreter."""
        name = self.command[0]
        file = programs.find(name, self.environment["PATH"])
        if not file:
            return
        why = programs.obstacle(file)
        if why:
            status = EXIT_NOT_FOUND if "not exist" in why else EXIT_NOT_EXECUTABLE
            raise RemainrootError(f"{name}: {why}", status)
