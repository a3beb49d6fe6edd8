# SPDX-License-Identifier: GPL-2.0-or-later
"""A task for tests to look at: a process that does what it is told and says what it sees itself."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

PROGRAM = """
import ctypes, json, os, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
requests = os.fdopen(os.dup(0), "r")
answers = os.fdopen(os.dup(1), "w")

def unshare(flags):
    if libc.unshare(flags) < 0:
        raise OSError(ctypes.get_errno(), "unshare")

def mount(source, target, kind, flags):
    if libc.mount(source.encode(), target.encode(), kind.encode(), flags, None) < 0:
        raise OSError(ctypes.get_errno(), "mount")

def look(path, dirfd=None, follow=True):
    st = os.stat(os.fsencode(path), dir_fd=dirfd, follow_symlinks=follow)
    return [st.st_dev, st.st_ino, st.st_mode]

for line in requests:
    name, args = json.loads(line)
    try:
        function = globals().get(name) or getattr(os, name)
        result = ["ok", function(*args)]
    except OSError as error:
        result = ["failed", error.errno]
    answers.write(json.dumps(result) + "\\n")
    answers.flush()
"""


class Task:
    """A process of its own. `do` has it call a function of os, or of PROGRAM, and returns the result."""

    def __init__(self, *prefix: str) -> None:
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-I", "-S", "-c", PROGRAM],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.tid = int(self.do("getpid")) if not prefix else self._process.pid

    def do(self, name: str, *args: object) -> Any:
        """The function's result; OSError with its errno if that is what it raises."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([name, args]) + "\n")
        self._process.stdin.flush()
        kind, value = json.loads(self._process.stdout.readline())
        if kind == "failed":
            raise OSError(value, name)
        return value

    def end(self) -> None:
        """Kill it and see it gone."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
