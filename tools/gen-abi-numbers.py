#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Write the NUMBERS tables of remainroot/abi/*.py anew from libseccomp's (needs its binding)."""

from __future__ import annotations

import re
import sys
from pathlib import Path

try:
    import seccomp
except ImportError:
    import pyseccomp as seccomp

NAMES = """
setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups getgroups getuid geteuid getgid
getegid getresuid getresgid setuid32 setgid32 setreuid32 setregid32 setresuid32 setresgid32 setfsuid32 setfsgid32
setgroups32 getgroups32 getuid32 geteuid32 getgid32 getegid32 getresuid32 getresgid32 capget capset prctl prlimit64
getrlimit setrlimit ugetrlimit kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal setpriority
ioprio_set sched_setaffinity sched_setscheduler sched_setparam sched_setattr migrate_pages move_pages chown lchown
fchown fchownat chown32 lchown32 fchown32 chmod fchmod fchmodat fchmodat2 mknod mknodat stat fstat lstat newfstatat
statx oldstat oldlstat oldfstat stat64 lstat64 fstat64 fstatat64 open openat openat2 creat mkdir mkdirat symlink
symlinkat bind socketcall execve execveat clone clone3 fork vfork chroot pivot_root setns unshare umask link linkat
rename renameat renameat2 unlink unlinkat rmdir setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr
llistxattr flistxattr removexattr lremovexattr fremovexattr setxattrat getxattrat listxattrat removexattrat access
faccessat faccessat2 utime utimes futimesat utimensat utimensat_time64 truncate truncate64 ftruncate getsockopt
sendmsg recvmsg sendmmsg recvmmsg recvmmsg_time64 connect accept accept4 socket memfd_create waitid ptrace keyctl
add_key request_key msgctl semctl shmctl msgget semget shmget ipc mq_open sethostname setdomainname settimeofday
clock_settime clock_settime64 adjtimex clock_adjtime clock_adjtime64 stime syslog quotactl quotactl_fd swapon swapoff
mount umount2 umount move_mount mount_setattr fsopen fsconfig fsmount mlockall mlock mlock2 nice sched_getattr reboot
acct ioctl chdir fchdir open_by_handle_at name_to_handle_at arch_prctl set_tid_address set_thread_area read pread64
readv preadv readlink readlinkat getdents getdents64 init_module finit_module delete_module kexec_load kexec_file_load
bpf perf_event_open userfaultfd mbind set_mempolicy setsid setpgid getpriority pidfd_open pidfd_getfd file_getattr
file_setattr statmount listmount inotify_add_watch landlock_restrict_self sigreturn rt_sigreturn statfs fstatfs
statfs64 fstatfs64 iopl ioperm process_vm_readv process_vm_writev kcmp process_madvise listen socketpair setsockopt
uname sched_getscheduler sched_getparam ioprio_get msgsnd msgrcv semop semtimedop semtimedop_time64 shmat mq_unlink
sendto fcntl fcntl64 get_robust_list fspick open_tree open_tree_attr fanotify_mark
seccomp cachestat sched_rr_get_interval sched_rr_get_interval_time64 vhangup io_uring_setup pipe pipe2 close
""".split()  # noqa: SIM905  # a list of strings is five times as long

ARCHES = {"x86_64": "X86_64", "i386": "X86", "x32": "X32", "aarch64": "AARCH64", "arm": "ARM"}
NEW = {  # newer than some released libseccomp: the same number on every machine
    "fchmodat2": 452, "setxattrat": 463, "getxattrat": 464, "listxattrat": 465, "removexattrat": 466,
    "landlock_restrict_self": 446, "file_getattr": 468, "file_setattr": 469, "statmount": 457, "listmount": 458,
    "open_tree_attr": 467, "cachestat": 451,
}

I386_DIRECT = {  # libseccomp names only their socketcall(2) and ipc(2) forms
    "socket": 359, "socketpair": 360, "bind": 361, "connect": 362, "listen": 363, "accept4": 364, "getsockopt": 365,
    "setsockopt": 366, "sendto": 369, "sendmsg": 370, "recvmsg": 372, "sendmmsg": 345, "recvmmsg": 337, "semget": 393,
    "semctl": 394, "shmget": 395, "shmctl": 396, "shmat": 397, "msgget": 399, "msgsnd": 400, "msgrcv": 401,
    "msgctl": 402,
}


def number(arch: str, name: str) -> int | None:
    """The number of the syscall `name`; None where the ABI does not have it."""
    if arch == "i386" and name in I386_DIRECT:
        return I386_DIRECT[name]
    value = seccomp.resolve_syscall(getattr(seccomp.Arch, ARCHES[arch]), name)
    if value < 0:
        value = NEW.get(name, -1) + (0x40000000 if arch == "x32" else 0)
        if name not in NEW:
            return None
    return value


def main() -> None:
    """Write all tables."""
    package = Path(__file__).parent.parent / "remainroot" / "abi"
    for arch in ARCHES:
        rows = {name: number(arch, name) for name in NAMES}
        shift = 0x40000000 if arch == "x32" else 0
        items = [f'"{name}": {value - shift},' for name, value in rows.items() if value is not None]
        lines, line = [], "   "
        for item in items:
            if len(line) + 1 + len(item) > 108:
                lines.append(line)
                line = "   "
            line += " " + item
        body = "\n".join([*lines, line])
        path = package / f"{arch}.py"
        text = path.read_text() if path.exists() else "NUMBERS = {  # generated\n}\n"
        pattern = r"(?s)(NUMBERS.*?= \{[^\n]*\n).*?^\}"
        text = re.sub(pattern, rf"\g<1>{body}\n}}", text, count=1, flags=re.MULTILINE)
        path.write_text(text)
        sys.stdout.write(f"{arch}: {len(items)} numbers\n")


if __name__ == "__main__":
    main()
