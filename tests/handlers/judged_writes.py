# SPDX-License-Identifier: GPL-2.0-or-later
"""What write(2) says to id maps, setgroups and oom_score_adj. Run by real root and under the shim."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER = 0x10000000
PR_SET_DUMPABLE, PR_CAPBSET_DROP = 4, 24
CAP_SYS_RESOURCE, CAP_SETFCAP = 24, 31
PUT = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


def told(act: Callable[[], int]) -> int | str:
    try:
        return act()
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def write(path: str, *texts: bytes, flags: int = os.O_WRONLY, at: int = -1, vector: bool = False) -> None:
    name = path.rpartition("/")[2]
    try:
        fd = os.open(path, flags)
    except OSError as error:
        print(name, "open", errno.errorcode[error.errno or 0], flush=True)
        return
    for text in texts:

        def act(text: bytes = text) -> int:
            if at >= 0:
                return os.pwrite(fd, text, at)
            return os.writev(fd, [text]) if vector else os.write(fd, text)

        print(name, text[:40], told(act), flush=True)
    os.close(fd)


def space(act: Callable[[str], None]) -> None:
    """`act` on the files of a child in a user namespace that nobody has mapped yet."""
    ready, say = os.pipe()
    wait, go = os.pipe()
    pid = os.fork()
    if not pid:
        libc.unshare(CLONE_NEWUSER)
        os.write(say, b"x")
        os.read(wait, 1)
        os._exit(0)
    os.read(ready, 1)
    act(f"/proc/{pid}/")
    for name in ("uid_map", "gid_map", "setgroups"):
        with open(f"/proc/{pid}/{name}") as file:
            print(name, file.read().split(), flush=True)
    os.write(go, b"x")
    os.waitpid(pid, 0)


def drop(*capabilities: int) -> None:
    head = (ctypes.c_uint * 2)(0x20080522, 0)
    sets = (ctypes.c_uint * 6)()
    libc.capget(head, sets)
    for capability in capabilities:
        for kind in range(3):
            sets[3 * (capability // 32) + kind] &= ~(1 << capability % 32)
    libc.capset(head, sets)


def by_root(of: str) -> None:
    write(of + "uid_map", b"junk", b"0 0", b"0 0 0", b"0 0 1\n0 5 1", b"0 5 10\n20 7 1", b"0 0 1", b"0 0 1")
    write(of + "uid_map", b"0 0 1")
    write(of + "gid_map", b"0 0 1", at=3)
    write(of + "gid_map", b"5 100 70\n", vector=True)
    write(of + "gid_map", b"junk")
    write(of + "setgroups", b"deny")
    write(of + "setgroups", b"allow")


def of_all_kinds(of: str) -> None:
    write(of + "setgroups", b"deny and more", b" deny", b"den", b"", b"allow\n", b"deny\n", b"allow")
    write(of + "setgroups", b"deny")
    write(of + "setgroups", b"allow")
    write(of + "setgroups", b"deny\n", b"deny \n\n", b"allow\n", b"deny    ")
    write(of + "gid_map", b"0 1 2\n" * 1000, b"0 4294967295 1", b"0 0 4294967295", b"0 1 2")
    write(of + "gid_map", b"0 0 4294967294", flags=os.O_RDWR)
    write(of + "uid_map", b"", b"\n", b"0 7 1\n\n", b"0 7 1 1", b"-1 7 1", flags=PUT)


def without_setfcap(of: str) -> None:
    """As libcap's uns_test does it, and others."""
    write(of + "uid_map", b"0 0 1", flags=PUT)
    write(of + "uid_map", b"0 1 1\n1 2 1\n2 0 1\n3 3 49999997\n", b"3 4 5\n")
    with open(of + "gid_map", "w") as file:
        file.write("0 1 1\n")


def by_a_user(of: str) -> None:
    write(of + "uid_map", b"0 0 1", b"0 1000 2", b"0 1001 1", b"junk", b"5 1000 1")
    write(of + "gid_map", b"0 1000 1")
    write(of + "setgroups", b"deny")
    write(of + "gid_map", b"0 1001 1", b"0 1000 1")


def by_a_thread(of: str) -> None:
    def act() -> None:
        write(of + "uid_map", b"junk", b"0 5 1")

    thread = threading.Thread(target=act)
    thread.start()
    thread.join()
    write(of + "gid_map", b"junk", b"0 5 1")


def by_a_shell(of: str) -> None:
    sys.stdout.flush()
    for command in (
        f"echo junk >{of}uid_map", f"exec /usr/bin/printf junk >{of}uid_map", f"echo 0 5 1 >{of}uid_map",
        f"echo 0 6 1 | dd of={of}uid_map status=none", f"(echo 0 7 1; echo 9 9 1) | dd of={of}gid_map status=none",
        f"exec {sys.executable} -c \"import os; os.write(os.open('{of}gid_map', 1), b'0 7 1')\"",
    ):  # fmt: skip
        print(os.waitstatus_to_exitcode(os.system(command + " 2>/dev/null")), flush=True)


def by_children(of: str) -> None:
    """Programs that have the file open because who started them opened it."""
    sys.stdout.flush()
    commands = (
        "/usr/bin/printf junk >{}uid_map", "{{ /usr/bin/printf '0 5\n'; echo $? >&2; }} >{}uid_map",
        "exec 3>{}gid_map; (/usr/bin/printf '0 9 0' >&3; echo $? >&2); /usr/bin/printf '0 9 1' >&3; echo $? >&2",
        "/usr/bin/printf '0 7 1' >{}uid_map", "/usr/bin/printf deny >{}setgroups; /usr/bin/printf allow >{}setgroups",
    )  # fmt: skip
    for shell in ("dash", "bash"):
        for command in commands:
            line = command.format(of, of)
            done = subprocess.run([shell, "-c", line + "; echo $? >&2"], stderr=subprocess.PIPE, check=True)
            print(command, [word for word in done.stderr.split() if word.isdigit()], flush=True)
    for text in (b"junk", b"8 8 1"):
        with open(of + "setgroups", "wb") as file:
            print(subprocess.run(["printf", text], check=False, stdout=file, stderr=subprocess.DEVNULL).returncode)


def score() -> None:
    path = "/proc/self/oom_score_adj"
    for text in (b"junk", b"1001", b"-1001", b"", b"7 ", b" 12\n", b"0x10", b"1" + b"0" * 18):
        write(path, text)
    write(path, b"x", b"5", b"y", flags=os.O_RDWR)
    with open(path) as file:
        print(file.read(), flush=True)


def main() -> None:
    score()
    for act in (by_root, of_all_kinds, by_a_thread, by_a_shell, by_children):
        space(act)
    if os.fork() == 0:
        drop(CAP_SETFCAP)
        space(without_setfcap)
        os._exit(0)
    os.wait()
    write("/proc/self/oom_score_adj", b"500")
    drop(CAP_SYS_RESOURCE)
    write("/proc/self/oom_score_adj", b"junk", b"600", b"1001")
    os.setresgid(1000, 1000, 1000)
    os.setresuid(1000, 1000, 1000)
    libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    space(by_a_user)
    write("/proc/self/oom_score_adj", b"junk", b"700")


main()
