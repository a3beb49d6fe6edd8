# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs whose opens to read are seen: which they are, and that nobody notices how they are marked."""

from __future__ import annotations

import os
import random
import resource
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remainroot import readers
from remainroot.kernel import O_PATH
from tests import compiling
from tests.launching import ENGINES, PLACE, REMAINROOT, TIMEOUT, environment, in_turn

HALVES = ("0", "1")
"""REMAINROOT_PURE: with the compiled half, without."""
STACK = "import resource; print(*resource.getrlimit(resource.RLIMIT_STACK))"


def kind(path: Path | str) -> int:
    fd = os.open(path, O_PATH)
    try:
        return readers.kind_of(fd, os.fstat(fd))
    finally:
        os.close(fd)


def run(engine: str, pure: str, *command: str) -> str:
    done = subprocess.run(
        [*PLACE, *REMAINROOT[:-1], engine, "--", *command],
        capture_output=True, text=True, check=False, timeout=TIMEOUT, env={**environment(), "REMAINROOT_PURE": pure},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def is_marked(maps: str) -> bool:
    """Whether this /proc/self/maps shows the C library where a reader's is; it must be in one of the two places."""
    half = next(int(line.split("-")[0], 16) >> 32 for line in maps.splitlines() if "libc.so" in line)
    assert half >= 0x6F00 or readers.LOW <= half < readers.HIGH
    return half < 0x6F00


# ---------------------------------------------------------------- which


@pytest.mark.parametrize("program", ["ps", "pgrep", "top", "w"])
def test_who_uses_procps_library_is_a_reader(program: str) -> None:
    assert kind(f"/usr/bin/{program}") == readers.READER


def test_others_are_not(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/usr/bin/ps\n")
    assert kind("/bin/cat") == kind(script) == readers.OTHER
    assert kind(tmp_path) == readers.UNMARKABLE


def test_a_program_of_32_bits_cannot_be_marked(tmp_path: Path) -> None:
    narrow = tmp_path / "narrow"
    narrow.write_bytes(b"\x7fELF\x01\x01" + bytes(200))
    assert kind(narrow) == readers.UNMARKABLE


def test_a_static_program_at_a_fixed_address_cannot_be_marked(tmp_path: Path) -> None:
    source = tmp_path / "source.c"
    source.write_text("int main(void) { return 0; }\n")
    for name, options, expected in (
        ("fixed", ["-static", "-no-pie"], readers.UNMARKABLE),
        ("moving", ["-static-pie"], readers.OTHER),
        ("dynamic", ["-no-pie"], readers.OTHER),
    ):
        subprocess.run(["gcc", *options, "-o", str(tmp_path / name), str(source)], check=True)
        assert kind(tmp_path / name) == expected


def test_a_file_that_changes_is_looked_at_again(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(Path("/bin/cat").read_bytes())
    assert kind(program) == readers.OTHER
    program.write_bytes(Path("/usr/bin/ps").read_bytes())
    assert kind(program) == readers.READER


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        (b"/proc/1/status", True), (b"--file=/proc/self/task/3/status", True), (b"/proc/thread-self/limits", True),
        (b"/root/proc/7/uid_map", True), (b"/proc/sysvipc/shm", True), (b"x /proc/self/setgroups y", True),
        (b"/proc/1/stat", False), (b"/proc/status", True), (b"status", False), (b"/status/proc/", False), (b"", False),
        (b"/proc/self/fd/1", False),
    ],
)  # fmt: skip
def test_arguments(argument: bytes, *, told: bool) -> None:
    assert readers.is_told_to_read(argument) is told


@given(st.integers(0, 1 << 32))
def test_garbage_in_headers_is_no_reader_and_no_error(seed: int) -> None:
    rng = random.Random(seed)
    code = bytearray(Path("/usr/bin/ps").read_bytes())
    for _ in range(rng.randrange(1, 40)):
        code[rng.randrange(16, 1024)] = rng.randrange(256)
    fd = os.memfd_create("program")
    try:
        os.write(fd, code[: rng.choice([len(code), rng.randrange(len(code))])])
        assert readers.kind_of(fd, os.fstat(fd)) in (readers.UNMARKABLE, readers.OTHER, readers.READER)
    finally:
        os.close(fd)


# ---------------------------------------------------------------- the mark


@pytest.mark.parametrize("pure", HALVES)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_program_told_to_read_is_marked_and_no_other(engine: str, pure: str) -> None:
    many = ["/dev/null"] * 30
    assert not is_marked(run(engine, pure, "cat", "/proc/self/maps"))
    assert is_marked(run(engine, pure, "cat", "/proc/self/maps", "/proc/self/status"))
    assert is_marked(run(engine, pure, "cat", "/proc/self/maps", *many[1:], "/proc/self/status"))
    assert not is_marked(run(engine, pure, "cat", "/proc/self/maps", *many, "/proc/self/status"))


@pytest.mark.parametrize("pure", HALVES)
def test_an_argument_may_lie_across_pages(pure: str) -> None:
    """Wherever the path begins in the last bytes of a page of the caller's memory."""
    code = """if 1:
        import ctypes, mmap, os
        libc = ctypes.CDLL(None)
        area = mmap.mmap(-1, 4096 * 2)
        base = ctypes.addressof(ctypes.c_char.from_buffer(area))
        for before in range(1, 20):
            start = 4096 - before
            area[start:start + 18] = b"/proc/self/status\\0"
            pid = os.fork()
            if not pid:
                vector = (ctypes.c_void_p * 4)(base + start, 0)
                keep = ctypes.create_string_buffer(b"/proc/self/maps")
                vector[0], vector[1], vector[2] = base + start, ctypes.addressof(keep), base + start
                libc.execv(b"/bin/cat", vector)
            os.wait()
    """
    texts = run("notify", pure, "/usr/bin/python3", "-c", code).split("Name:")
    assert len(texts) == 20
    assert all(is_marked(text) for text in texts[:-1])


@pytest.mark.parametrize("engine", ENGINES)
def test_forks_keep_the_mark_and_an_exec_ends_it(engine: str) -> None:
    script = "cat /proc/self/maps; while read -r name ids; do [ $name != Uid: ] || echo $ids; done </proc/self/status"
    shown = run(engine, "0", "setpriv", "--reuid=33", "--clear-groups", "sh", "-c", f"({script})", "/proc/self/status")
    assert not is_marked(shown)
    assert shown.splitlines()[-1].split() == ["33"] * 4


@pytest.mark.parametrize("pure", HALVES)
@pytest.mark.parametrize("engine", ENGINES)
def test_the_stack_has_its_limit_in_the_program(engine: str, pure: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    shown = run(engine, pure, "/usr/bin/python3", "-c", STACK, "/proc/self/status")
    assert shown.split() == [str(soft), str(hard)]
    lower = ["prlimit", "--stack=4194304:8388608", "/usr/bin/python3", "-c", STACK, "/proc/self/status"]
    assert run(engine, pure, *lower).split() == ["4194304", "8388608"]


@pytest.mark.parametrize("pure", HALVES)
@pytest.mark.parametrize("engine", ENGINES)
def test_the_stack_has_its_limit_after_an_exec_that_failed(engine: str, pure: str, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("no program\n")
    program.chmod(0o755)
    code = f"""if 1:
        import os, resource, threading
        def fail():
            try:
                os.execv({str(program)!r}, ["x", "/proc/self/status"])
            except OSError as error:
                print(error.errno, *resource.getrlimit(resource.RLIMIT_STACK))
        fail()
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    """
    limit = " ".join(map(str, resource.getrlimit(resource.RLIMIT_STACK)))
    assert run(engine, pure, "/usr/bin/python3", "-c", code) == f"8 {limit}\n" * 2


@pytest.mark.parametrize("engine", ENGINES)
def test_a_thread_executes_a_reader(engine: str) -> None:
    code = """if 1:
        import os, threading, time
        os.setgid(34)
        threading.Thread(target=os.execv, args=("/usr/bin/ps", ["ps", "-o", "group=", "-p", str(os.getpid())])).start()
        time.sleep(30)
    """
    assert run(engine, "0", "/usr/bin/python3", "-c", code) == "backup\n"


def test_a_traced_reader_runs_unmarked() -> None:
    """A limit that doc/LIMITS.md states: a task has one tracer."""
    command = ["strace", "-qq", "-o", "/dev/null", "ps", "-o", "user=", "-C", "strace"]
    assert run("notify", "0", "setpriv", "--reuid=33", "--clear-groups", *command).split() == ["root"]


def test_memory_of_a_reader_is_where_nobody_else_is() -> None:
    """Between what lies high and what lies low, however much is left to chance (32 bits of pages at most)."""
    chance = (1 << 32) * 4096 >> 32
    assert readers.HIGH <= 0x5555
    assert 0x5555 + chance < readers.TOP
    assert 0x2AAB + chance < readers.LOW
    top = 0x7FFF_FFFF_F000 - (readers._ROOM + (1 << 34))  # what is left for chance of the stack itself
    assert top >> 32 < readers.HIGH
    assert top - (chance << 32) >> 32 >= readers.LOW + 0xF0


@pytest.mark.parametrize(
    ("engine", "pure", "flags"),
    in_turn(*((pure, flags) for flags in (("-no-pie",), ("-static", "-no-pie"), ("-pie",)) for pure in HALVES)),
)
def test_programs_that_make_their_calls_themselves_read_what_root_reads(
    engine: str, pure: str, flags: tuple[str, ...], tmp_path: Path
) -> None:
    """Go's programs do so, container tools among them, which ask the id maps whether they may make device nodes."""
    program = compiling.program(compiling.FIXTURES / "own_calls.c", "x86_64", *flags)
    script = f"mknod null c 1 3; mknod zero c 1 5; exec setpriv --reuid=33 --regid=34 --clear-groups {program}"

    def shown(start: list[str], where: str) -> list[bytes]:
        (tmp_path / where).mkdir()
        done = subprocess.run(
            [*start, "sh", "-c", script], cwd=tmp_path / where, capture_output=True, check=True, timeout=TIMEOUT,
            env={**environment(), "REMAINROOT_PURE": pure},
        )  # fmt: skip
        told = (b"Uid", b"Gid", b"Groups", b"CapPrm", b"CapEff", b" ", b"\n", b"\0")
        return [line for line in done.stdout.splitlines(keepends=True) if line.startswith(told)]

    assert shown([*PLACE, *REMAINROOT[:-1], engine, "--"], "fake") == shown([], "real")
