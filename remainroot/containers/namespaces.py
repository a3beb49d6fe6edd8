# SPDX-License-Identifier: GPL-2.0-or-later
"""Namespaces: making and joining them (namespaces(7)). Every failure is an OSError with the kernel's errno."""

from __future__ import annotations

import os
from struct import Struct

from remainroot.kernel import setns
from remainroot.libc import syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

NEWNS: Final = 0x0002_0000
NEWCGROUP: Final = 0x0200_0000
NEWUTS: Final = 0x0400_0000
NEWIPC: Final = 0x0800_0000
NEWUSER: Final = 0x1000_0000
NEWPID: Final = 0x2000_0000
NEWNET: Final = 0x4000_0000

KINDS: Final = {
    "user": (NEWUSER, "user"),
    "mount": (NEWNS, "mnt"),
    "pid": (NEWPID, "pid"),
    "net": (NEWNET, "net"),
    "uts": (NEWUTS, "uts"),
    "ipc": (NEWIPC, "ipc"),
    "cgroup": (NEWCGROUP, "cgroup"),
}
"""The flag of each kind of namespace, and its name in /proc/PID/ns, in the order in which they are joined."""

_AARCH64: Final = os.uname().machine == "aarch64"
_SYS_CLONE: Final = 220 if _AARCH64 else 56
_SYS_UNSHARE: Final = 97 if _AARCH64 else 272
_SYS_SETHOSTNAME: Final = 161 if _AARCH64 else 170


_CLONE_PARENT: Final = 0x8000
_SIGCHLD: Final = 17


def unshare(flags: int) -> None:
    """unshare(2)."""
    syscall(_SYS_UNSHARE, flags)


def clone(flags: int) -> int:
    """fork(2) with `flags` of clone(2): the child's pid, 0 in the child. Only a process of one thread may call it."""
    return syscall(_SYS_CLONE, flags | _SIGCHLD, 0, 0, 0, 0)


def fork_into(target: int, flags: int) -> int:
    """fork(2), the child being in the namespaces of the process behind the pidfd `target` of the kinds in `flags`.

    A process that joins a pid namespace is in it with its children only, and can have no threads any more. So a helper
    joins it, and its child, by CLONE_PARENT, is ours. OSError if it is refused.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    helper = os.fork()
    if helper == 0:
        number = 0
        try:
            setns(target, flags)
            number = clone(_CLONE_PARENT)
            if number == 0:
                os.close(reader)
                os.close(writer)
                return 0
        except OSError as error:
            number = -(error.errno or 1)
        os.write(writer, b"%d" % number)
        os._exit(0)
    os.close(writer)
    number = int(os.read(reader, 32) or b"-1")
    os.close(reader)
    os.waitpid(helper, 0)
    if number < 0:
        raise OSError(-number, os.strerror(-number))
    return number


def identity(pid: int | str, kind: str) -> tuple[int, int] | None:
    """What tells one namespace from another; None where this kernel has no such kind. OSError if the task is gone."""
    try:
        st = os.stat(f"/proc/{pid}/ns/{KINDS[kind][1]}")
    except FileNotFoundError:
        if not os.path.exists(f"/proc/{pid}"):
            raise
        return None
    return st.st_dev, st.st_ino


def map_one_user(uid: int, gid: int) -> None:
    """Map 0 of the user namespace that this process has just made to its outer `uid` and `gid`: user_namespaces(7)."""
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "wb", buffering=0) as file:
            file.write(text.encode())


def new_user() -> None:
    """Make a user namespace of which this process is root, the only id it maps being this process's own."""
    uid, gid = os.geteuid(), os.getegid()
    unshare(NEWUSER)
    map_one_user(uid, gid)


def set_hostname(name: str) -> None:
    """sethostname(2), in a uts namespace of one's own."""
    data = name.encode()
    syscall(_SYS_SETHOSTNAME, data, len(data))


_IFF_UP: Final = 1
_SIOCSIFFLAGS: Final = 0x8914
_ifreq: Final = Struct("16sh22x")


def raise_loopback() -> None:
    """Bring up the loopback interface of a new network namespace: netdevice(7)."""
    from _socket import AF_INET, SOCK_DGRAM, socket
    from fcntl import ioctl

    one = socket(AF_INET, SOCK_DGRAM)
    try:
        ioctl(one.fileno(), _SIOCSIFFLAGS, _ifreq.pack(b"lo", _IFF_UP))
    finally:
        one.close()
