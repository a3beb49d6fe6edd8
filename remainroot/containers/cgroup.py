# SPDX-License-Identifier: GPL-2.0-or-later
"""What a box may use (`--memory`, `--cpus`, `--pids`): a cgroup of version 2, where one can be had: cgroups(7).

A cgroup can be made below one that is delegated to us: that belongs to our user, as in a session of systemd's, or that
real root gave away. A cgroup hands controllers on to those below it only if it has no processes itself. So the place
is our own cgroup where we are alone in it (we step aside, into another one below it), else one that it is in.
"""

from __future__ import annotations

import fcntl
import os
from errno import ENOENT

from remainroot.errors import RemainrootError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

    Limits = dict[str, dict[str, str]]
    """What is to be written to which file of a cgroup, by the controller that it takes."""

OPTIONS: Final = {"--memory": "memory", "--cpus": "cpu", "--pids": "pids"}
"""The controller that each option needs."""
_PREFIX: Final = "remainroot-"
_PERIOD: Final = 100_000  # µs, the kernel's own default
_LEAST_QUOTA: Final = 1000
_MOST_CPUS: Final = 65536
_MOST_PIDS: Final = 1 << 22
_UNITS: Final = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_PATIENCE: Final = 10_000  # ms


# ---------------------------------------------------------------- what is asked for


def limits_of(given: dict[str, str]) -> Limits:
    """The limits that the values of `OPTIONS` mean. RemainrootError on one that means none."""
    return {OPTIONS[option]: _FILES[option](value) for option, value in given.items()}


def _memory(text: str) -> dict[str, str]:
    number = text.upper().removesuffix("B").removesuffix("I")
    unit = number[-1:] if number[-1:].isalpha() else ""
    number = number.removesuffix(unit)
    if not number.isdecimal() or unit not in _UNITS or not 0 < int(number) << _UNITS[unit] < 1 << 63:
        raise RemainrootError(f"option --memory is a number of bytes, or of K, M, G or T, as 512M, not {text!r}")
    return {"memory.max": str(int(number) << _UNITS[unit]), "memory.swap.max": "0"}


def _cpus(text: str) -> dict[str, str]:
    """So many µs of each period."""
    try:
        quota = float(text) * _PERIOD
    except ValueError:
        quota = 0.0
    if not _LEAST_QUOTA <= quota <= _MOST_CPUS * _PERIOD:
        raise RemainrootError(f"option --cpus is a number of processors from 0.01 on, as 0.5 or 2, not {text!r}")
    return {"cpu.max": f"{int(quota)} {_PERIOD}"}


def _pids(text: str) -> dict[str, str]:
    if not text.isdecimal() or not 0 < int(text) <= _MOST_PIDS:
        raise RemainrootError(f"option --pids is a number of processes and threads, as 100, not {text!r}")
    return {"pids.max": str(int(text))}


_FILES: Final = {"--memory": _memory, "--cpus": _cpus, "--pids": _pids}


# ---------------------------------------------------------------- which cgroup there is


def _words(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().split()
    except OSError:
        return []


def _unescaped(text: str) -> str:
    """A path of /proc/PID/mountinfo, where white space is in octal: proc_pid_mountinfo(5)."""
    head, *rest = text.split("\\")
    return head + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)


def _hierarchy() -> tuple[str, str]:
    """Where the hierarchy of version 2 is mounted, and which cgroup is seen there; "" if nowhere."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                words = line.split()
                if words[words.index("-") + 1] == "cgroup2":
                    return _unescaped(words[4]), _unescaped(words[3]).rstrip("/")
    except OSError:
        pass
    return "", ""


def directory_of(pid: int | str) -> str:
    """The directory of a process's cgroup of version 2; "" where none is to be seen. OSError if it is gone."""
    top, seen = _hierarchy()
    with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            number, _, path = line.rstrip("\n").split(":", 2)
            if number == "0" and top and (path + "/").startswith(seen + "/"):
                return (top + path[len(seen) :]).rstrip("/")
    return ""


def _places() -> Iterator[str]:
    """The cgroups, from our own upwards, that we may make others in and move ourselves out of."""
    top = _hierarchy()[0]
    place = directory_of("self")
    while place and place.startswith(top):
        files = (place, f"{place}/cgroup.procs", f"{place}/cgroup.subtree_control")
        if all(os.access(file, os.W_OK) for file in files):
            yield place
        place = os.path.dirname(place)


def _is_empty(place: str) -> bool:
    """Whether the cgroup has no process but us, or needs have none (the root of all is not bound to)."""
    return not os.path.exists(f"{place}/cgroup.type") or set(_words(f"{place}/cgroup.procs")) <= {str(os.getpid())}


def _offers(place: str) -> set[str]:
    """The controllers that a cgroup made in `place` can have."""
    return set(_words(f"{place}/cgroup.{'controllers' if _is_empty(place) else 'subtree_control'}"))


def place_for(controllers: set[str]) -> tuple[str, set[str]]:
    """The nearest cgroup that offers the most of these, and which it offers; "" if none is delegated to us."""
    best, offered = "", set[str]()
    for place in _places():
        found = _offers(place) & controllers
        if not best or len(found) > len(offered):
            best, offered = place, found
    return best, offered


def lack(place: str, controllers: set[str]) -> str:
    """Why a cgroup in `place` cannot have these controllers."""
    if not place:
        own = directory_of("self")
        return f"the cgroup {own} is not delegated to us" if own else "there is no cgroup of version 2 here"
    if controllers <= set(_words(f"{place}/cgroup.controllers")):
        return f"the cgroup {place} has other processes in it, so that those below it cannot be limited"
    return f"the cgroup {place} has no controller {', '.join(sorted(controllers))}"


# ---------------------------------------------------------------- ours


class Group:
    """A cgroup of a box's own, in `place`, with these limits; `make` makes it.

    `remove` and `step_back` may be called by any process, and again.
    """

    def __init__(self, place: str, limits: Limits) -> None:
        self.path = f"{place}/{_PREFIX}{os.getpid()}"
        self._place = place
        self._limits = limits
        self._aside = f"{self.path}.aside"
        self._missing = limits.keys() - _words(f"{place}/cgroup.subtree_control")
        self._procs = -1

    def make(self) -> None:
        """Make it. RemainrootError if the kernel refuses."""
        try:
            lock = _lock(self._place)
            try:
                _sweep(self._place)
                os.mkdir(self.path)
            finally:
                os.close(lock)
            self._procs = os.open(f"{self.path}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
            if self._missing and os.path.exists(f"{self._place}/cgroup.type"):
                self._step_aside()
            for name in self._missing:
                _write(f"{self._place}/cgroup.subtree_control", f"+{name}")
            for files in self._limits.values():
                self._limit(files)
        except OSError as error:
            what = f"the cgroup {self._place} cannot be used for limits"
            raise RemainrootError(f"box: {what}: {error.strerror}") from None

    def _step_aside(self) -> None:
        """Leave `place`, with those that we have started."""
        os.mkdir(self._aside)
        for pid in _words(f"{self._place}/cgroup.procs"):
            _write(f"{self._aside}/cgroup.procs", pid)

    def _limit(self, files: dict[str, str]) -> None:
        for name, value in files.items():
            try:
                _write(f"{self.path}/{name}", value)
            except OSError as error:
                if error.errno != ENOENT:  # memory.swap.max, where swap is not counted
                    raise

    def join(self) -> None:
        """Move this process into it. It works wherever the process has its root by then."""
        os.write(self._procs, b"0")

    def remove(self) -> None:
        """End what is still in it, and remove it, so that `place` is as it was; as far as that can be done."""
        try:
            _write(f"{self.path}/cgroup.kill", "1")  # Linux 5.14; before, the box's pid namespace has to do
        except OSError:
            pass
        _remove(self.path)
        try:
            lock = _lock(self._place)
        except OSError:
            return
        try:
            # What they limit would be so no more.
            others = set(next(os.walk(self._place))[1]) - {os.path.basename(self._aside)}
            for name in self._missing if not others else ():
                _write(f"{self._place}/cgroup.subtree_control", f"-{name}")
        except OSError:
            pass
        finally:
            os.close(lock)

    def step_back(self) -> None:
        """Undo that we stepped aside, from the last process that did."""
        if not os.path.isdir(self._aside):
            return
        try:
            _write(f"{self._place}/cgroup.procs", "0")
        except OSError:
            return  # another box has stepped aside, too, or needs a place without processes
        _remove(self._aside)


def choose(limits: Limits) -> tuple[Group | None, str]:
    """The cgroup that could have the most of these limits, and a clause that says which it could not, and why."""
    wanted = set(limits)
    place, offered = place_for(wanted)
    lacking = ", ".join(option for option, name in OPTIONS.items() if name in wanted - offered)
    notice = f"{lacking} without effect: {lack(place, wanted - offered)} (see remainroot doctor)" if lacking else ""
    group = Group(place, {name: files for name, files in limits.items() if name in offered}) if offered else None
    return group, notice


def _write(path: str, text: str) -> None:
    with open(path, "wb", buffering=0) as file:
        file.write(text.encode())


def _lock(place: str) -> int:
    """Keep other boxes from changing what is in `place`, until the descriptor is closed."""
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def _sweep(place: str) -> None:
    """Remove what boxes have left that were killed together with all who would have done it."""
    for entry in os.listdir(place):
        number = entry.removeprefix(_PREFIX).removesuffix(".aside")
        if entry.startswith(_PREFIX) and number.isdecimal() and not os.path.exists(f"/proc/{number}"):
            try:
                os.rmdir(f"{place}/{entry}")
            except OSError:
                pass  # not empty: somebody is left who will do it


def _remove(path: str) -> None:
    """Remove a cgroup once its last process is gone; give up if that lasts."""
    from select import POLLPRI, poll

    try:
        with open(f"{path}/cgroup.events", "rb") as events:
            poller = poll()
            poller.register(events, POLLPRI)
            while b"populated 1" in os.pread(events.fileno(), 4096, 0):
                if not poller.poll(_PATIENCE):
                    return
        os.rmdir(path)
    except OSError:
        pass
