# SPDX-License-Identifier: GPL-2.0-or-later
"""Privileged calls that harm nobody when they only seem to succeed; doc/PRIVILEGED.md says which, and why.

Where the kernel would do it, it does. Only where it refuses because this is a user namespace's root does the call
succeed here: remembered if it can be asked back.
"""

from __future__ import annotations

import os
from errno import EACCES, EFAULT, EINVAL, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOMEM, ENOTDIR, EPERM, EROFS
from stat import S_ISBLK, S_ISDIR, S_ISREG
from struct import Struct
from time import monotonic

from remainroot.credentials import (
    CAP_IPC_LOCK,
    CAP_SYS_ADMIN,
    CAP_SYS_BOOT,
    CAP_SYS_PACCT,
    CAP_SYS_TIME,
    CAP_SYS_TTY_CONFIG,
    CAP_SYSLOG,
)
from remainroot.dispatch import CONTINUE, DONE, Fail, Return, handles
from remainroot.handlers.peers import TERMINAL, owner_of_namespace, stat_field
from remainroot.handlers.resource_limits import told_limit
from remainroot.kernel import AT_FDCWD, PAGE, RLIM_INFINITY, RLIMIT_MEMLOCK, prlimit
from remainroot.namespaces import INITIAL
from remainroot.tracee import status_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call, Outcome

# ---------------------------------------------------------------- host names

_NAME_MAX: Final = 64
_FIELD: Final = 65
_NODE, _MACHINE, _DOMAIN = 1, 4, 5
"""Which of the six fields of struct new_utsname (uname(2))."""
_PER_LINUX32: Final = 8
"""personality(2) of a task that wants to be shown a 32-bit machine."""


def _uts(tid: int) -> int:
    return os.stat(f"/proc/{tid}/ns/uts").st_ino


def _name(call: Call, field: int) -> Outcome:
    if not call.creds.capable_inside(CAP_SYS_ADMIN):
        return Fail(EPERM)
    own = call.creds.namespace is not INITIAL
    if own or "hostname" in call.world.settings.refused or owner_of_namespace(call.tid, "uts"):
        return CONTINUE  # whose namespace is ours, or one within, its root may name
    size = call.signed(1)
    if not 0 <= size <= _NAME_MAX:
        return Fail(EINVAL)
    call.world.names[_uts(call.tid), field] = call.read(call.ptr(0), size) if size else b""
    return DONE


@handles("sethostname")
def sethostname(call: Call) -> Outcome:
    """sethostname(2): in the host's UTS namespace remembered, and told to the whole tree."""
    return _name(call, _NODE)


@handles("setdomainname")
def setdomainname(call: Call) -> Outcome:
    """setdomainname(2), as sethostname."""
    return _name(call, _DOMAIN)


@handles("uname")
def uname(call: Call) -> Outcome:
    """uname(2), with the names that were set here."""
    names = call.world.names
    if not names:
        return CONTINUE
    space = _uts(call.tid)
    if (space, _NODE) not in names and (space, _DOMAIN) not in names:
        return CONTINUE
    with open("/proc/sys/kernel/domainname", "rb") as file:
        domain = file.read().rstrip(b"\n")
    fields = [*(os.fsencode(text) for text in os.uname()), domain]
    with open(f"/proc/{call.tid}/personality", "rb") as file:
        if int(file.read(), 16) & 0xFF == _PER_LINUX32:
            fields[_MACHINE] = {b"x86_64": b"i686", b"aarch64": b"armv8l"}.get(fields[_MACHINE], fields[_MACHINE])
    for field in (_NODE, _DOMAIN):
        fields[field] = names.get((space, field), fields[field])
    call.write(call.ptr(0), b"".join(text.ljust(_FIELD, b"\0") for text in fields))
    return DONE


# ---------------------------------------------------------------- memory


def _may_lock(call: Call, more: int, limit: int | None) -> bool:
    """Whether a limit on locked memory, if there is one, allows this much more."""
    if limit is None or limit == RLIM_INFINITY:
        return limit is not None
    return int(status_field(call.tid, b"VmLck").split()[0]) * 1024 + more <= limit


def _pretends_to_lock(call: Call, more: int) -> bool:
    """With CAP_IPC_LOCK, or as far as a limit that is only remembered allows."""
    if "mlock" in call.world.settings.refused:
        return False
    if call.creds.capable(CAP_IPC_LOCK):
        return True
    return _may_lock(call, more, told_limit(call, call.tid, RLIMIT_MEMLOCK))


@handles("mlockall")
def mlockall(call: Call) -> Outcome:
    """mlockall(2) under a limit: nothing is locked, for with MCL_FUTURE the limit would make mmap(2) fail."""
    flags = call.unsigned(0)
    if not flags or flags & ~7 or flags == 4:
        return CONTINUE  # EINVAL
    size = int(status_field(call.tid, b"VmSize").split()[0]) * 1024 if flags & 1 else 1
    if not _pretends_to_lock(call, size):
        return CONTINUE
    return CONTINUE if prlimit(call.tid, RLIMIT_MEMLOCK)[0] == RLIM_INFINITY else DONE


@handles("mlock", "mlock2")
def mlock(call: Call) -> Outcome:
    """mlock(2) beyond RLIMIT_MEMLOCK: nothing is locked. EINVAL for what is no range, ENOMEM for one with gaps."""
    more = call.ptr(1) + 2 * PAGE
    if not _pretends_to_lock(call, call.ptr(1)) or _may_lock(call, more, prlimit(call.tid, RLIMIT_MEMLOCK)[0]):
        return CONTINUE
    if call.name == "mlock2" and call.unsigned(2) & ~_MLOCK_ONFAULT:
        return Fail(EINVAL)
    start = call.ptr(0) & -PAGE
    end = start + ((call.ptr(1) + call.ptr(0) % PAGE + PAGE - 1) % _WRAP & -PAGE)
    if end >= _WRAP:
        return Fail(EINVAL)
    return DONE if _is_mapped(call.tid, start, end) else Fail(ENOMEM)


_MLOCK_ONFAULT: Final = 1
_WRAP: Final = 1 << 64
"""Where the kernel's numbers begin anew."""


def _is_mapped(tid: int, start: int, end: int) -> bool:
    """Whether every page from `start` to `end` is in a mapping: proc_pid_maps(5)."""
    with open(f"/proc/{tid}/maps", "rb") as maps:
        for line in maps:
            first, last = (int(number, 16) for number in line.split(None, 1)[0].split(b"-"))
            if last > start >= first:
                start = last
            if start >= end:
                return True
    return start >= end


# ---------------------------------------------------------------- the kernel's log

_READS: Final = (2, 3, 4)
_SIZES: Final = {9: 0, 10: 1 << 17}
_SILENT: Final = (0, 1, 5, 6, 7, 8)


@handles("syslog")
def syslog(call: Call) -> Outcome:
    """syslog(2): where the log may not be read it is empty, and there are no consoles to set."""
    action = call.signed(0)
    capable = call.creds.capable(CAP_SYSLOG) or call.creds.capable(CAP_SYS_ADMIN)
    if not capable or "syslog" in call.world.settings.refused:
        return CONTINUE
    if action in (3, 10) and _log_is_open():
        return CONTINUE
    if action in _READS:
        return Fail(EINVAL) if not call.ptr(1) or call.signed(2) < 0 else Return(0)
    if action == 8 and not 1 <= call.signed(2) <= 8:
        return Fail(EINVAL)
    return Return(_SIZES[action]) if action in _SIZES else DONE if action in _SILENT else Fail(EINVAL)


def _log_is_open() -> bool:
    """Whether everybody may read the kernel's log."""
    try:
        with open("/proc/sys/kernel/dmesg_restrict", "rb") as file:
            return file.read().strip() == b"0"
    except OSError:
        return False


# ---------------------------------------------------------------- swap areas

_SWAP_FLAGS: Final = 0x7FFFF
_PATH_ERRORS: Final = (EFAULT, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR)
_SIGNATURES: Final = (b"SWAP-SPACE", b"SWAPSPACE2")


def _whats_wrong(call: Call) -> int:
    """What is wrong with the file that is to be a swap area, as an errno; 0: nothing."""
    try:
        path = call.path(0)
        fd = call.world.files.resolve(call.tid, AT_FDCWD, path)
    except OSError as error:
        return error.errno if error.errno in _PATH_ERRORS else 0
    try:
        st = os.fstat(fd)
        if S_ISDIR(st.st_mode):
            return EISDIR
        if not S_ISREG(st.st_mode):
            return 0 if S_ISBLK(st.st_mode) else EINVAL
        if call.name == "swapoff":
            return EINVAL if _is_no_swap(path) else 0
        with open(f"/proc/self/fd/{fd}", "rb", buffering=0) as file:
            return 0 if file.read(PAGE)[-len(_SIGNATURES[0]) :] in _SIGNATURES else EINVAL
    except OSError:
        return 0
    finally:
        os.close(fd)


def _is_no_swap(path: bytes) -> bool:
    with open("/proc/swaps", "rb") as file:
        return os.path.basename(path) not in file.read()


@handles("swapon", "swapoff")
def swap(call: Call) -> Outcome:
    """swapon(2), swapoff(2): what is wrong with the file is said as to real root; a right one is refused with EPERM."""
    if not call.creds.capable(CAP_SYS_ADMIN) or (call.name == "swapon" and call.unsigned(1) & ~_SWAP_FLAGS):
        return CONTINUE
    wrong = _whats_wrong(call)
    return Fail(wrong) if wrong else CONTINUE


# ---------------------------------------------------------------- accounting, terminals


@handles("acct")
def acct(call: Call) -> Outcome:
    """acct(2): as `swap`: EISDIR, EACCES for what is no regular file, EROFS."""
    if not call.creds.capable(CAP_SYS_PACCT) or not call.ptr(0):
        return CONTINUE
    try:
        fd = call.world.files.resolve(call.tid, AT_FDCWD, call.path(0))
    except OSError as error:
        return Fail(error.errno) if error.errno in _PATH_ERRORS else CONTINUE
    try:
        mode = os.fstat(fd).st_mode
        if S_ISDIR(mode):
            return Fail(EISDIR)
        if not S_ISREG(mode):
            return Fail(EACCES)
        return Fail(EROFS) if os.fstatvfs(fd).f_flag & os.ST_RDONLY else CONTINUE
    finally:
        os.close(fd)


@handles("vhangup")
def vhangup(call: Call) -> Outcome:
    """vhangup(2): who has no controlling terminal has nothing to hang up."""
    if not call.creds.capable(CAP_SYS_TTY_CONFIG) or stat_field(call.tid, TERMINAL):
        return CONTINUE
    return DONE


# ---------------------------------------------------------------- clocks


_CLOCK_REALTIME: Final = 0
_MILLION, _BILLION = 1_000_000, 1_000_000_000
_SECONDS_MAX: Final = (1 << 63) // _BILLION - 30 * 365 * 24 * 3600
"""No later time can be set: the kernel keeps thirty years before its clock ends."""
_ZONE_MAX: Final = 15 * 60


def _time(call: Call, address: int, *, wide: bool) -> tuple[int, int]:
    """A struct timeval or timespec."""
    seconds, part = Struct("=qq" if wide else "=ii").unpack(call.read(address, 16 if wide else 8))
    return seconds, part


def _set(seconds: int, part: int, parts: int) -> Outcome:
    """EINVAL for no time, and for one before the machine was started."""
    return DONE if int(monotonic()) < seconds < _SECONDS_MAX and 0 <= part < parts else Fail(EINVAL)


@handles("clock_settime", "clock_settime64")
def clock_settime(call: Call) -> Outcome:
    """clock_settime(2): with --fake-time it succeeds for CLOCK_REALTIME, and no clock changes."""
    if not _pretends_to_set(call) or call.signed(0) != _CLOCK_REALTIME:
        return CONTINUE
    seconds, nanoseconds = _time(call, call.ptr(1), wide=call.abi.bits == 64 or call.name.endswith("64"))
    return _set(seconds, nanoseconds, _BILLION)


@handles("settimeofday")
def settimeofday(call: Call) -> Outcome:
    """settimeofday(2): as `clock_settime`; EINVAL for a zone more than 15 hours away."""
    if not _pretends_to_set(call):
        return CONTINUE
    when = _time(call, call.ptr(0), wide=call.abi.bits == 64) if call.ptr(0) else None
    if when is not None and not 0 <= when[1] < _MILLION:
        return Fail(EINVAL)
    west = int.from_bytes(call.read(call.ptr(1), 8)[:4], "little", signed=True) if call.ptr(1) else 0
    outcome = DONE if when is None else _set(*when, _MILLION)
    return outcome if -_ZONE_MAX <= west <= _ZONE_MAX else Fail(EINVAL)


@handles("stime")
def stime(call: Call) -> Outcome:
    """stime(2): as `clock_settime`, in seconds."""
    if not _pretends_to_set(call):
        return CONTINUE
    return _set(int.from_bytes(call.read(call.ptr(0), 4), "little", signed=True), 0, 1)


def _pretends_to_set(call: Call) -> bool:
    return call.world.settings.fake_time and call.creds.capable(CAP_SYS_TIME)


# ---------------------------------------------------------------- the machine

_MAGIC: Final = 0xFEE1DEAD
_MAGIC_TOO: Final = (672274793, 85072278, 369367448, 537993216)


@handles("reboot")
def reboot(call: Call) -> Outcome:
    """reboot(2): EINVAL for what is no such call, where root would be told so; the rest is the kernel's."""
    if call.unsigned(0) == _MAGIC and call.unsigned(1) in _MAGIC_TOO:
        return CONTINUE
    return Fail(EINVAL if call.creds.capable(CAP_SYS_BOOT) else EPERM)
