# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the oracle programs as real root and under the shim, and compare what they print.

Real root, with every id mapped, is the oracle. The same program with the same seed then runs under
``remainroot`` inside a user namespace that maps one uid and one gid. The outputs must be equal byte for byte.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from typing import Self

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))

PROGRAMS = ("credfuzz", "execfuzz", "filefuzz", "flagfuzz", "mixfuzz", "privfuzz", "spacefuzz", "errors", "probe")
ON_FILES = ("filefuzz", "flagfuzz")
STRICT = ("mixfuzz", "privfuzz", "spacefuzz")
"""Who may use what is told only so."""
ALONE = {"mixfuzz": ["-static"]}
"""What is compiled in one way only: where it runs there are no libraries."""
VARIANTS: dict[str, list[str]] = {
    "native": [],
    "static": ["-static"],
    "m32": ["-m32"],
    "m32-static": ["-m32", "-static"],
}
FILE_MODES = ("root", "writer", "fsuid", "euid", "full", "mixed")
DENIED = "denied"
"""filefuzz: a mode that takes --strict."""
FLAG_MODES = ("root", "fsuid", "full")
ENGINES = ("notify", "trace", "ptrace")
PURE = "pure"
READ_ONLY = [
    "unshare", "--mount", "sh", "-c",
    'mount --bind "$0/src" "$0/ro" && mount -o remount,bind,ro "$0/ro" && exec "$@"',
]  # fmt: skip
"""errors: with a directory of the work directory, which is the next word, mounted read-only."""
NO_SET_ID = [
    "unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o nosuid,mode=755 none "$0/nosuid" && exec "$@"',
]  # fmt: skip
"""execfuzz: with a directory of the work directory, which is the next word, on a mount without set-id bits."""
APART = ["unshare", "--ipc", "--uts"]
"""privfuzz: it makes objects for all, and gives the host names."""
EXEC_MODES = ("open", "strict")
SINGLE_MAPPING = ["unshare", "--user", "--map-root-user"]


class OracleError(Exception):
    """The comparison could not be made: no compiler, no real root, a failed build."""


@dataclass(frozen=True)
class Case:
    """One sequence: what to run, apart from where."""

    program: str
    seed: int
    variant: str = "native"
    mode: str = "root"  # filefuzz, flagfuzz: who acts; execfuzz: EXEC_MODES; errors: "lax" or "strict" is expected
    base: str = "/tmp"  # the same: the filesystem
    runs: int = 1  # filefuzz: in how many runs, one after the other, each with a supervisor of its own
    extras: bool = False  # credfuzz: also compare /proc/self/status

    def __str__(self) -> str:
        on_files = self.program in (*ON_FILES, "errors", "execfuzz")
        tail = f" {self.mode} {self.base}" if on_files else " x" if self.extras else ""
        tail += f" in {self.runs} runs" if self.runs > 1 else ""
        return f"{self.program} seed {self.seed} {self.variant}{tail}"


@dataclass
class Result:
    """What one run printed, and how it ended: a status, minus a signal, or None for a run that hung."""

    lines: list[str]
    status: int | None
    stderr: str
    command: list[str] = field(default_factory=list)

    def followed_by(self, other: Result) -> Result:
        """Both as one; the first status that is not 0 counts."""
        return Result(self.lines + other.lines, self.status or other.status, self.stderr + other.stderr, self.command)


def why_no_oracle() -> str | None:
    """Why this process is no oracle, or None where it is real root with every id mapped."""
    if os.geteuid() != 0:
        return "not root"
    with open("/proc/self/uid_map") as file:
        if file.read().split() != ["0", "0", "4294967295"]:
            return "the ids of this user namespace are not all mapped"
    if shutil.which("gcc") is None:
        return "no gcc"
    return None


def capability_mask() -> int:
    """The capabilities that the oracle holds; root of a new user namespace holds them all."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("CapBnd:"):
                return int(line.split()[1], 16)
    raise OracleError("no CapBnd in /proc/self/status")


def make_read_only_part(work: str) -> None:
    """What `READ_ONLY` mounts: a file, a directory and two links, open to everybody."""
    for name in ("ro", "src", "src/d"):
        os.mkdir(os.path.join(work, name))
        os.chmod(os.path.join(work, name), 0o777)
    with open(os.path.join(work, "src/f"), "wb") as file:
        os.fchmod(file.fileno(), 0o666)
    os.symlink("f", os.path.join(work, "src/l"))
    os.symlink("nowhere", os.path.join(work, "src/dang"))


def descendants(top: int) -> list[int]:
    """Every process below `top`, as /proc has them now."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(name))
    found: list[int] = []
    todo = [top]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


class Oracle:
    """Builds the programs into a directory of its own and runs them; a context manager."""

    def __init__(self, timeout: float = 60.0) -> None:
        why = why_no_oracle()
        if why is not None:
            raise OracleError(why)
        self.timeout = timeout
        self._dir = tempfile.mkdtemp(prefix="oracle.")
        os.chmod(self._dir, 0o755)
        self._built: dict[tuple[str, str], str] = {}
        self._mask = f"{capability_mask():x}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._dir, ignore_errors=True)

    def build(self, program: str, variant: str) -> str:
        """Compile once; raise OracleError with the compiler's words."""
        built = self._built.get((program, variant))
        if built is not None:
            return built
        out = os.path.join(self._dir, f"{program}-{variant}")
        source = os.path.join(HERE, f"{program}.c")
        flags = ["-O1", "-g", "-Wall", "-Wextra", "-Wno-unused-function", "-pthread"]
        done = subprocess.run(
            ["gcc", *flags, *VARIANTS[variant], *ALONE.get(program, []), "-o", out, source],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise OracleError(f"cannot build {program} ({variant}):\n{done.stderr}")
        os.chmod(out, 0o755)
        self._built[program, variant] = out
        return out

    def _run(self, case: Case, prefix: list[str]) -> Result:
        program = self.build(case.program, case.variant)
        place = tempfile.mkdtemp(prefix="fuzz.", dir=case.base)
        os.chmod(place, 0o1777)  # as /tmp; a program may make files in the directory above its own
        work = os.path.join(place, "work")
        os.mkdir(work)
        os.chmod(work, 0o777 if case.program in (*ON_FILES, "mixfuzz", "spacefuzz") else 0o755)
        argv = [*prefix, program]
        if case.program == "credfuzz":
            argv += [str(case.seed), work, self._mask, *(["x"] if case.extras else [])]
        elif case.program == "errors":
            make_read_only_part(work)
            argv = [*READ_ONLY, work, *argv, str(case.seed), work, self._mask, case.mode]
        elif case.program == "execfuzz":
            os.mkdir(os.path.join(work, "nosuid"))
            argv = [*NO_SET_ID, work, *argv, str(case.seed), work, self._mask, case.mode]
        elif case.program in ("mixfuzz", "spacefuzz"):
            argv += [str(case.seed), work, self._mask]
        elif case.program in ON_FILES:
            argv += [str(case.seed), work, case.mode]
        elif case.program == "privfuzz":
            argv = [*prefix, *APART, program, str(case.seed)]
        else:
            argv += [work, self.build(case.program, "static")]
        try:
            result = self._collect(argv, work)
            for run in range(1, case.runs):
                result = result.followed_by(self._collect([*argv, str(run)], work))
            return result
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _collect(self, argv: list[str], work: str) -> Result:
        """Run to the end or the timeout, output into files so that no orphan can keep a pipe open."""
        env = {
            "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            "PYTHONPATH": ROOT,
            "HOME": "/",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=env,
                extra_groups=[],
                start_new_session=True,
            )
            status: int | None
            try:
                status = child.wait(self.timeout)
            except subprocess.TimeoutExpired:
                status = None
                for pid in [*descendants(child.pid), child.pid]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                child.wait()
            out.seek(0)
            err.seek(0)
            printed = out.read().decode("utf-8", "backslashreplace")
            lines = [line.replace(work, "WORK") for line in printed.split("\n")]
            return Result(lines, status, err.read().decode("utf-8", "backslashreplace"), argv)

    def run_oracle(self, case: Case) -> Result:
        """As real root, directly."""
        return self._run(case, [])

    def run_under(self, engine: str, case: Case, options: tuple[str, ...] = ()) -> Result:
        """Under the shim, in a user namespace that maps one uid and one gid; `PURE` is notify without the C half."""
        denies = case.program in STRICT or case.mode == DENIED
        strict = ["--strict"] if denies else []
        pure, engine = (["env", "REMAINROOT_PURE=1"], "notify") if engine == PURE else ([], engine)
        shim = [sys.executable, "-m", "remainroot", "--engine", engine, *strict, *options, "--"]
        return self._run(case, [*pure, *SINGLE_MAPPING, *shim])

    def run_bare(self, case: Case) -> Result:
        """In the same namespace without the shim: what a comparison must notice."""
        return self._run(case, list(SINGLE_MAPPING))


def first_difference(want: Result, got: Result) -> int | None:
    """The index of the first line that differs, or None where the runs are equal."""
    if want.lines == got.lines and want.status == got.status:
        return None
    for index, (a, b) in enumerate(zip(want.lines, got.lines, strict=False)):
        if a != b:
            return index
    return min(len(want.lines), len(got.lines))


def difference(case: Case, engine: str, want: Result, got: Result, context: int = 3) -> str | None:
    """A report of how two runs differ, or None."""
    at = first_difference(want, got)
    if at is None:
        return None
    head = [f"{case} under {engine}: first difference at line {at + 1}"]
    if want.status != got.status:
        head.append(f"status: want {want.status}, got {'a hang' if got.status is None else got.status}")
    diff = difflib.unified_diff(want.lines, got.lines, "oracle", engine, lineterm="", n=context)
    head += list(diff)[:60]
    if got.stderr.strip():
        head.append("stderr: " + got.stderr.strip()[-1500:])
    return "\n".join(head)


def compare(oracle: Oracle, engine: str, case: Case) -> str | None:
    """Run both sides; None where they agree, else the report."""
    want = oracle.run_oracle(case)
    if want.status != 0 and case.program != "probe":
        raise OracleError(f"{case}: the oracle itself ended with {want.status}: {want.stderr}")
    return difference(case, engine, want, oracle.run_under(engine, case))
