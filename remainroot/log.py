# SPDX-License-Identifier: GPL-2.0-or-later
"""The log of a run. Only here is structlog imported, and only if a log was asked for: that takes 60 ms."""

from __future__ import annotations

import os
import sys

from remainroot.errors import RemainrootError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, TextIO

LEVELS: Final = ("debug", "info", "warning")
FORMATS: Final = ("console", "json")

_NUMBERS: Final = {"debug": 10, "info": 20, "warning": 30}


def make(level: str, form: str = "console", file: str | None = None) -> Any:
    """A structlog logger for events of `level` (of LEVELS) and above, rendered as `form` (of FORMATS).

    It appends to `file`, which CMD does not inherit, or writes to standard error. RemainrootError if
    structlog is not installed or the file cannot be opened.
    """
    try:
        import structlog
    except ImportError:
        raise RemainrootError(
            "--log needs the Python package structlog, which is not installed: pip install structlog"
        ) from None
    stream: TextIO = sys.stderr
    if file is not None:
        try:
            fd = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise RemainrootError(f"cannot write the log {file}: {error.strerror}") from None
        stream = os.fdopen(fd, "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    processors: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if form == "json":
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=repr)]
    else:
        processors.append(structlog.dev.ConsoleRenderer(colors=stream.isatty()))
    return structlog.wrap_logger(
        structlog.WriteLogger(stream),
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(_NUMBERS[level]),
    )
