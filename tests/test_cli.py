# SPDX-License-Identifier: GPL-2.0-or-later
"""Options and what becomes of them."""

from __future__ import annotations

import json
import pwd
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from remainroot import __version__, cli
from remainroot.errors import RemainrootError
from remainroot.settings import parse_refused
from tests.launching import ENGINES, environment, remainroot

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("arguments", "given", "command"),
    [
        (["true"], {}, ["true"]),
        (["--", "true"], {}, ["true"]),
        (["--", "--", "x"], {}, ["--", "x"]),
        (["apt-get", "-y", "--engine", "x"], {}, ["apt-get", "-y", "--engine", "x"]),
        (["--engine", "trace", "ls", "--", "-l"], {"--engine": "trace"}, ["ls", "--", "-l"]),
        (["--engine=trace", "--engine=ptrace", "ls"], {"--engine": "ptrace"}, ["ls"]),
        (["--stats", "--trace-calls", "--"], {"--stats": "", "--trace-calls": ""}, []),
        (["--log-file=a=b", "ls"], {"--log-file": "a=b"}, ["ls"]),
        (["-", "x"], {}, ["-", "x"]),
        (["-h"], {"--help": ""}, []),
        ([], {}, []),
    ],
)
def test_parse(arguments: list[str], given: dict[str, str], command: list[str]) -> None:
    assert cli.parse(arguments) == (given, command)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--no-such", "ls"], "unknown option --no-such"),
        (["-x", "ls"], "unknown option -x"),
        (["-y", "0", "ls"], "unknown option -y"),
        (["--engine"], "option --engine needs a value"),
        (["--engine=fast", "ls"], "option --engine is one of auto, notify, trace, ptrace, kernel, not 'fast'"),
        (["--stats=yes", "ls"], "option --stats takes no value"),
        (["--log", "loud", "ls"], "option --log is one of debug, info, warning"),
    ],
)
def test_bad_options(arguments: list[str], message: str) -> None:
    with pytest.raises(RemainrootError, match=re.escape(message)) as caught:
        cli.parse(arguments)
    assert caught.value.status == 125
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["", "nice,", "nise", "nice mlock", "NICE", "nice,,mlock"])
def test_bad_pretences_are_one_line_and_125(value: str) -> None:
    result = remainroot("--refuse", value, "--", "echo", "ran")
    assert (result.returncode, result.stdout) == (125, "")
    message = r"remainroot: option --refuse takes some of flags, .*, syslog, with commas; not '.*'\n"
    assert re.fullmatch(message, result.stderr)


def test_pretences() -> None:
    assert parse_refused("nice,mlock,nice") == {"nice", "mlock"}
    assert cli.settings_of({"--refuse": "syslog"}).refused == {"syslog"}
    assert cli.settings_of({}).refused == frozenset()


def test_bad_option_is_one_line_and_125() -> None:
    result = remainroot("--no-such", "echo", "ran")
    assert result.returncode == 125
    assert (result.stdout, result.stderr) == (
        "",
        "remainroot: unknown option --no-such (see remainroot --help)\n",
    )
    result = remainroot()
    assert (result.returncode, result.stderr) == (125, "remainroot: no CMD given (see remainroot --help)\n")


def test_user() -> None:
    nobody = pwd.getpwnam("nobody")
    assert cli.parse_user("nobody") == (nobody.pw_uid, nobody.pw_gid)
    assert cli.parse_user(f"{nobody.pw_uid}") == (nobody.pw_uid, nobody.pw_gid)
    assert cli.parse_user("nobody:12") == (nobody.pw_uid, 12)
    assert cli.parse_user("0:root") == (0, 0)
    assert cli.parse_user("4000000000") == (4_000_000_000, 0)
    assert cli.parse_user("4000000000:4294967294") == (4_000_000_000, 0xFFFF_FFFE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        ":0",
        "0:",
        "no-such-user",
        "0:no-such-group",
        "4294967295",
        "0:4294967295",
        "-1",
        "99999999999",
    ],
)
def test_bad_user(text: str) -> None:
    with pytest.raises(RemainrootError, match="--user"):
        cli.parse_user(text)


def test_user_is_what_the_command_is() -> None:
    result = remainroot("--user", "1234:2345", "--", "sh", "-c", "id -u; id -g; id -G")
    assert (result.stdout.split(), result.stderr) == (["1234", "2345", "2345"], "")


@pytest.mark.parametrize("engine", ENGINES)
def test_user_is_heeded_from_the_first_call_on(engine: str, tmp_path: Path) -> None:
    script = ": >file; mkdir directory; stat -c %u:%g file directory; chown 0 file 2>/dev/null; echo $?"
    result = remainroot("--engine", engine, "--user", "1234:2345", "--", "sh", "-c", script, cwd=tmp_path)
    assert (result.stdout.split(), result.stderr) == (["1234:2345", "1234:2345", "1"], "")


def test_help_and_version() -> None:
    # No namespace is needed for these, and real root is not refused.
    command = [sys.executable, "-m", "remainroot"]
    result = subprocess.run(
        [*command, "--help"], capture_output=True, text=True, env=environment(), check=True
    )
    assert result.stderr == ""
    for option in cli.OPTIONS:
        assert f"  {option.name} " in result.stdout
        assert option.help in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 110
    result = subprocess.run(
        [*command, "--version"], capture_output=True, text=True, env=environment(), check=True
    )
    assert result.stdout == f"remainroot {__version__}\n"


def test_subcommand_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first word of the table is a module's, unless `--` makes it a CMD."""
    monkeypatch.setitem(cli.SUBCOMMANDS, "owners", "tests.subcommand")
    assert cli.run(["owners", "--all", "x"]) == 40
    assert cli.parse(["--", "owners"]) == ({}, ["owners"])


# ---------------------------------------------------------------- the log


def test_log_to_file_as_json(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text('{"old": 1}\n', encoding="ascii")
    result = remainroot("--log", "debug", "--log-format", "json", "--log-file", str(file), "--", "id", "-u")
    assert (result.returncode, result.stdout, result.stderr) == (0, "0\n", "")
    first, *events = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert first == {"old": 1}, "the log is appended to"
    assert events
    assert all({"event", "level", "timestamp"} <= event.keys() for event in events)


def test_log_is_not_inherited(tmp_path: Path) -> None:
    script = "ls -l /proc/self/fd"
    result = remainroot("--log", "debug", "--log-file", str(tmp_path / "log"), "--", "sh", "-c", script)
    assert result.returncode == 0
    assert str(tmp_path) not in result.stdout


def test_log_to_standard_error() -> None:
    result = remainroot("--log", "info", "--", "true")
    assert "info" in result.stderr
    assert remainroot("--log", "warning", "--", "true").stderr == ""


def test_log_that_cannot_be_opened() -> None:
    result = remainroot("--log", "info", "--log-file", "/no/such/directory/log", "--", "echo", "ran")
    assert (result.returncode, result.stdout) == (125, "")
    assert (
        result.stderr
        == "remainroot: cannot write the log /no/such/directory/log: No such file or directory\n"
    )


def test_log_without_structlog(tmp_path: Path) -> None:
    (tmp_path / "structlog.py").write_text("raise ImportError", encoding="ascii")
    env = environment()
    env["PYTHONPATH"] = f"{tmp_path}:{env['PYTHONPATH']}"
    result = remainroot("--log", "info", "--", "echo", "ran", env=env)
    assert (result.returncode, result.stdout) == (125, "")
    assert "pip install structlog" in result.stderr
    assert result.stderr.count("\n") == 1
