# SPDX-License-Identifier: GPL-2.0-or-later
"""Why a test of a suite ends otherwise under remainroot: by suite, then by a beginning of the test's name.

What stands here and does not differ is harmless; what differs and does not stand here is shown as unexplained.
"""

from __future__ import annotations

_FLAG = "chattr's flags are remembered, and keep root from changing owners and modes, but from no write or unlink."
_REFUSED = "Refused, as doc/PRIVILEGED.md says: the host's, or not harmless."
_IDMAPPED = "An idmapped mount takes the real CAP_SYS_ADMIN, and ids to map."
_FILTER = "remainroot's filter is there already: one listener for all, no strict mode, no SECCOMP_RET_TRACE behind it."
_LOOP = "It mounts a disk image, which a user namespace may not; what is mounted must be there."
_EVENTS = "Events of devices are sent with the real CAP_SYS_ADMIN only."
_LIMITS = "A root without CAP_SYS_RESOURCE, as here, may not raise limits; ours may."
_RACE = "A race between two sockets, which really, too, ends now so, now so."
REASONS: dict[str, dict[str, str]] = {
    "kselftest": {
        "acct.": _REFUSED,
        "clone3.clone3_set_tid": "To choose a pid takes CAP_CHECKPOINT_RESTORE over the host's pid namespace.",
        "net.af_unix.diag_uid": "sock_diag(7) tells the kernel's ids.",
        "proc.proc-multiple-procfs": "It mounts proc, which in a user namespace takes a pid namespace of one's own.",
        "ipc.msgque": "It writes to /proc/sys/kernel/msg_next_id, which is the host's.",
        "landlock.fs_test: layout1.make_": "A task under Landlock makes its files itself, and no devices.",
        "mount_setattr.mount_setattr_test: mount_setattr_idmapped.": _IDMAPPED,
        "proc.read": "It reads all of /proc, and fails, really too, where a process ends meanwhile.",
        "proc.proc-subset-pid": "It mounts proc, which in a user namespace takes a pid namespace of one's own.",
        "seccomp.seccomp_bpf": _FILTER,
        "seccomp.seccomp_bpf: global.get_metadata": _REFUSED,
        "seccomp.seccomp_bpf: global.syscall_restart": "Who sent a signal with kill(2) is told as the real id.",
        "splice.short_splice_read": "What is told of /proc/PID/limits is a file in memory, which splice(2) reads.",
        "timens.": "To join a time namespace takes the real CAP_SYS_ADMIN.",
        "uevent.": _EVENTS,
    },
    "systemd": {
        "test-capability": _REFUSED,
        "test-dhcp-server": _REFUSED,
        "test-event": "Whose child has ended is told as the real id.",
        "test-sd-device-monitor": _EVENTS,
    },
    "libuv": {
        "all: fs_fstat": "A user's new file is given its owner when it is there: its ctime is later than its birth.",
        "all: fs_event_watch_dir": "It waits for events of files for as long as it takes on an idle machine.",
        "all: tcp_close_while_connecting": _RACE,
        "all: tcp_connect_timeout": _RACE,
    },
    "dbus": {
        "test-dbus-daemon: /fd-limit/": _LIMITS,
    },
    "pam": {"tst-pam_limits1": _LIMITS},
    "stress-ng": {
        "fanotify": _REFUSED,
        "io-uring": "With --strict a user gets none, as where kernel.io_uring_disabled is 1.",
        "quota": _REFUSED,
        "userfaultfd": _REFUSED,
    },
    "util-linux": {
        "lsns.netnsid": "It makes a network interface, which takes the real CAP_NET_ADMIN.",
        "lsns.nsfs": (
            "`ip netns add` goes back to the host's network namespace, which takes the real CAP_SYS_ADMIN over that."
        ),
        "misc.flock": "It gives pgrep a second, which is not enough with --strict on a machine as busy as it was.",
    },
    "busybox": {"busybox: mount RO loop": _LOOP},
    "perl": {"POSIX.sigaction 34": "Who sent a signal with kill(2) is told as the real id."},
    "coreutils": {
        "tests/cp/cross-dev-symlink": _LOOP,
        "tests/df/over-mount-device": _LOOP,
        "tests/df/problematic-chars": _LOOP,
        "tests/rm/read-only": _LOOP,
        "tests/rm/empty-immutable-skip": _FLAG,
        "tests/tail-2/append-only": _FLAG,
    },
    "psutil": {
        "psutil.tests.test_linux.TestProcessAgainstStatus.test_num_ctx_switches": (
            "It counts how often it waits between two looks at files, and a look is a call that waits for its answer."
        ),
    },
}


def reason(suite: str, test: str) -> str:
    """The longest fitting entry's, empty if there is none."""
    fitting = [name for name in REASONS.get(suite, {}) if test.startswith(name)]
    return REASONS[suite][max(fitting, key=len)] if fitting else ""
