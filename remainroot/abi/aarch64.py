# SPDX-License-Identifier: GPL-2.0-or-later
"""Syscall numbers of the aarch64 ABI (written by tools/gen-abi-numbers.py from libseccomp's tables)."""

from __future__ import annotations

NUMBERS: dict[str, int] = {
    "setuid": 146, "setgid": 144, "setreuid": 145, "setregid": 143, "setresuid": 147, "setresgid": 149,
    "setfsuid": 151, "setfsgid": 152, "setgroups": 159, "getgroups": 158, "getuid": 174, "geteuid": 175,
    "getgid": 176, "getegid": 177, "getresuid": 148, "getresgid": 150, "capget": 90, "capset": 91,
    "prctl": 167, "prlimit64": 261, "getrlimit": 163, "setrlimit": 164, "kill": 129, "tkill": 130,
    "tgkill": 131, "rt_sigqueueinfo": 138, "rt_tgsigqueueinfo": 240, "pidfd_send_signal": 424,
    "setpriority": 140, "ioprio_set": 30, "sched_setaffinity": 122, "sched_setscheduler": 119,
    "sched_setparam": 118, "sched_setattr": 274, "migrate_pages": 238, "move_pages": 239, "fchown": 55,
    "fchownat": 54, "fchmod": 52, "fchmodat": 53, "fchmodat2": 452, "mknodat": 33, "fstat": 80,
    "newfstatat": 79, "statx": 291, "openat": 56, "openat2": 437, "mkdirat": 34, "symlinkat": 36,
    "bind": 200, "execve": 221, "execveat": 281, "clone": 220, "clone3": 435, "chroot": 51,
    "pivot_root": 41, "setns": 268, "unshare": 97, "umask": 166, "linkat": 37, "renameat": 38,
    "renameat2": 276, "unlinkat": 35, "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7, "getxattr": 8,
    "lgetxattr": 9, "fgetxattr": 10, "listxattr": 11, "llistxattr": 12, "flistxattr": 13, "removexattr": 14,
    "lremovexattr": 15, "fremovexattr": 16, "setxattrat": 463, "getxattrat": 464, "listxattrat": 465,
    "removexattrat": 466, "faccessat": 48, "faccessat2": 439, "utimensat": 88, "truncate": 45,
    "ftruncate": 46, "getsockopt": 209, "sendmsg": 211, "recvmsg": 212, "sendmmsg": 269, "recvmmsg": 243,
    "connect": 203, "accept": 202, "accept4": 242, "socket": 198, "memfd_create": 279, "waitid": 95,
    "ptrace": 117, "keyctl": 219, "add_key": 217, "request_key": 218, "msgctl": 187, "semctl": 191,
    "shmctl": 195, "msgget": 186, "semget": 190, "shmget": 194, "mq_open": 180, "sethostname": 161,
    "setdomainname": 162, "settimeofday": 170, "clock_settime": 112, "adjtimex": 171, "clock_adjtime": 266,
    "syslog": 116, "quotactl": 60, "quotactl_fd": 443, "swapon": 224, "swapoff": 225, "mount": 40,
    "umount2": 39, "move_mount": 429, "mount_setattr": 442, "fsopen": 430, "fsmount": 432, "mlockall": 230,
    "mlock": 228, "mlock2": 284, "sched_getattr": 275, "reboot": 142, "acct": 89, "ioctl": 29, "chdir": 49,
    "fchdir": 50, "open_by_handle_at": 265, "name_to_handle_at": 264, "set_tid_address": 96, "read": 63,
    "pread64": 67, "readv": 65, "preadv": 69, "readlinkat": 78, "getdents64": 61, "init_module": 105,
    "finit_module": 273, "delete_module": 106, "kexec_load": 104, "kexec_file_load": 294, "bpf": 280,
    "perf_event_open": 241, "userfaultfd": 282, "mbind": 235, "set_mempolicy": 237, "setsid": 157,
    "setpgid": 154, "getpriority": 141, "pidfd_open": 434, "pidfd_getfd": 438, "file_getattr": 468,
    "file_setattr": 469, "statmount": 457, "listmount": 458, "inotify_add_watch": 27,
    "landlock_restrict_self": 446, "rt_sigreturn": 139, "statfs": 43, "fstatfs": 44,
    "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272, "process_madvise": 440, "listen": 201,
    "socketpair": 199, "uname": 160, "sched_getscheduler": 120, "sched_getparam": 121, "ioprio_get": 31,
}
