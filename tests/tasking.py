# SPDX-License-Identifier: GPL-2.0-or-later
"""A task for tests to look at: a process that does what it is told and says what it sees itself."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

PROGRAM = """
import ctypes, json, os, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
requests = os.fdopen(os.dup(0), "r")
answers = os.fdopen(os.dup(1), "w")

def unshare(flags):
    if libc.unshare(flags) < 0:
        raise OSError(ctypes.get_errno(), "unshare")

def mount(source, target, kind, flags):
    if libc.mount(source.encode(), target.encode(), kind.encode(), flags, None) < 0:
        raise OSError(ctypes.get_errno(), "mount")

def set_slack(ns):
    if libc.prctl(29, ns, 0, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "prctl")

def look(path, dirfd=None, follow=True):
    st = os.stat(os.fsencode(path), dir_fd=dirfd, follow_symlinks=follow)
    return [st.st_dev, st.st_ino, st.st_mode]

workers = []
alive, dead = os.pipe()

def worker(inbox, outbox):
    os.write(outbox, b"%d\\n" % threading.get_native_id())
    for line in os.fdopen(inbox):
        name, args = json.loads(line)
        os.write(outbox, json.dumps(globals()[name](*args)).encode() + b"\\n")

def thread(parent=None):
    '''Start a thread (from the thread numbered `parent`); its tid.'''
    if parent is not None:
        return by(parent, "thread")
    inbox, tell = os.pipe()
    hear, outbox = os.pipe()
    threading.Thread(target=worker, args=(inbox, outbox), daemon=True).start()
    hear = os.fdopen(hear)
    workers.append((tell, hear))
    return int(hear.readline())

def by(index, name, *args):
    '''Have the thread started as number `index` call a function of this program.'''
    tell, hear = workers[index]
    os.write(tell, json.dumps([name, args]).encode() + b"\\n")
    return json.loads(hear.readline())

def linger():
    '''Live until the task ends.'''
    os.close(dead)
    os.read(alive, 1)
    os._exit(0)

def child():
    return os.fork() or linger()

def spawned():
    '''A child made by vfork and exec.'''
    return os.posix_spawn("/bin/cat", ["cat"], {}, file_actions=[(os.POSIX_SPAWN_DUP2, alive, 0)])

def orphan(generations=1):
    '''A descendant whose ancestors, but for us, have ended: their pids (without the first) and its own.'''
    hear, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        line = []
        for _ in range(generations):
            former = os.getpid()
            if os.fork():
                os._exit(0)
            line.append(os.getpid())
            while os.getppid() == former:
                time.sleep(0.001)
        os.write(tell, json.dumps(line).encode())
        linger()
    os.waitpid(pid, 0)
    return json.loads(os.read(hear, 4096))

def forking_child():
    '''A child that forks a child of its own when it is told to.'''
    hear, tell = os.pipe()
    go, let_go = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(go, 1)
        os.write(tell, b"%d" % (os.fork() or linger()))
        linger()
    return [pid, hear, let_go]

def let_fork(hear, let_go):
    os.write(let_go, b"x")
    return int(os.read(hear, 32))

for line in requests:
    name, args = json.loads(line)
    try:
        function = globals().get(name) or getattr(os, name)
        result = ["ok", function(*args)]
    except OSError as error:
        result = ["failed", error.errno]
    answers.write(json.dumps(result) + "\\n")
    answers.flush()
"""


class Task:
    """A process of its own. `do` has it call a function of os, or of PROGRAM, and returns the result."""

    def __init__(self, *prefix: str) -> None:
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-I", "-S", "-c", PROGRAM],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.tid = int(self.do("getpid")) if not prefix else self._process.pid

    def do(self, name: str, *args: object) -> Any:
        """The function's result; OSError with its errno if that is what it raises."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([name, args]) + "\n")
        self._process.stdin.flush()
        kind, value = json.loads(self._process.stdout.readline())
        if kind == "failed":
            raise OSError(value, name)
        return value

    def end(self) -> None:
        """Kill it and see it gone."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
