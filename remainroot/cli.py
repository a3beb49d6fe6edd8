# SPDX-License-Identifier: GPL-2.0-or-later
"""Arguments to exit status. The option loop is our own: argparse would cost half of the start-up's budget."""

from __future__ import annotations

import gc
import os
import sys

from remainroot import __version__, log
from remainroot.errors import EXIT_OURS, RemainrootError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Final

    from remainroot.settings import Settings
else:
    import _signal as signal  # what the module of that name wraps, without its 8 ms of enum

ENGINES: Final = ("auto", "notify", "trace", "ptrace", "kernel")
LEVELS: Final = ("full", "none")


class Option:
    """One option: its name, its value's ("" for a flag), its line of help, its values (empty: any)."""

    __slots__ = ("choices", "help", "metavar", "name")

    def __init__(self, name: str, metavar: str, text: str, choices: tuple[str, ...] = ()) -> None:
        self.name = name
        self.metavar = metavar
        self.help = text
        self.choices = choices


OPTIONS: Final = (
    Option("--engine", "NAME", "how calls are caught: auto (default), notify, trace, ptrace; kernel: not", ENGINES),
    Option("--consistency", "LEVEL", "full (default); none: as --engine kernel, nothing is remembered", LEVELS),
    Option("--user", "UID[:GID]", "start as this user instead of 0:0; names too"),
    Option("--store", "STORE", "where fake owners are kept: memory, durable[:FILE], xattr or sqlite:FILE"),
    Option("--load", "FILE", "(-i) start with the owners that fakeroot -s, or --save, wrote to FILE"),
    Option("--save", "FILE", "(-s) keep owners in memory, and write them to FILE as fakeroot does when CMD ends"),
    Option("--unknown-is-real", "", "(-u) files that nobody gave an owner belong to you, not to root"),
    Option("--strict", "", "a user other than root is refused what a real one would be refused"),
    Option("--fake-time", "", "setting a clock seems to succeed; no clock changes"),
    Option("--refuse", "NAME,...", "what would only seem to succeed is refused as the kernel does: nice, mlock, ..."),
    Option("--fd-base", "FD", "(-b) for fakeroot's sake; nothing here needs it"),
    Option("--log", "LEVEL", "log to standard error: debug, info or warning", log.LEVELS),
    Option("--log-format", "FORMAT", "console (default) or json", log.FORMATS),
    Option("--log-file", "FILE", "append the log to FILE instead"),
    Option("--trace-calls", "", "print each answered call to standard error, as strace would"),
    Option("--stats", "", "print what was answered, once the last process is gone (waits for it)"),
    Option("--anyway", "", "run even as real root with every id mapped"),
    Option("--help", "", "print this and exit"),
    Option("--version", "", "print the version and exit"),
)

NEEDS_SUPERVISOR: Final = (
    "--user", "--store", "--load", "--save", "--unknown-is-real", "--fake-time", "--refuse", "--trace-calls", "--stats",
    "--log", "--log-format", "--log-file",
)  # fmt: skip
"""Options that mean nothing where no supervisor remembers anything."""

SUBCOMMANDS: Final[dict[str, str]] = {
    "agent": "remainroot.containers.agent",
    "box": "remainroot.containers.box",
    "doctor": "remainroot.doctor",
    "enter": "remainroot.containers.enter",
    "owners": "remainroot.owners",
}
"""Module (with a `main(arguments) -> int`) by first word. A CMD of such a name needs `--` before it."""

_SHORT: Final = {
    "-h": "--help",
    "-V": "--version",
    "-i": "--load",
    "-s": "--save",
    "-u": "--unknown-is-real",
    "-b": "--fd-base",
}


def usage() -> str:
    """The text of --help."""
    lines = [
        "usage: remainroot [OPTION...] [--] CMD [ARG...]",
        "",
        "Run CMD and all it starts as a consistent fake root where only one uid and one gid are mapped.",
        "",
    ]
    lines += [
        f"  {option.name + (' ' + option.metavar if option.metavar else ''):<20} {option.help}"
        for option in OPTIONS
    ]
    lines += [
        "",
        "The exit status is CMD's; a fatal signal of CMD's is remainroot's too.",
        "125: remainroot itself failed; 126: CMD cannot be executed; 127: CMD was not found.",
        "This is not a sandbox: a program that drops its privileges keeps, in truth, all that you can do.",
        "",
    ]
    return "\n".join(lines)


def parse(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """Split `arguments` into options by name (a flag's value is "") and CMD with its arguments.

    RemainrootError on an unknown or bad option. Options end at `--` or at the first word that is none.
    """
    known = {option.name: option for option in OPTIONS}
    given: dict[str, str] = {}
    index = 0
    while index < len(arguments):
        word = arguments[index]
        if word == "--":
            return given, arguments[index + 1 :]
        if not word.startswith("-") or word == "-":
            break
        index += 1
        name, equals, value = word.partition("=")
        option = known.get(_SHORT.get(name, name))
        if option is None:
            raise RemainrootError(f"unknown option {name} (see remainroot --help)")
        if not option.metavar:
            if equals:
                raise RemainrootError(f"option {name} takes no value")
        elif not equals:
            if index == len(arguments):
                raise RemainrootError(f"option {name} needs a value: {name} {option.metavar}")
            value = arguments[index]
            index += 1
        if option.choices and value not in option.choices:
            raise RemainrootError(f"option {name} is one of {', '.join(option.choices)}, not {value!r}")
        given[option.name] = value
    return given, arguments[index:]


def parse_user(text: str) -> tuple[int, int]:
    """The uid and gid that `UID[:GID]` or `NAME[:GROUP]` means, by this process's passwd and group.

    Without a group it is the user's own; a number that passwd does not know gets group 0.
    """
    user, colon, group = text.partition(":")
    if not user or (colon and not group):
        raise RemainrootError(f"option --user is UID[:GID] or NAME[:GROUP], not {text!r}")
    import pwd

    gid = 0
    try:
        entry = pwd.getpwuid(_number(user)) if user.isdecimal() else pwd.getpwnam(user)
    except KeyError:
        if not user.isdecimal():
            raise RemainrootError(f"option --user: there is no user {user!r}") from None
        uid = int(user)
    else:
        uid, gid = entry.pw_uid, entry.pw_gid
    if group.isdecimal():
        gid = _number(group)
    elif group:
        import grp

        try:
            gid = grp.getgrnam(group).gr_gid
        except KeyError:
            raise RemainrootError(f"option --user: there is no group {group!r}") from None
    return uid, gid


def _number(text: str) -> int:
    """A uid or gid: 32 bits, of which -1 is no id."""
    value = int(text)
    if value >= 0xFFFF_FFFF:
        raise RemainrootError(f"option --user: {text} is not an id (0 to 4294967294)")
    return value


def settings_of(given: dict[str, str]) -> Settings:
    """Settings from parsed options; opens the log if one was asked for."""
    from remainroot.settings import Settings, parse_refused

    settings = Settings()
    settings.engine = given.get("--engine", "auto")
    if given.get("--consistency") == "none":
        settings.engine = "kernel"
    if settings.engine == "kernel":
        for option in NEEDS_SUPERVISOR:
            if option in given:
                raise RemainrootError(
                    f"option {option} needs a supervisor, and --engine kernel has none: leave one out"
                )
    if "--user" in given:
        settings.uid, settings.gid = parse_user(given["--user"])
    settings.store = given.get("--store", settings.store)
    settings.load = given.get("--load", "")
    settings.save = given.get("--save", "")
    settings.unknown_is_real = "--unknown-is-real" in given
    if settings.store and (settings.load or settings.save):
        raise RemainrootError("options --load and --save keep owners in memory: they exclude --store")
    settings.strict = "--strict" in given
    settings.fake_time = "--fake-time" in given
    if "--refuse" in given:
        settings.refused = parse_refused(given["--refuse"])
    settings.trace_calls = "--trace-calls" in given
    settings.stats = "--stats" in given
    if not given.keys().isdisjoint(("--log", "--log-format", "--log-file")):
        settings.log = log.make(
            given.get("--log", "info"), given.get("--log-format", "console"), given.get("--log-file")
        )
    return settings


def run(arguments: list[str]) -> int:
    """Do what `arguments` ask for; return the exit status, or end the process as CMD ends."""
    if arguments and arguments[0] in SUBCOMMANDS:
        module = __import__(SUBCOMMANDS[arguments[0]], fromlist=["main"])
        return int(module.main(arguments[1:]))
    given, command = parse(arguments)
    if "--help" in given:
        sys.stdout.write(usage())
        return 0
    if "--version" in given:
        sys.stdout.write(f"remainroot {__version__}\n")
        return 0
    if not command:
        raise RemainrootError("no CMD given (see remainroot --help)")
    settings = settings_of(given)
    from remainroot.launch import launch

    # What is said after CMD's end goes to standard error, unless it is only the log and that has a file.
    talks = settings.trace_calls or settings.stats or ("--log" in given and "--log-file" not in given)
    return launch(settings, command, anyway="--anyway" in given, keep_stderr=talks)


def main() -> int:
    """Entry point of the console script."""
    gc.disable()  # until the supervisor runs: a start makes much, and drops nothing
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # ^C while we start ends us as it would end CMD, without a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return run(sys.argv[1:])
    except RemainrootError as error:
        status, text = error.status, str(error)
    except OSError as error:
        status, text = EXIT_OURS, str(error)
    os.write(2, f"remainroot: {text}\n".encode(errors="surrogateescape"))
    return status
