# SPDX-License-Identifier: GPL-2.0-or-later
"""Signals to everybody: kill(2) of -1, each time in a pid namespace of its own."""

from __future__ import annotations

import subprocess

import pytest

from tests.handlers.rooted import PYTHON
from tests.launching import ENGINES, PLACE, REMAINROOT, TIMEOUT, environment

APART = ["--pid", "--fork", "--kill-child", "--mount-proc"]
EVERYBODY = """
import errno, os, signal, time

def started(uid):
    pid = os.fork()
    if pid == 0:
        os.setresuid(uid, uid, uid)
        while True:
            time.sleep(60)
    return pid

def kill_all(uid, number):
    pid = os.fork()
    if pid == 0:
        os.setresuid(uid, uid, uid)
        try:
            print(uid, number, os.kill(-1, number), flush=True)
        except OSError as error:
            print(uid, number, errno.errorcode[error.errno], flush=True)
        os._exit(0)
    os.waitpid(pid, 0)

pids = [started(0), started(77), started(78)]
while any(open(f"/proc/{pid}/wchan").read() != "hrtimer_nanosleep" for pid in pids):
    time.sleep(0.01)
for uid, number in ((79, 0), (79, 15), (79, 65), (77, 0), (77, 15)):
    kill_all(uid, number)
    time.sleep(0.2)
    print([os.waitpid(pid, os.WNOHANG)[1] for pid in pids], flush=True)
    pids = [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
"""


def run(command: list[str]) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT, env=environment())
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ENGINES)
def test_everybody(engine: str) -> None:
    real = run(["unshare", *APART, PYTHON, "-c", EVERYBODY])
    assert real[1::2] == ["[0, 0, 0]", "[0, 0, 0]", "[0, 0, 0]", "[0, 0, 0]", "[0, 15, 0]"]
    assert run([*PLACE, *APART, *REMAINROOT[:-1], engine, "--", PYTHON, "-c", EVERYBODY]) == real


NEIGHBOURS = """
user="setpriv --reuid=77 --regid=77 --clear-groups"
$PLACE "$@" -- $user sleep 60 &
until pgrep -x sleep >/dev/null; do sleep 0.05; done
$PLACE "$@" -- $user sh -c 'trap "" TERM; true & kill -TERM -1; echo done'
pgrep -x -c sleep
"""


@pytest.mark.parametrize("place", [" ".join(PLACE), ""])
def test_the_users_other_processes_are_not_everybody(place: str) -> None:
    """Nor are another supervisor's, which bear numbers as ours do, be it in the same user namespace."""
    shim = [*REMAINROOT, "--store", "memory"]
    assert run([*PLACE, *APART, "env", f"PLACE={place}", "sh", "-c", NEIGHBOURS, "sh", *shim]) == ["done", "1"]


TO_THREADS = """
import ctypes, errno, os, signal, threading

libc = ctypes.CDLL(None, use_errno=True)
got = []
signal.signal(signal.SIGUSR1, lambda number, _: got.append(number))
over = threading.Event()
other = threading.Thread(target=over.wait)
other.start()
child = os.fork()
if child == 0:
    signal.pause()
    os._exit(0)
own, theirs, parent = os.getpid(), other.native_id, os.getppid()

def send():
    me = threading.get_native_id()
    targets = {
        "main": (own, own), "other": (own, theirs), "me": (own, me), "me as a group": (me, me), "me alone": (me, own),
        "other of the child": (child, theirs), "child": (child, child), "child as mine": (own, child), "none": (own, 0),
        "no group": (0, own), "minus": (own, -own),
        "parent": (parent, parent), "parent as mine": (own, parent),
    }
    for name, target in targets.items():
        for number in (0, 65, signal.SIGUSR1 if name in ("main", "other", "me") else 0):
            ctypes.set_errno(0)
            done = libc.syscall(234, *target, number)
            print(name, number, done, errno.errorcode.get(ctypes.get_errno()))

send()
sender = threading.Thread(target=send)
sender.start()
sender.join()
over.set()
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
print(len(got) > 0, set(got))
"""


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ENGINES)
def test_threads_of_its_own_and_of_others(engine: str) -> None:
    """Also where the processes have other numbers than to us."""
    shim = [*PLACE, "--mount", "--pid", "--fork", "--mount-proc", *REMAINROOT[:-1], engine, "--"]
    for inside in ([], ["unshare", "--pid", "--fork", "--kill-child"]):
        program = [*inside, "sh", "-c", '"$@"; exit', "sh", PYTHON, "-c", TO_THREADS]  # not itself PID 1
        real = run(["unshare", *APART, *program])
        assert real[-1] == "True {10}"
        assert run([*shim, *program]) == real
