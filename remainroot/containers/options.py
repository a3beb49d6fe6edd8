# SPDX-License-Identifier: GPL-2.0-or-later
"""Options of the subcommands. Unlike those of `remainroot` itself, some may be given more than once."""

from __future__ import annotations

from remainroot import log
from remainroot.errors import RemainrootError
from remainroot.settings import Settings, parse_refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    Given = dict[str, list[str]]
    """The values of each option that was given, in their order ("" for a flag)."""

SHIM: Final = (
    ("--engine", "NAME", "how calls are caught: auto (default), notify, trace or ptrace"),
    ("--store", "STORE", "where fake owners are kept, as for remainroot itself"),
    ("--refuse", "NAME,...", "what would only seem to succeed is refused, as for remainroot itself"),
    ("--log", "LEVEL", "log to standard error: debug, info or warning"),
    ("--log-format", "FORMAT", "console (default) or json"),
    ("--log-file", "FILE", "append the log to FILE instead"),
    ("--trace-calls", "", "print each answered call to standard error"),
    ("--stats", "", "print what was answered, at the end"),
)
"""Options of every command that runs under the shim."""

_CHOICES: Final = {
    "--engine": ("auto", "notify", "trace", "ptrace"),
    "--log": log.LEVELS,
    "--log-format": log.FORMATS,
    "--network": ("host", "none"),
}


class Syntax:
    """A subcommand's command line."""

    def __init__(self, name: str, synopsis: str, about: str, options: tuple[tuple[str, str, str], ...]) -> None:
        self.name = name
        self.synopsis = synopsis
        self.about = about
        self.options = (*options, ("--help", "", "print this and exit"))

    def usage(self) -> str:
        """The text of --help."""
        lines = [f"usage: remainroot {self.name} {self.synopsis}", "", self.about, ""]
        for name, metavar, text in self.options:
            # Where a value may be left out it needs the equals sign.
            spelled = name + ("" if not metavar else metavar if metavar.startswith("[=") else f" {metavar}")
            lines.append(f"  {spelled:<24} {text}")
        return "\n".join(lines) + "\n"

    def fail(self, text: str) -> RemainrootError:
        """An error in the command line."""
        return RemainrootError(f"{self.name}: {text} (see remainroot {self.name} --help)")

    def parse(self, arguments: list[str]) -> tuple[Given, list[str]]:
        """Options by name, and the words that follow them. RemainrootError on an unknown or bad one.

        Options end at the first word that is none; `--` before that is dropped.
        """
        known = {name: metavar for name, metavar, _ in self.options}
        given: Given = {}
        index = 0
        while index < len(arguments):
            word = arguments[index]
            if word == "--":
                return given, arguments[index + 1 :]
            if not word.startswith("-") or word == "-":
                break
            index += 1
            name, equals, value = word.partition("=")
            name = "--help" if name == "-h" else name
            if name not in known:
                raise self.fail(f"unknown option {name}")
            metavar = known[name]
            if not metavar:
                if equals:
                    raise self.fail(f"option {name} takes no value")
            elif not metavar.startswith("[="):
                if not equals and index < len(arguments):
                    value = arguments[index]
                    index += 1
                if not value:
                    raise self.fail(f"option {name} needs a value: {name} {metavar}")
            choices = _CHOICES.get(name)
            if choices and value not in choices:
                raise self.fail(f"option {name} is one of {', '.join(choices)}, not {value!r}")
            given.setdefault(name, []).append(value)
        return given, arguments[index:]


def last(given: Given, name: str, default: str = "") -> str:
    """The value of the option that was given last."""
    return given[name][-1] if name in given else default


def settings_of(given: Given) -> Settings:
    """Settings from the options of `SHIM`; opens the log if one was asked for."""
    settings = Settings()
    settings.engine = last(given, "--engine", "auto")
    settings.store = last(given, "--store", settings.store)
    if "--refuse" in given:
        settings.refused = parse_refused(",".join(given["--refuse"]))
    settings.trace_calls = "--trace-calls" in given
    settings.stats = "--stats" in given
    if not given.keys().isdisjoint(("--log", "--log-format", "--log-file")):
        file = last(given, "--log-file") or None
        settings.log = log.make(last(given, "--log", "info"), last(given, "--log-format", "console"), file)
    return settings
