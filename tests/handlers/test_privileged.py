# SPDX-License-Identifier: GPL-2.0-or-later
"""Privileged calls, as real root makes them."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest

from remainroot.settings import PRETENCES
from tests.handlers.rooted import PYTHON, as_real_root, bare, under
from tests.launching import ENGINES, PLACE, REMAINROOT, TIMEOUT, environment, remainroot, start, until

SCENARIOS = (
    "priorities", "priorities_reset_on_fork", "many_priorities", "policies", "few_policies", "host_names", "locking",
    "persistent_keyrings", "persistent_keyrings_of_threads", "parent_death", "orphans_of_users",
    "own_namespaces",
)  # fmt: skip
KERNELS = ("oom_scores", "oom_scores_of_users")
"""What the kernel does by itself, too: here it must not get worse."""


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("scenario", SCENARIOS + KERNELS)
def test_as_real_root(engine: str, scenario: str) -> None:
    expected = as_real_root(scenario)
    assert expected
    assert under(engine, scenario) == expected


@pytest.mark.oracle
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_without_the_shim_it_is_not_so(scenario: str) -> None:
    assert bare(scenario) != as_real_root(scenario)


LIMITS = """
import resource as r
soft, hard = r.getrlimit(r.RLIMIT_MEMLOCK)
print(r.prlimit(0, r.RLIMIT_MEMLOCK, (r.RLIM_INFINITY, r.RLIM_INFINITY)) == (soft, hard), r.getrlimit(r.RLIMIT_MEMLOCK))
r.setrlimit(r.RLIMIT_NOFILE, (1 << 19, 1 << 20))
print(r.getrlimit(r.RLIMIT_NOFILE))
print([" ".join(line.split()) for line in open("/proc/self/limits") if "locked mem" in line or "open files" in line])
import os, subprocess
print(subprocess.run(["sh", "-c", "ulimit -Hn; ulimit -Sn; ulimit -l"], capture_output=True, text=True).stdout.split())
os.setuid(33)
for limit in ((1 << 19, 1 << 19), (1 << 20, 1 << 20), (8, 4)):
    try:
        print(r.prlimit(0, r.RLIMIT_NOFILE, limit))
    except (OSError, ValueError) as error:
        print(type(error).__name__)
print(r.getrlimit(r.RLIMIT_NOFILE))
r.setrlimit(r.RLIMIT_NOFILE, (99, 100))
print(r.getrlimit(r.RLIMIT_NOFILE), [line.split() for line in open("/proc/self/limits") if "open files" in line])
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_hard_limits_are_raised_in_words(engine: str) -> None:
    """Said, not compared: where the tests run, root may be without CAP_SYS_RESOURCE."""
    lower = ["prlimit", "--nofile=512:1024", "--memlock=65536:65536", "--"]
    done = subprocess.run(
        [*lower, *PLACE, *REMAINROOT[:-1], engine, "--", PYTHON, "-c", LIMITS],
        capture_output=True, text=True, check=False, env=environment(), timeout=TIMEOUT,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "True (-1, -1)",
        "(524288, 1048576)",
        "['Max open files 524288 1048576 files', 'Max locked memory unlimited unlimited bytes']",
        "['1048576', '524288', 'unlimited']",
        "(524288, 1048576)",
        "PermissionError",
        "ValueError",
        "(524288, 524288)",
        "(99, 100) [['Max', 'open', 'files', '99', '100', 'files']]",
    ]


GRANTED = """
import ctypes, errno, os, resource as r
libc = ctypes.CDLL(None, use_errno=True)
def attempt(name, call, *arguments):
    try:
        result = call(*arguments)
    except OSError as error:
        result = errno.errorcode[error.errno]
    now = os.sched_getscheduler(0), os.sched_getparam(0).sched_priority
    print(name, *arguments[2:], result, os.getpriority(0, 0), *now)
def attributes(policy, nice, priority=0):
    text = bytearray(48)
    text[:4], text[4:8], text[16:20], text[20:24] = [
        word.to_bytes(4, "little", signed=True) for word in (48, policy, nice, priority)
    ]
    if libc.syscall(314, 0, (ctypes.c_char * 48).from_buffer(text), 0):
        raise OSError(ctypes.get_errno(), "")
def policy(policy, priority):
    os.sched_setscheduler(0, policy, os.sched_param(priority))
def lock(size):
    if libc.mlock(memory, size):
        raise OSError(ctypes.get_errno(), "")
def lock_all(flags):
    if libc.mlockall(flags):
        raise OSError(ctypes.get_errno(), "")
memory = ctypes.create_string_buffer(1 << 20)
r.setrlimit(r.RLIMIT_NICE, (25, 30))
r.setrlimit(r.RLIMIT_RTPRIO, (10, 10))
r.setrlimit(r.RLIMIT_MEMLOCK, (1 << 19, 1 << 20))
os.setuid(33)
for nice in (3, 0, -5, -6, -4, -5):
    attempt("nice", os.setpriority, 0, 0, nice)
for what in ((3, -5), (3, -6), (0, 2), (0, -1), (5, 0), (0, -2)):
    attempt("attributes", lambda _, __, *what: attributes(*what), 0, 0, *what)
for what in ((1, 11), (1, 10), (2, 11), (2, 3), (2, 10), (1, 100), (0, 0)):
    attempt("policy", lambda _, __, *what: policy(*what), 0, 0, *what)
r.setrlimit(r.RLIMIT_RTPRIO, (5, 10))
attempt("policy", lambda _, __, *what: policy(*what), 0, 0, 1, 6)
r.setrlimit(r.RLIMIT_RTPRIO, (0, 10))
attempt("policy", lambda _, __, *what: policy(*what), 0, 0, 1, 1)
r.setrlimit(r.RLIMIT_NICE, (15, 30))
attempt("nice", os.setpriority, 0, 0, -3)
attempt("nice", os.setpriority, 0, 0, 4)
for size in (1 << 18, 1 << 20):
    attempt("lock", lambda _, __, size: lock(size), 0, 0, size)
for flags in (2, 1):
    attempt("all", lambda _, __, flags: lock_all(flags), 0, 0, flags)
r.setrlimit(r.RLIMIT_RTPRIO, (10, 10))
print(os.spawnlp(os.P_WAIT, "chrt", "chrt", "-f", "7", "true"))
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_limits_that_are_raised_in_words_count(engine: str) -> None:
    """Said, not compared, as above: setpriority(2), sched(7), mlock(2)."""
    lower = ["prlimit", "--memlock=65536:65536", "--nice=0", "--rtprio=0", "--"]
    command = [*lower, *PLACE, *REMAINROOT[:-1], engine, "--", PYTHON, "-c", GRANTED]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(), timeout=TIMEOUT)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "nice 3 None 3 0 0",
        "nice 0 None 0 0 0",
        "nice -5 None -5 0 0",
        "nice -6 EACCES -5 0 0",
        "nice -4 None -4 0 0",
        "nice -5 None -5 0 0",
        "attributes 3 -5 None -5 3 0",
        "attributes 3 -6 EPERM -5 3 0",
        "attributes 0 2 None 2 0 0",
        "attributes 0 -1 None -1 0 0",
        "attributes 5 0 None -1 5 0",
        "attributes 0 -2 None -2 0 0",
        "policy 1 11 EPERM -2 0 0",
        "policy 1 10 None -2 1 10",
        "policy 2 11 EPERM -2 1 10",
        "policy 2 3 None -2 2 3",
        "policy 2 10 None -2 2 10",
        "policy 1 100 EINVAL -2 2 10",
        "policy 0 0 None -2 0 0",
        "policy 1 6 EPERM -2 0 0",
        "policy 1 1 EPERM -2 0 0",
        "nice -3 EACCES -2 0 0",
        "nice 4 None 4 0 0",
        "lock 262144 None 4 0 0",
        "lock 1048576 ENOMEM 4 0 0",
        "all 2 None 4 0 0",
        "all 1 ENOMEM 4 0 0",
        "0",
    ]


TRACED_KEYRING = """
import ctypes
keyctl = lambda *args: ctypes.CDLL(None).syscall(250, *args)
ring = keyctl(22, 33, -2)
key = ctypes.CDLL(None).syscall(248, b"user", b"remainroot:test", b"text", 4, ring)
print(ring > 0, key > 0, ring == keyctl(22, 33, -3), keyctl(11, ring, None, 0), keyctl(11, key, None, 0))
"""


def test_a_persistent_keyring_of_a_task_that_somebody_traces() -> None:
    """It is linked to no other: keys can be put into it, but not read."""
    done = remainroot("--engine", "notify", "--", "strace", "-f", "-o", "/dev/null", PYTHON, "-c", TRACED_KEYRING)
    assert (done.stdout, done.stderr) == ("True True True 4 -1\n", "")


OOM_SCORE = """
cat /proc/self/oom_score_adj
echo -500 >/proc/self/oom_score_adj && cat /proc/self/oom_score_adj /proc/$$/oom_score_adj
choom -n -900 -- sh -c 'cat /proc/self/oom_score_adj; echo 7 >/proc/self/oom_score_adj
        cat /proc/self/oom_score_adj /proc/$PPID/oom_score_adj'
echo abc >/proc/self/oom_score_adj; echo 1001 >/proc/self/oom_score_adj; echo -1001 >/proc/self/oom_score_adj
choom -p $$ | sed 's/.*: //'
setpriv --reuid=33 --clear-groups sh -c '
        echo -400 >/proc/self/oom_score_adj; cat /proc/self/oom_score_adj
        echo -600 >/proc/self/oom_score_adj; cat /proc/self/oom_score_adj'
choom -n 300 -p $$ >/dev/null; mawk '{ print "mawk", $1 }' /proc/self/oom_score_adj
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_oom_scores_are_lowered_in_words(engine: str) -> None:
    """Said, not compared: where the tests run, root may be without CAP_SYS_RESOURCE."""
    done = remainroot("--engine", engine, "--", "sh", "-c", OOM_SCORE)
    lines = done.stderr.splitlines()
    assert [line.endswith("echo: I/O error") for line in lines] == [True] * 4, lines  # so dash calls every error
    words = ["0", "-500", "-500", "-900", "7", "-500", "666", "-500", "-400", "-400", "mawk", "300"]
    words[6] = done.stdout.split()[6]  # the score itself follows from the memory there is
    assert done.stdout.split() == words


OPENSSH = """
with open("/proc/self/oom_score_adj", "r+") as file:
    before = file.read()
    file.seek(0)
    print(VALUE, file=file)
with open("/proc/self/oom_score_adj", "r+") as file:
    print(before.strip(), file.read().strip())
    file.write("12")
print(open("/proc/self/oom_score_adj").read())
"""


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("value", [-1000, -17, 0, 5, -1])
def test_oom_scores_are_read_and_written_by_one_descriptor(engine: str, value: int) -> None:
    """As OpenSSH's sshd does, which puts its own value back in its children."""
    code = OPENSSH.replace("VALUE", str(value))
    command = ["sh", "-c", 'echo -1000 >/proc/self/oom_score_adj; exec "$@"', "-", PYTHON, "-c", code]
    done = remainroot("--engine", engine, "--", *command)
    assert (done.stdout.split(), done.stderr) == (["-1000", str(value), "12"], "")


def test_a_file_of_that_name_elsewhere_is_only_a_file(place: Path) -> None:
    where = place / "fake" / "1"
    where.mkdir()
    done = remainroot("--", "sh", "-c", "echo -500 >oom_score_adj; cat oom_score_adj", cwd=where)
    assert done.stdout == where.joinpath("oom_score_adj").read_text("ascii") == "-500\n"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_raised_oom_score_reaches_the_kernel(engine: str) -> None:
    """Though the task had lowered it in words before; and a lower one as far as the kernel allows."""
    script = "echo -500 >/proc/self/oom_score_adj; echo 300 >/proc/self/oom_score_adj; read -r x; "
    script += "echo -7 >/proc/self/oom_score_adj; cat /proc/self/oom_score_adj; read -r x"
    running = start("--engine", engine, "--", "sh", "-c", "echo $$ >&2; " + script,
                    stdin=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    assert running.stdin is not None
    assert running.stdout is not None
    assert running.stderr is not None
    score = Path(f"/proc/{int(running.stderr.readline())}/oom_score_adj")
    until(lambda: score.read_text("ascii") == "300\n")
    running.stdin.write("\n")
    running.stdin.flush()
    assert running.stdout.readline() == "-7\n"
    until(lambda: score.read_text("ascii") == "0\n")
    assert running.communicate("\n", timeout=TIMEOUT) == ("", "")
    assert running.returncode == 0


CLOCK = "import time; print(time.clock_settime(time.CLOCK_REALTIME, 1e9), time.time() > 1.5e9)"


def test_clocks_are_set_in_words_on_demand_only() -> None:
    assert remainroot("--fake-time", "--", PYTHON, "-c", CLOCK).stdout == "None True\n"
    assert "PermissionError" in remainroot("--", PYTHON, "-c", CLOCK).stderr


WRONG_TIMES = """
import ctypes, errno, struct
libc = ctypes.CDLL(None, use_errno=True)
BAD = ctypes.c_void_p(1)
def attempt(number, *arguments):
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    result = libc.syscall(number, *words)
    print(number, errno.errorcode[ctypes.get_errno()] if result else "done")
times = [(-1, 0), (0, 0), (100, 0), (1 << 60, 0), (1 << 40, -1), (10 ** 9, -1), (10 ** 9, 10 ** 9), (10 ** 9, 2 ** 40)]
for text in (*(struct.pack("=qq", *time) for time in times), None, b"BAD"):
    address = BAD if text == b"BAD" else text
    attempt(227, 0, address)
    if text:
        attempt(164, address, None)
        attempt(164, address, BAD if text == b"BAD" else struct.pack("=ii", 16 * 60, 0))
for clock in (1, 2, 3, 4, 5, 6, 7, 11, 12, 99, -1):
    attempt(227, clock, struct.pack("=qq", 10 ** 9, 0))
for zone in (BAD, struct.pack("=ii", 901, 0), struct.pack("=ii", -901, 0)):
    attempt(164, None, zone)
attempt(164, struct.pack("=qq", 10 ** 9, 10 ** 6), BAD)
attempt(164, struct.pack("=qq", 100, 0), BAD)
"""


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ENGINES)
def test_wrong_times_are_refused(engine: str) -> None:
    real = subprocess.run([PYTHON, "-c", WRONG_TIMES], capture_output=True, text=True, check=True, env=environment())
    assert "done" not in real.stdout
    fake = remainroot("--fake-time", f"--engine={engine}", "--", PYTHON, "-c", WRONG_TIMES)
    assert fake.stderr == ""
    assert fake.stdout.splitlines() == real.stdout.splitlines()


def test_the_log_is_empty_or_the_real_one() -> None:
    done = remainroot("--", "dmesg")
    assert (done.returncode, done.stderr) == (0, "")


HARMLESS = """
import ctypes, errno, os, resource, socket, sys
libc = ctypes.CDLL(None, use_errno=True)

def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "")

def immutable():
    with open("file", "w") as file:
        check(libc.ioctl(file.fileno(), 0x40086602, ctypes.byref(ctypes.c_long(0x10))))

memory = ctypes.create_string_buffer(1 << 20)
calls = {
    "flags": immutable,
    "hostname": lambda: socket.sethostname("name"),
    "ioprio": lambda: check(libc.syscall(251, 1, 0, 1 << 13)),
    "mlock": lambda: check(libc.mlock(memory, len(memory))),
    "nice": lambda: os.setpriority(os.PRIO_PROCESS, 0, -5),
    "oom": lambda: os.write(os.open("/proc/self/oom_score_adj", os.O_WRONLY), b"-5"),
    "realtime": lambda: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1)),
    "rlimit": lambda: resource.prlimit(0, resource.RLIMIT_NOFILE, (512, 2048)),
    "syslog": lambda: check(libc.klogctl(5, None, 0)),
}
for name, call in calls.items():
    try:
        call()
        print(name, "done")
    except OSError as error:
        print(name, errno.errorcode[error.errno])
"""


def _harmless(tmp_path: Path, *prefix: str) -> dict[str, str]:
    lower = ["prlimit", "--nofile=512:1024", "--memlock=65536:65536", "--nice=0", "--rtprio=0", "--"]
    done = subprocess.run(
        [*lower, *PLACE, *prefix, PYTHON, "-c", HARMLESS],
        capture_output=True, text=True, check=False, env=environment(), timeout=TIMEOUT, cwd=tmp_path,
    )  # fmt: skip
    assert done.stderr == ""
    return dict(line.split() for line in done.stdout.splitlines())


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_refused_fails_as_without_us(engine: str, tmp_path: Path) -> None:
    shim = [*REMAINROOT[:-1], engine, "--store", "memory"]
    bare = _harmless(tmp_path)
    assert sorted(bare) == sorted(PRETENCES)
    assert "done" not in bare.values()
    assert set(_harmless(tmp_path, *shim, "--").values()) == {"done"}
    assert _harmless(tmp_path, *shim, "--refuse", ",".join(PRETENCES), "--") == bare


@pytest.mark.parametrize("name", PRETENCES)
def test_each_is_refused_alone(name: str, tmp_path: Path) -> None:
    found = _harmless(tmp_path, *REMAINROOT, "--store", "memory", f"--refuse={name}", "--")
    assert [other for other, result in found.items() if result != "done"] == [name]


SWAP = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
os.setsid()
os.mkdir("directory"), os.mkfifo("fifo"), os.symlink("loop", "loop")
open("file", "w").write("x" * 10000)
def attempt(call, path, *more):
    result = getattr(libc, call)(path, *more)
    print(call, path, *more, errno.errorcode[ctypes.get_errno()] if result else "done")
for path in (b"missing", b"directory", b"fifo", b"file", b"file/x", b"loop", b"", b"/dev/null", b"x" * 5000, None):
    attempt("swapon", path, 0)
    attempt("swapoff", path)
    if path not in (b"file", b"fifo", None):  # a FIFO waits for a reader
        attempt("acct", path)
attempt("acct", ctypes.c_void_p(16))
libc.vhangup() and print("there is nothing to hang up", ctypes.get_errno())
attempt("swapon", b"missing", 1 << 30)
os.setuid(33)
attempt("swapon", b"missing", 0)
attempt("swapoff", b"missing")
attempt("acct", b"missing")
print(libc.vhangup(), ctypes.get_errno())
"""


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ENGINES)
def test_swap_areas(engine: str) -> None:
    printed = []
    for prefix in ([], [*PLACE, *REMAINROOT[:-1], engine, "--"]):
        with tempfile.TemporaryDirectory() as place:
            Path(place).chmod(0o755)
            done = subprocess.run(
                [*prefix, PYTHON, "-c", SWAP],
                capture_output=True, text=True, check=False, env=environment(), timeout=TIMEOUT, cwd=place,
            )  # fmt: skip
        assert done.stderr == ""
        printed.append(done.stdout)
    assert printed[0].count("EINVAL") > 5
    assert printed[1] == printed[0]


MOUNTS = """
import ctypes, errno, sys
libc = ctypes.CDLL(None, use_errno=True)
for kind in sys.argv[2:]:
    result = libc.mount(b"none", sys.argv[1].encode(), kind.encode(), 0, None)
    print(kind, "done" if result == 0 else errno.errorcode[ctypes.get_errno()])
    if result == 0:
        libc.umount2(sys.argv[1].encode(), 2)
"""


def test_mounts_are_refused_as_the_table_says(tmp_path: Path) -> None:
    """All that the machine's kernel knows, but for binfmt_misc, which a user namespace can have since Linux 6.7."""
    known = {line.split()[-1] for line in Path("/proc/filesystems").read_text("ascii").splitlines()}
    table = Path(__file__).parents[2].joinpath("doc/PRIVILEGED.md").read_text("utf-8").split("## Mounts")[1]
    mounted = {line.split(" - ")[1].split()[0] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    expected = {}
    for line in table.splitlines():
        kinds, *rest = [cell.strip() for cell in line.strip("|").split("|")]
        for kind in kinds.split(";")[0].split(", "):
            if kind in known - {"binfmt_misc", "overlay"}:
                works = rest[0] == "works" or (rest[0].startswith("as it is mounted") and kind in mounted)
                expected[kind] = "done" if works else "EPERM"
    assert {"tmpfs", "proc", "sysfs", "devtmpfs"} <= expected.keys()
    for space in ([], ["unshare", "--mount"]):
        done = remainroot("--", *space, PYTHON, "-c", MOUNTS, str(tmp_path), *expected)
        assert done.stderr == ""
        found = dict(line.split() for line in done.stdout.splitlines())
        assert found == (expected if space else dict.fromkeys(expected, "EPERM"))
