# SPDX-License-Identifier: GPL-2.0-or-later
"""`--strict`: fake users are refused what real ones are, with the same errno."""

from __future__ import annotations

import errno
import subprocess
from pathlib import Path

import pytest

from remainroot.dispatch import GUARDED_WHEN, GUARDS, SYSCALLS, build_table
from remainroot.engines.filter import RET_USER_NOTIF, program
from remainroot.handlers import every_guard
from tests.compiling import FIXTURES, abis
from tests.compiling import program as compiled
from tests.handlers.rooted import as_real_root, printed, under
from tests.launching import ENGINES, PLACE, REMAINROOT, TIMEOUT, environment, remainroot

OPS = Path(__file__).with_name("strict_ops.py")
PYTHON = "/usr/bin/python3"


def compare(place: Path, seed: int, count: int, *options: str) -> list[str]:
    """What real users print; fake ones print the same."""
    arguments = [PYTHON, str(OPS), str(seed), str(count)]
    real = subprocess.run(
        [*arguments, str(place / "real")], capture_output=True, text=True, check=False, env=environment()
    )
    assert (real.returncode, real.stderr) == (0, "")
    fake = remainroot("--strict", *options, "--", *arguments, str(place / "fake"))
    assert fake.stderr == ""
    assert fake.stdout.splitlines() == real.stdout.splitlines()
    return real.stdout.splitlines()


@pytest.mark.oracle
@pytest.mark.parametrize("seed", range(4))
def test_every_operation_by_every_user(place: Path, seed: int) -> None:
    lines = compare(place, seed, 0, "--store=memory")
    refused = [line for line in lines if line.endswith((" EACCES", " EPERM"))]
    assert len(lines) > 600
    assert len(refused) > len(lines) / 10
    assert sum(" ok " in line for line in lines) > len(lines) / 10


@pytest.mark.oracle
@pytest.mark.parametrize(("seed", "count"), [(100, 40), (102, 40), (105, 40), (108, 40), (412, 60)])
def test_random_operations(place: Path, seed: int, count: int) -> None:
    compare(place, seed, count, "--store=memory")


@pytest.mark.oracle
@pytest.mark.parametrize("store", ["durable", "sqlite"])
def test_random_operations_with_owners_that_last(place: Path, store: str) -> None:
    compare(place, 200, 25, f"--store={store}:{place}/owners.db")


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ENGINES)
def test_random_operations_on_each_engine(place: Path, engine: str) -> None:
    compare(place, 300, 15, "--store=memory", f"--engine={engine}")


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("scenario", ["frozen_file_systems", "low_ports"])
def test_what_takes_capabilities(engine: str, scenario: str) -> None:
    expected = as_real_root(scenario)
    assert sum(line.endswith(("EPERM", "EACCES")) for line in expected) > 5
    assert under(engine, scenario, "--strict") == expected
    assert under(engine, scenario) != expected


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ["notify", *(pytest.param(name, marks=pytest.mark.slow) for name in ENGINES[1:])])
def test_tasks_namespaces_and_sockets(place: Path, engine: str) -> None:
    """Every user and every kind of task: 12,000 answers. With the ptrace engines nobody else can be a tracer."""
    script = OPS.with_name("strict_tasks.py")
    apart = ["unshare", "--mount", "--uts", "--", PYTHON, str(script)]
    real = subprocess.run([*apart, str(place / "real")], capture_output=True, text=True, check=False, env=environment())
    assert (real.returncode, real.stderr) == (0, "")
    lines = real.stdout.splitlines()
    assert sum(line.endswith((" EACCES", " EPERM")) for line in lines) > len(lines) / 4
    assert sum(" ok " in line for line in lines) > len(lines) / 4
    fake = remainroot(
        "--strict", "--store=memory", f"--engine={engine}", "--", *apart, str(place / "fake"), timeout=3 * TIMEOUT
    )
    assert fake.stderr == ""
    if engine != "notify":
        lines = [line for line in lines if " seize " not in line]
        fake.stdout = "".join(line for line in fake.stdout.splitlines(keepends=True) if " seize " not in line)
    assert fake.stdout.splitlines() == lines


PID_NAMESPACE = """
import ctypes, errno, os, signal, struct
libc = ctypes.CDLL(None, use_errno=True)

def clone(number, count=1):
    chosen = ctypes.create_string_buffer(struct.pack("=i", number))
    arguments = struct.pack("=11Q", 0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, ctypes.addressof(chosen), count, 0)
    pid = libc.syscall(435, arguments, len(arguments))
    if pid == 0:
        os._exit(0)
    return pid if pid > 0 else errno.errorcode[ctypes.get_errno()]

def reboot():
    libc.syscall(169, 1, 2, 0, 0)
    return errno.errorcode[ctypes.get_errno()]

for uid in (0, 1000):
    os.setresuid(uid, uid, uid)
    for name, result in (("reboot", reboot()), ("clone", clone(30000 + uid)),
                         ("no pid", clone(0)), ("too high", clone(1 << 23)), ("too many", clone(30000, 40))):
        print(uid, name, result)
"""


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ENGINES)
def test_a_pid_namespace_of_ones_own(engine: str) -> None:
    """Where the kernel would let a fake user reboot, and choose a pid."""
    apart = ["unshare", "--pid", "--fork", PYTHON, "-c", PID_NAMESPACE]
    real = subprocess.run(apart, capture_output=True, text=True, check=True, env=environment()).stdout
    assert "0 reboot EINVAL\n0 clone 30000\n0 no pid EINVAL\n" in real
    assert "1000 reboot EPERM\n1000 clone EPERM\n1000 no pid EINVAL\n" in real
    assert remainroot("--strict", f"--engine={engine}", "--", *apart).stdout == real


# ---------------------------------------------------------------- single things


def run(place: Path, script: str, *options: str) -> list[str]:
    """The script's output, and what it says of errors, without the name of the program that says it."""
    done = remainroot("--strict", *options, "--", "sh", "-c", f"exec 2>&1; {script}", cwd=place / "fake")
    assert "remainroot" not in done.stdout
    lines: list[str] = done.stdout.splitlines()
    return lines


def as_user(script: str) -> str:
    return f"setpriv --reuid=1000 --regid=1000 --clear-groups sh -c '{script}'"


@pytest.mark.parametrize("engine", ENGINES)
def test_rings_are_for_root(engine: str) -> None:
    """As where kernel.io_uring_disabled is 1: what a user opens by one would be seen by nobody."""
    ask = "import ctypes; libc = ctypes.CDLL(None, use_errno=True); raw = ctypes.create_string_buffer(120); "
    ask += "print(libc.syscall(425, 1, raw) >= 0, ctypes.get_errno())"
    words = [PYTHON, "-S", "-c", ask]
    bare = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    ours = [remainroot("--engine", engine, "--strict", "--user", user, "--", *words) for user in ("0", "1000")]
    assert [one.stdout for one in ours] == [bare, f"False {errno.EPERM}\n"]


def test_a_user_from_the_start(place: Path) -> None:
    (place / "fake/secret").write_text("s", encoding="ascii")
    (place / "fake/secret").chmod(0o600)
    lines = run(place, "cat secret; test -r secret || echo no; cat >new || echo not; id -u", "--user=1000:1000")
    assert lines[:2] == ["cat: secret: Permission denied", "no"]
    assert lines[2].endswith("cannot create new: Permission denied")
    assert lines[3:] == ["not", "1000"]


def test_without_the_option_roots_power_stays(place: Path) -> None:
    """But for the one who asks instead of trying: access(2)."""
    script = "echo s >secret; chmod 600 secret; " + as_user("cat secret; test -r secret || echo no")
    assert run(place, script)[0] == "cat: secret: Permission denied"
    done = remainroot("--", "sh", "-c", script, cwd=place / "fake")
    assert done.stdout.splitlines() == ["s", "no"]


def test_own_descriptors_stay_open_to_their_user(place: Path) -> None:
    """After a change of ids /proc/self/fd belongs to root, and is the process' own all the same."""
    script = as_user("ls /proc/self/fd >/dev/null && cat /dev/stdin </etc/passwd >/dev/null && echo read")
    assert run(place, script) == ["read"]


@pytest.mark.parametrize("scenario", ["own_links", "login_uid_elsewhere"])
def test_any_procfs(scenario: str) -> None:
    """A root in a container has a procfs of its own."""
    alone = ["--mount-proc", "--pid", "--fork"]
    strict = [*REMAINROOT[:-2], "--strict", "--"]
    expected = printed(["unshare", *alone], scenario)
    assert expected
    assert printed([*PLACE, *alone, *strict], scenario) == expected


def test_descriptors_of_others_do_not(place: Path) -> None:
    script = "sleep 9 & " + as_user("ls /proc/$PPID/fd; readlink /proc/$PPID/cwd || echo none") + "; kill $!"
    lines = run(place, script)
    assert lines[0].endswith("Permission denied")
    assert lines[1] == "none"


def test_a_placeholder_is_opened_by_its_mode(place: Path) -> None:
    script = "mknod n c 1 3; chmod 640 n; chown 0:1000 n; " + as_user("true <n && echo read; true >n || echo no")
    assert [line for line in run(place, script) if "denied" not in line] == ["read", "no"]


def test_a_list_takes_the_set_group_id_bit(place: Path) -> None:
    """Of a file whose group the owner is not in, as chmod does."""
    script = "mkdir d; chown 1000:50 d; chmod 2770 d; mkdir e; chown 1000:1000 e; chmod 2770 e; "
    script += as_user("setfacl -m u:33:r d e; stat -c %a d e")
    assert run(place, script) == ["770", "2770"]
    done = subprocess.run(["sh", "-c", script], cwd=place / "real", capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["770", "2770"]


def test_programs_and_their_interpreters(place: Path) -> None:
    script = "cp /bin/true t; chmod 700 t; printf '#!%s/t\\n' $PWD >s; chmod 755 s; "
    script += as_user("./t; echo $?; ./s; echo $?")
    assert [line for line in run(place, script) if line.isdigit()] == ["126", "126"]


@pytest.mark.parametrize("abi", abis())
@pytest.mark.parametrize("call", ["bind", "connect", "sendto", "sendmsg"])
def test_sockets_by_each_abi(place: Path, abi: str, call: str) -> None:
    """Also through i386's socketcall(2)."""
    program = compiled(FIXTURES / "unix_path.c", abi)
    script = f"mkdir -m 755 d; {program} bind d/s; chmod 644 d/s; setpriv --reuid=1000 --clear-groups {program} {call}"
    assert run(place, f"{script} d/{'new' if call == 'bind' else 's'}") == ["0", "13"]


def test_sockets_and_other_processes(place: Path) -> None:
    script = f"""
import ctypes, os, socket
server = socket.socket(socket.AF_UNIX)
server.bind("{place}/fake/s")
os.chmod("{place}/fake/s", 0o700)
server.listen()
me = os.getpid()
if os.fork() == 0:
    os.setresuid(1000, 1000, 1000)
    try:
        socket.socket(socket.AF_UNIX).connect("{place}/fake/s")
    except OSError as error:
        print(error.strerror)
    libc = ctypes.CDLL(None, use_errno=True)
    print(libc.ptrace(0x4206, me, 0, 0), os.strerror(ctypes.get_errno()), flush=True)
    os._exit(0)
os.wait()
"""
    done = remainroot("--strict", "--", PYTHON, "-c", script)
    assert (done.stdout.splitlines(), done.stderr) == (["Permission denied", "-1 Operation not permitted"], "")


# ---------------------------------------------------------------- declarations


def test_guards_are_in_the_strict_filter_only() -> None:
    modules = {f"remainroot.handlers.{name}" for name in every_guard.__all__}
    assert {guard.__module__ for guard in GUARDS.values()} == modules
    plain, guarded = build_table(), build_table(strict=True)
    for arch, rows in guarded.items():
        assert len(plain[arch]) < len(rows)
        names = {row.name for row in rows.values()}
        lax = {name for name, syscall in SYSCALLS.items() if syscall.lax}
        assert {row.name for row in plain[arch].values()} == names & lax
        for number, row in rows.items():
            if row.name in SYSCALLS.keys() - lax:
                assert row.when == SYSCALLS[row.name].when
            elif row.name not in GUARDS:
                assert row.when == (() if SYSCALLS[row.name].strictly else plain[arch][number].when)
            elif row.name not in SYSCALLS:
                assert row.when == GUARDED_WHEN[row.name]
            else:
                tests = (plain[arch][number].when, GUARDED_WHEN[row.name])
                combined = all(tests) and not SYSCALLS[row.name].strictly
                assert row.when == (tests[0] + tests[1] if combined else ())
    assert {"unlink", "rename", "kcmp"} <= GUARDS.keys() - SYSCALLS.keys()
    assert program(RET_USER_NOTIF) != program(RET_USER_NOTIF, strict=True)


@pytest.mark.parametrize("name", sorted(GUARDS))
def test_each_guard_is_documented(name: str) -> None:
    assert GUARDS[name].__doc__
