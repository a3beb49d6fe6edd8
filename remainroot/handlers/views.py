# SPDX-License-Identifier: GPL-2.0-or-later
"""What procfs says: /proc/PID/{status,limits,oom_score_adj,uid_map,gid_map,setgroups}, /proc/sysvipc.

See proc(5), user_namespaces(7).

Reading a file is not caught, that would cost every program too much. But the readers of text (stdio, Python, Go, Perl,
cat, grep) ask for a file's status before they read it, and that call is. When it is made of a freshly opened file of
procfs whose text would tell another story than ours, the task's descriptor is exchanged for one of a file in memory
that holds the text as real root would read it. Where an open to read is caught it is that from the start: of the
programs that `remainroot.readers` knows, ps among them, and with `--strict` of all.
"""

from __future__ import annotations

import os
from stat import S_ISREG

from remainroot.dispatch import CONTINUE, InstallFd
from remainroot.handlers.opening import open_device
from remainroot.handlers.paths import Unresolved, find_path
from remainroot.handlers.peers import task_of
from remainroot.handlers.user_namespaces import map_text, setgroups_text
from remainroot.kernel import AT_SYMLINK_NOFOLLOW, O_CLOEXEC, O_PATH, RLIM_INFINITY
from remainroot.namespaces import INITIAL
from remainroot.tasks import DEFAULT_SLACK, RLIMIT_RTTIME, user_namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from remainroot.dispatch import Call, Outcome
    from remainroot.namespaces import Namespace
    from remainroot.tasks import State

    View = Callable[[Call, int, bytes], bytes]

_USUAL: Final = 8192
"""How much text a file has at most, if nobody has thousands of groups."""
_NAME: Final = 26
"""How wide a limit's name is, with the space after it; two columns of 21 follow, then the unit."""
_U64: Final = (1 << 64) - 1


# ---------------------------------------------------------------- texts


def status_text(
    text: bytes, state: State, *, filters: int, tracer: int, own: bool, namespace: Namespace = INITIAL
) -> bytes:
    """/proc/PID/status of a task in `state`, made of what the kernel says, for a reader in `namespace`.

    `filters` seccomp filters are ours and not to be seen, nor is a tracer that has the pid `tracer`. Who reads its
    `own` runs, though it waits for us.
    """
    creds = state.creds
    uids, gids = namespace.uids.shown, namespace.gids.shown
    values = {
        b"Uid": b"%d\t%d\t%d\t%d" % (uids(creds.uid), uids(creds.euid), uids(creds.suid), uids(creds.fsuid)),
        b"Gid": b"%d\t%d\t%d\t%d" % (gids(creds.gid), gids(creds.egid), gids(creds.sgid), gids(creds.fsgid)),
        b"Groups": b"".join([b"%d " % gids(gid) for gid in creds.groups]) or b" ",
        b"CapInh": b"%016x" % creds.inheritable,
        b"CapPrm": b"%016x" % creds.permitted,
        b"CapEff": b"%016x" % creds.effective,
        b"CapBnd": b"%016x" % creds.bounding,
        b"CapAmb": b"%016x" % creds.ambient,
        b"NoNewPrivs": b"%d" % creds.no_new_privs,
    }
    if own:
        values[b"State"] = b"R (running)"
    lines = text.split(b"\n")
    fields = {line[: line.find(b":")]: index for index, line in enumerate(lines)}
    if filters and b"Seccomp_filters" in fields:
        count = int(lines[fields[b"Seccomp_filters"]].split()[1]) - filters
        values[b"Seccomp_filters"] = b"%d" % max(count, 0)
        if count <= 0:
            values[b"Seccomp"] = b"0"
    if b"TracerPid" in fields and int(lines[fields[b"TracerPid"]].split()[1]) == tracer:
        values[b"TracerPid"] = b"0"
    for name, value in values.items():
        if name in fields:
            lines[fields[name]] = name + b":\t" + value
    return b"\n".join(lines)


def limits_text(text: bytes, state: State) -> bytes:
    """/proc/PID/limits, with the limits that the task believes to have: below the head, a line for each by number."""
    lines = text.split(b"\n")
    for resource in range(len(lines) - 2):
        limit = state.rttime if resource == RLIMIT_RTTIME else state.pretended(f"rlimit{resource}")
        if limit is not None:
            shown = [b"unlimited" if value in (RLIM_INFINITY, _U64) else b"%d" % value for value in limit]
            line = lines[resource + 1]
            lines[resource + 1] = line[:_NAME] + b"%-20s %-20s " % (*shown,) + line[_NAME + 42 :]
    return b"\n".join(lines)


def _status(call: Call, tid: int, text: bytes) -> bytes:
    world = call.world
    state, namespace = world.tasks.state(tid), call.creds.namespace
    own = tid == call.tid
    return status_text(text, state, filters=world.filters, tracer=os.getpid(), own=own, namespace=namespace)


def _limits(call: Call, tid: int, text: bytes) -> bytes:
    return limits_text(text, call.world.tasks.state(tid))


def _in_our_namespace(tid: int) -> bool:
    return user_namespace(tid) == user_namespace(os.getpid())


def _is_kernels(call: Call, tid: int) -> bool:
    """Whether the user namespace is one that nobody here has made, nor joined: a box's, or a stranger's."""
    spaces = call.world.tasks.state(tid).creds.namespace, call.creds.namespace
    return spaces == (INITIAL, INITIAL) and not _in_our_namespace(tid)


def _uid_map(call: Call, tid: int, text: bytes) -> bytes:
    return text if _is_kernels(call, tid) else map_text(call, tid, b"uid_map")


def _gid_map(call: Call, tid: int, text: bytes) -> bytes:
    return text if _is_kernels(call, tid) else map_text(call, tid, b"gid_map")


def _setgroups(call: Call, tid: int, text: bytes) -> bytes:
    return text if _is_kernels(call, tid) else setgroups_text(call, tid)


def _login_uid(call: Call, tid: int, text: bytes) -> bytes:
    if call.world.written is None:
        return text
    from remainroot.handlers.login import shown

    return shown(call.world, tid, text)


def _oom_score_adj(call: Call, tid: int, text: bytes) -> bytes:
    if call.world.adjustments is None:
        return text
    from remainroot.handlers.oom_score import shown

    return shown(call.world, tid, text)


def _timer_slack(call: Call, tid: int, text: bytes) -> bytes:
    """Not with the mark that it bears while threads differ (`remainroot.tasks`)."""
    tasks = call.world.tasks
    return b"%d\n" % DEFAULT_SLACK if tasks.mixed and tasks.marked(tid) else text


_VIEWS: Final[dict[bytes, View]] = {
    b"status": _status,
    b"limits": _limits,
    b"uid_map": _uid_map,
    b"gid_map": _gid_map,
    b"setgroups": _setgroups,
    b"loginuid": _login_uid,
    b"oom_score_adj": _oom_score_adj,
    b"timerslack_ns": _timer_slack,
}


# ---------------------------------------------------------------- descriptors


def _fresh(tid: int, number: int) -> tuple[bool, bool]:
    """Whether the descriptor is open for reading alone and nothing was read yet, and whether it is close-on-exec."""
    # The first two lines are "pos:" and "flags:".
    words = _read(b"/proc/%d/fdinfo/%d" % (tid, number), 512).split(None, 4)
    flags = int(words[3], 8)
    return not flags & (os.O_ACCMODE | O_PATH) and words[1] == b"0", bool(flags & O_CLOEXEC)


def _read(path: bytes, size: int) -> bytes:
    """What one read of the file gives, and more where it filled the buffer."""
    fd = os.open(path, os.O_RDONLY | O_CLOEXEC)
    try:
        text = os.read(fd, size)
        while len(text) >= size:
            size *= 16
            text += os.read(fd, size - len(text))
    finally:
        os.close(fd)
    return text


def _read_whole(path: bytes) -> bytes:
    """What all reads of the file give: of a table each gives a page at most."""
    with open(path, "rb", buffering=0) as file:
        return file.read()


def substitute(call: Call, fd: int, st: os.stat_result, number: int) -> tuple[int, bool] | None:
    """What the task is to read instead of the procfs file `fd` with status `st` that is its descriptor `number`.

    A descriptor for it (the caller's to close) and its close-on-exec flag, or None where the file itself is right.
    """
    path = os.readlink(b"/proc/self/fd/%d" % fd)
    shown = _shown(call, fd, st, path)
    if shown is None:
        return None
    try:
        fresh, cloexec = _fresh(call.tid, number)
    except (OSError, ValueError, IndexError):
        return None  # the task ended
    return (_in_memory(path, shown), cloexec) if fresh else None


def opened(call: Call, dirfd: int, index: int, flags: int) -> Outcome:
    """An open to read, of the path that is argument `index`: the text itself, if it is not right, or a device.

    Where such an open is caught. The file in memory shows its own status. Whether a task that has confined itself with
    Landlock may open a file of procfs, only the kernel knows: its descriptor is exchanged later.
    """
    if flags & (os.O_ACCMODE | O_PATH | os.O_DIRECTORY):
        return CONTINUE
    try:
        fd, st = find_path(call, dirfd, index, AT_SYMLINK_NOFOLLOW if flags & os.O_NOFOLLOW else 0)
    except Unresolved:
        return CONTINUE
    try:
        if st.st_size or not S_ISREG(st.st_mode):
            return CONTINUE
        if not call.world.files.lies_on_proc(fd, st):
            return open_device(call, fd, st, flags) or CONTINUE
        if call.state.confined:
            return CONTINUE
        path = os.readlink(b"/proc/self/fd/%d" % fd)
        shown = _shown(call, fd, st, path)
    finally:
        os.close(fd)
    return CONTINUE if shown is None else InstallFd(_in_memory(path, shown), cloexec=bool(flags & O_CLOEXEC))


def _shown(call: Call, fd: int, st: os.stat_result, path: bytes) -> bytes | None:
    """The text that the task is to read in the procfs file `fd`; None if it is the one that is there."""
    parts = path.split(b"/")
    try:
        if parts[-2] == b"sysvipc":
            return _ipc_objects(call, parts[-1])
        view = _VIEWS.get(parts[-1])
        tid = 0 if view is None else task_of(call, st, parts)
        if view is None or not tid or not call.world.tasks.supervises(tid):
            return None
        text = _read(b"/proc/self/fd/%d" % fd, _USUAL)
        shown = view(call, tid, text)
    except (OSError, ValueError, IndexError):
        return None  # the task ended: so does the file's text
    # What the kernel tells us is not what it tells a task in another user namespace.
    return None if shown == text and call.creds.namespace is INITIAL else shown


def _ipc_objects(call: Call, kind: bytes) -> bytes | None:
    """A table of System V IPC; that of the task's IPC namespace, for it has opened it."""
    from remainroot.handlers.sysv import table
    from remainroot.ipc import Elsewhere, inside

    try:
        text = inside(call.tid, lambda: _read_whole(b"/proc/sysvipc/" + kind))
    except Elsewhere:
        return None
    shown = table(call, kind.decode(), text)
    return None if shown == text else shown


def _in_memory(name: bytes, text: bytes) -> int:
    """A descriptor, for reading only, of a file in memory that holds `text`."""
    whole = os.memfd_create(name.decode(errors="replace")[-200:], os.MFD_CLOEXEC)
    try:
        os.write(whole, text)
        os.fchmod(whole, 0o444)
        return os.open(f"/proc/self/fd/{whole}", os.O_RDONLY | O_CLOEXEC)
    finally:
        os.close(whole)
