# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of running boxes (`--name`), by which `remainroot enter` finds them.

Each is a file in a directory that is the user's own: the pid of CMD and when that started, or nothing yet. Who made
the box holds it locked, so that the lock goes with the last of them, however they end; a file without a lock is a
leftover, and whoever meets it removes it.
"""

from __future__ import annotations

import fcntl
import os
import stat
from time import monotonic, sleep

from remainroot import kernel
from remainroot.errors import RemainrootError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_TOO_LONG: Final = 64
_MARKS: Final = frozenset("-_.")
IN_THE_MAKING: Final = b"remainroot-box"
"""What CMD's process is called (/proc/PID/comm) until it is CMD."""
PATIENCE: Final = 5.0
"""Seconds after which whoever holds a file will go on to do so."""
_POLL: Final = 0.01
_STARTED: Final = 19  # in /proc/PID/stat, counted from the field after the name


def is_name(text: str) -> bool:
    """Whether a box may be called that: never a pid, a path, or ENGINE:NAME."""
    letters = all(char.isascii() and (char.isalnum() or char in _MARKS) for char in text)
    return letters and 0 < len(text) <= _TOO_LONG and text[0].isalnum() and not text.isdecimal()


def _directory() -> str:
    """Where the files are; it need not exist."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/") and _is_ours(runtime):
        return f"{runtime}/remainroot"
    return f"/tmp/remainroot-{os.geteuid()}"  # noqa: S108  # looked at before it is trusted


def _is_ours(path: str) -> bool:
    """Whether this is a directory that is ours, and that nobody else may write to. OSError but for ENOENT."""
    try:
        st = os.lstat(path)
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(st.st_mode) and st.st_uid == os.geteuid() and not st.st_mode & 0o022


def _must_be_ours(directory: str) -> None:
    if os.path.lexists(directory) and not _is_ours(directory):
        raise RemainrootError(
            f"names of boxes are kept in {directory}, which others can write to: remove it, or set XDG_RUNTIME_DIR"
        )


def _started(pid: int) -> int:
    """When process `pid` was started, in ticks since the boot; 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            words = file.read().rpartition(b") ")[2].split()
    except OSError:
        return 0
    return 0 if words[0] in (b"Z", b"X") else int(words[_STARTED])


def _open(path: str, flags: int) -> int:
    """Open the file, locked for us; -1 if somebody holds it. OSError(ENOENT) if there is none."""
    while True:
        fd = os.open(path, flags | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return -1
        try:
            if os.path.samestat(os.stat(path), os.fstat(fd)):
                return fd
        except FileNotFoundError:
            pass
        os.close(fd)  # it was removed before we had it


def _read(path: str) -> tuple[int, int]:
    """The pid and start in the file; zeros if there is nothing yet, or no file any more."""
    try:
        with open(path, "rb") as file:
            words = file.read(64).split()
    except FileNotFoundError:
        return 0, 0
    return (int(words[0]), int(words[1])) if len(words) == 2 else (0, 0)


class Claim:
    """A name that is to be this box's, for as long as a process has the descriptor that it is locked by."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = f"{_directory()}/{name}"
        self._fd = -1

    def take(self) -> None:
        """Have it. RemainrootError if a box that runs is called so."""
        directory = os.path.dirname(self.path)
        end = monotonic() + PATIENCE
        while True:
            try:
                _must_be_ours(directory)
                os.makedirs(directory, 0o700, exist_ok=True)
                for other in os.listdir(directory):
                    discard(f"{directory}/{other}")
                self._fd = _open(self.path, os.O_CREAT)
            except FileNotFoundError:
                continue  # the directory was removed, as nobody needed it
            except OSError as error:
                raise RemainrootError(f"box: cannot keep the name in {directory}: {error.strerror}") from None
            if self._fd >= 0:
                return
            pid, started = _read(self.path)
            if (pid and _started(pid) == started) or monotonic() > end:
                raise RemainrootError(f"box: a box called {self.name} is running: take another --name, or end that one")
            sleep(_POLL)  # it has just ended, or somebody looks whether it has

    def publish(self, pid: int) -> None:
        """CMD is this process."""
        os.pwrite(self._fd, b"%d %d\n" % (pid, _started(pid)), 0)

    def release(self) -> None:
        """Give the name back."""
        _remove(self.path, self._fd)


def _remove(path: str, fd: int) -> None:
    """Remove the file that we hold by `fd`, and let go of it."""
    try:
        os.unlink(path)
        os.rmdir(os.path.dirname(path))
    except OSError:
        pass  # other boxes have names, too
    os.close(fd)


def discard(path: str, patience: float = 0.0) -> None:
    """Remove the file if nobody holds it, or will in `patience` seconds."""
    end = monotonic() + patience
    while True:
        try:
            fd = _open(path, 0)
        except OSError:
            return
        if fd >= 0:
            _remove(path, fd)
            return
        if monotonic() >= end:
            return
        sleep(_POLL)


def find(name: str) -> int:
    """The process that is CMD of the box of this name, once it is; 0 if there is no such box."""
    directory = _directory()
    _must_be_ours(directory)
    path = f"{directory}/{name}"
    while is_name(name) and os.path.exists(path):
        discard(path)
        pid, started = _read(path)
        if pid and _started(pid) != started:
            return 0
        if pid and not _is_in_the_making(pid):
            return pid
        sleep(_POLL)
    return 0


def mark() -> None:
    """In CMD's process: it is in the making."""
    kernel.set_name(IN_THE_MAKING)


def _is_in_the_making(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return file.read().rstrip(b"\n") == IN_THE_MAKING
    except OSError:
        return False
