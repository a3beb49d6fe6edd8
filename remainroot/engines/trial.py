# SPDX-License-Identifier: GPL-2.0-or-later
"""Trying on a real child whether seccomp user notification works here."""

from __future__ import annotations

import os
from errno import EACCES, EBUSY, EINVAL, ENOSYS
from fcntl import ioctl
from struct import Struct

from remainroot import abi as abis
from remainroot.engines.filter import RET_USER_NOTIF
from remainroot.kernel import pidfd_getfd, read_memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_RECV, _SEND = 0xC0502100, 0xC0182101
_NOTIF = Struct("=QIIiIQ6Q")
_RESP = Struct("=QqiI")
_WHY = {
    EACCES: "a filter needs CAP_SYS_ADMIN or no_new_privs",
    EBUSY: "another seccomp supervisor already listens",
    EINVAL: "the kernel is older than 5.5 or built without seccomp filters",
    ENOSYS: "the surrounding seccomp profile forbids it",
}


def no_listener(number: int) -> str:
    """Why seccomp(2) failed with that errno."""
    return f"seccomp refuses a listener ({os.strerror(number)}): {_WHY.get(number, 'not expected')}"


def no_duplicate(error: OSError) -> str:
    """Why the listener could not be had."""
    return f"pidfd_getfd is refused ({error.strerror}): yama or the seccomp profile forbids it"


def no_memory(error: OSError) -> str:
    """Why a task's memory could not be had."""
    return f"a task's memory cannot be read ({error.strerror}): yama or the seccomp profile forbids it"


def try_notify(assemble: Callable[..., bytes], listen: Callable[[bytes], int]) -> str | None:
    """Why notifications do not work here (one clause), or None: a child's umask is received and continued."""
    abi = abis.native()[0]
    code = assemble({abi.audit_arch: {abi.numbers["umask"]: ()}}, RET_USER_NOTIF)
    told_read, told = os.pipe2(os.O_CLOEXEC)
    go, go_write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _child(code, listen, told, go, (told_read, go_write))
    os.close(told)
    os.close(go)
    try:
        word = os.read(told_read, 64)
        if word[:1] != b"L":
            number = int(word[1:] or b"0")
            return no_listener(number)
        return _serve(pid, int(word[1:]), go_write)
    finally:
        os.close(told_read)
        if go_write >= 0:
            try:
                os.kill(pid, 9)
            except OSError:
                pass
        os.waitpid(pid, 0)
        os.close(go_write)


def _child(code: bytes, listen: Callable[[bytes], int], told: int, go: int, others: tuple[int, ...]) -> None:
    try:
        for fd in others:
            os.close(fd)
        try:
            listener = listen(code)
        except OSError as error:
            os.write(told, b"E%d" % (error.errno or 0))
            os._exit(1)
        os.write(told, b"L%d" % listener)
        os.read(go, 1)
        os.close(listener)
        os.umask(0o22)
    finally:
        os._exit(0)


def _serve(pid: int, number: int, go_write: int) -> str | None:
    try:
        pidfd = os.pidfd_open(pid)
        try:
            listener = pidfd_getfd(pidfd, number)
        finally:
            os.close(pidfd)
    except OSError as error:
        return no_duplicate(error)
    try:
        os.write(go_write, b"g")
        notification = bytearray(_NOTIF.size)
        ioctl(listener, _RECV, notification)
        notif_id = _NOTIF.unpack(notification)[0]
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                stack = int(file.read().rsplit(b")", 1)[1].split()[25])
            read_memory(pid, stack, 8)
        except OSError as error:
            return no_memory(error)
        ioctl(listener, _SEND, bytearray(_RESP.pack(notif_id, 0, 0, 1)))
    except OSError as error:
        return f"notifications do not work ({error.strerror})"
    finally:
        os.close(listener)
    return None
