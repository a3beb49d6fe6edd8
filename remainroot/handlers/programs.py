# SPDX-License-Identifier: GPL-2.0-or-later
"""Execution of programs: what execve(2) does to credentials (credentials(7), capabilities(7))."""

from __future__ import annotations

import os
import re
from errno import EACCES, ENAMETOOLONG, ENOEXEC
from stat import S_ISGID, S_ISREG, S_ISUID, S_IXGRP

from remainroot import quick, readers
from remainroot.credentials import CAP_SYS_PTRACE, KEEP, ROOT
from remainroot.dispatch import CONTINUE, Exec, Fail, handles
from remainroot.execution import execute
from remainroot.file_caps import parse_file_caps
from remainroot.handlers.paths import Unresolved, find, find_path
from remainroot.kernel import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, read_string
from remainroot.namespaces import INITIAL
from remainroot.store.base import SET_ID
from remainroot.tasks import SUID_DUMPABLE
from remainroot.tracee import open_flags, status_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.credentials import Credentials
    from remainroot.dispatch import Call, Outcome
    from remainroot.file_caps import FileCaps

_LEGIBLE: Final = 0o444
_EXECUTABLE: Final = 0o111
_ELF: Final = b"\x7fELF"
_MAX_INTERPRETERS: Final = 5
_SHEBANG: Final = 256
"""Bytes of a file that the kernel looks at."""
_NAME_ENDS: Final = re.compile(rb"[ \t\0]")


@handles("execve", quick=quick.execute(path=0, arguments=1))
def execve(call: Call) -> Outcome:
    """execve(2): EACCES for a device node, whose placeholder is an empty file."""
    return _exec(call, AT_FDCWD, 0, 0, 1)


@handles("execveat", quick=quick.execute(dirfd=0, path=1, flags=4, arguments=2))
def execveat(call: Call) -> Outcome:
    """execveat(2)."""
    return _exec(call, call.signed(0), 1, call.unsigned(4) & (AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW), 2)


def _exec(call: Call, dirfd: int, index: int, flags: int, arguments: int) -> Outcome:
    try:
        fd, st = find_path(call, dirfd, index, flags)
    except Unresolved:
        return CONTINUE
    try:
        return _execute(call, fd, st, arguments)
    except PermissionError:
        if _comes_to_credentials(call, dirfd, index, flags):
            raise
        return CONTINUE


def _execute(call: Call, fd: int, st: os.stat_result, arguments: int) -> Outcome:
    """The exec of the file `fd`, which is closed. PermissionError: it does not get what its file promises it."""
    world = call.world
    state = call.state
    plain = state.creds == ROOT and state.dumpable == 1
    try:
        if S_ISREG(st.st_mode) and not S_ISREG(world.owner(fd, st).mode):
            return Fail(EACCES)  # a device node's placeholder
        unchanged = plain and not st.st_mode & SET_ID and not world.tasks.is_mixed(call.tid)
        reads = world.marks_readers and _reads(call, fd, st, arguments)
        if unchanged and not world.settings.whole_identity:
            return _run(call, reads=reads)
        fd, st = _program(call, fd, st)
        uid = gid = KEEP
        file_caps = None
        owner = world.owner(fd, st)
        legible = owner.mode & _LEGIBLE == _LEGIBLE or _may_read(call, fd)
        if S_ISREG(st.st_mode) and not os.fstatvfs(fd).f_flag & os.ST_NOSUID and not _in_memory(fd, st):
            known = state.creds.namespace.maps(*owner.ids)
            if owner.mode & S_ISUID and known:
                uid = owner.uid
            if owner.mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP and known:
                gid = owner.gid
            file_caps = _file_caps(call, fd, st)
        creds, secure = execute(state.creds, uid=uid, gid=gid, file_caps=file_caps)
        if _gains(state.creds, creds) and _is_watched(call):
            creds, secure = execute(state.creds, uid=uid, gid=gid, file_caps=file_caps, watched=True)
    finally:
        os.close(fd)
    # First as what the task was before, then as for any change of credentials (prctl(2), PR_SET_DUMPABLE). Who may not
    # read a program may not read its memory.
    before = state.creds
    dumpable = 1 if legible and before.euid == before.uid and before.egid == before.gid else SUID_DUMPABLE
    after = state.replace(dumpable=dumpable, memory=creds.namespace).with_creds(creds)
    real = (world.real_uid, world.real_uid, world.real_gid, world.real_gid)
    told = (creds.uid, creds.euid, creds.gid, creds.egid) == real and creds.namespace is INITIAL
    if after == state and told and not secure and not world.tasks.is_mixed(call.tid):
        return _run(call, reads=reads)
    # prctl(2), PR_SET_PDEATHSIG: a set-id program, and one with file capabilities, starts without.
    endings = call.tid in (world.pdeathsigs or ()) and (secure or state.acts_as_another(creds))
    return Exec(after, secure=secure, stack=_mark(call) if reads else None, endings=endings)


def _run(call: Call, *, reads: bool) -> Outcome:
    """The exec that changes nothing; of a program that `reads`, such that its opens are seen."""
    stack = _mark(call) if reads else None
    return CONTINUE if stack is None else Exec(None, secure=False, stack=stack)


def _mark(call: Call) -> tuple[int, int] | None:
    call.check()
    return readers.mark(call.tid)


def _reads(call: Call, fd: int, st: os.stat_result, arguments: int) -> bool:
    """Whether the program will read what procfs says of tasks: `remainroot.readers` says which do. Or device nodes."""
    kind = readers.kind_of(fd, st)
    if kind != readers.OTHER:
        return kind == readers.READER
    if call.world.readable_nodes:
        return True
    word = call.abi.bits // 8
    array = call.ptr(arguments)
    try:
        for index in range(readers.MOST_ARGUMENTS):
            address = int.from_bytes(call.read(array + index * word, word), "little")
            if not address:
                break
            if readers.is_told_to_read(_start_of(call, address)):
                return True
    except OSError:
        pass  # EFAULT: the kernel will say so
    return False


def _start_of(call: Call, address: int) -> bytes:
    """As much of an argument as is looked at."""
    try:
        return read_string(call.tid, address)[: readers.ARGUMENT]
    except OSError as error:
        if error.errno != ENAMETOOLONG:
            raise
    return call.read(address, readers.ARGUMENT)


def interpreter(fd: int) -> bytes | None:
    """Whom the first line of a script names, as the kernel reads it: execve(2). None if the file is no script.

    A line without an end is one whose name has an end: what is longer than the kernel's buffer may be cut anywhere.
    """
    with open(f"/proc/self/fd/{fd}", "rb", buffering=0) as file:
        text = file.read(_SHEBANG).ljust(_SHEBANG, b"\0")
    if not text.startswith(b"#!"):
        return None
    line, newline, _ = text.partition(b"\0")[0].partition(b"\n")
    start = len(text) - len(text[2:].lstrip(b" \t"))
    if not newline:
        if start >= _SHEBANG - 1 or not _NAME_ENDS.search(text, start):
            return None
        line = text[: _SHEBANG - 1]
    line = line.rstrip(b" \t")
    return _NAME_ENDS.split(line[start:], 1)[0] if start < len(line) else None


def _program(call: Call, fd: int, st: os.stat_result) -> tuple[int, os.stat_result]:
    """The binary that will run.

    The file itself, or the interpreter of a script (whose own set-id bits count for nothing).
    """
    for _ in range(_MAX_INTERPRETERS):
        if not S_ISREG(st.st_mode):
            break
        try:
            name = interpreter(fd)
            if name is None:
                break
            found, st = find(call, AT_FDCWD, name)
        except (OSError, Unresolved):
            break
        os.close(fd)
        fd = found
    return fd, st


def hides_scripts(call: Call, dirfd: int, index: int) -> bool:
    """Whether the program is named by a descriptor that the exec closes: if it is a script, no interpreter finds it."""
    if dirfd == AT_FDCWD or call.path(index).startswith(b"/"):
        return False
    return bool(open_flags(call.tid, dirfd) & os.O_CLOEXEC)


def _comes_to_credentials(call: Call, dirfd: int, index: int, flags: int) -> bool:
    """Whether nothing else is wrong with the program: what it is given is the last thing that the kernel looks at.

    A script named by a descriptor that its interpreter will not have is ENOENT: execveat(2).
    """
    hidden = hides_scripts(call, dirfd, index)
    try:
        fd, st = find_path(call, dirfd, index, flags)
        for _ in range(_MAX_INTERPRETERS):
            try:
                name = _next_program(fd, st)
                if name is None or hidden:
                    return name is None
                found, st = find(call, AT_FDCWD, name)
            finally:
                os.close(fd)
            fd = found
        os.close(fd)
    except (OSError, Unresolved):
        pass  # EACCES, ENOEXEC, or it has gone meanwhile
    return False


def _next_program(fd: int, st: os.stat_result) -> bytes | None:
    """The interpreter of a script, or None of a binary; an OSError of what the kernel does not run."""
    if not st.st_mode & _EXECUTABLE or os.fstatvfs(fd).f_flag & os.ST_NOEXEC:
        raise OSError(EACCES, "not to be executed")
    try:
        with open(f"/proc/self/fd/{fd}", "rb", buffering=0) as file:
            is_binary = file.read(len(_ELF)) == _ELF
    except PermissionError:
        return None  # not ours to read
    name = None if is_binary else interpreter(fd)
    if name is None and not is_binary:
        raise OSError(ENOEXEC, "neither a binary nor a script")
    return name


def _gains(before: Credentials, after: Credentials) -> bool:
    return (before.euid, before.egid) != (after.euid, after.egid) or bool(after.permitted & ~before.permitted)


def _is_watched(call: Call) -> bool:
    """Whether a task of ours traces the caller that has not CAP_SYS_PTRACE (now, not when it began)."""
    tracer = int(status_field(call.tid, b"TracerPid"))
    if tracer in (0, os.getpid()) or not call.world.tasks.supervises(tracer):
        return False
    return not call.world.tasks.state(tracer).creds.capable_in(CAP_SYS_PTRACE, call.creds.namespace)


def _may_read(call: Call, fd: int) -> bool:
    from remainroot.handlers.searching import File, Searcher
    from remainroot.permissions import READ

    return Searcher(call).permits(File(fd), READ)


def _in_memory(fd: int, st: os.stat_result) -> bool:
    """Whether it is a file of memfd_create(2): on no mount of the task's, so that it cannot give it privileges."""
    return not st.st_nlink and os.readlink(b"/proc/self/fd/%d" % fd).startswith(b"/memfd:")


def _file_caps(call: Call, fd: int, st: os.stat_result) -> FileCaps | None:
    """The file's capabilities (the xattr security.capability), if any that mean something."""
    store = call.world.store
    kept = None if store.no_attributes else store.attributes(fd, st).get("security.capability")
    try:
        raw = os.getxattr(f"/proc/self/fd/{fd}", "security.capability") if kept is None else kept
    except OSError:
        return None
    return parse_file_caps(raw)
