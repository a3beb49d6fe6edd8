# SPDX-License-Identifier: GPL-2.0-or-later
"""The ways of being root that are compared, and the machine that they are compared on."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parent
RESULTS = HERE / "results"
BUILD = TOP / "build" / "bench"
PACKAGES = (
    "fakeroot", "proot", "pseudo", "strace", "gcc", "libc6-dev", "make", "git", "python3-venv", "python3-dev",
    "dpkg-dev", "mmdebstrap", "openssh-client", "openssl",
)  # fmt: skip
PROGRAMS = ("latency", "spawn", "crowd", "owners", "allow")
ALLOW_ALL = "filter alone"
"""Real root under a filter that allows everything: what no way with a filter can be below. Measured of calls only."""
STRICT_USER = "remainroot strict user"
"""A fake user who is asked about: does what one may do in root's files."""
MARKS = ("remainroot pure", "remainroot kernel", "remainroot strict", "strace")
"""What is shown for comparison, and no peer."""
MAPPED = ["unshare", "--user", "--map-root-user"]
TIMEOUT = 900


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Way:
    """One way to be root: the words before a command, and the environment it needs."""

    def __init__(self, name: str, words: list[str], env: dict[str, str] | None = None, *, mapped: bool = True) -> None:
        self.name = name
        self.words = words
        self.env = env or {}
        self.mapped = mapped
        """Whether it runs where one user and one group are mapped; else it is real root."""
        self.failed: dict[str, str] = {}

    def run(
        self, command: list[str], cwd: Path, env: dict[str, str] | None = None, outside: list[str] | None = None
    ) -> tuple[float, str]:
        """Seconds that the command took, and what it printed; `outside` stands before the way's own words."""
        words = [*(outside if outside is not None else MAPPED if self.mapped else []), *self.words, *command]
        start = time.perf_counter()
        done = subprocess.run(
            words, cwd=cwd, env=os.environ | {"LC_ALL": "C"} | self.env | (env or {}),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT, check=False,
        )  # fmt: skip
        took = time.perf_counter() - start
        if done.returncode:
            last = done.stderr.strip().splitlines() or [""]
            raise RuntimeError(f"status {done.returncode}: {last[-1][:200]}")
        return took, done.stdout


def ways(remainroot: str, scratch: Path) -> list[Way]:
    state = scratch / "pseudo"
    state.mkdir()
    return [
        Way("bare", [], mapped=False),
        Way(ALLOW_ALL, [str(BUILD / "allow")], mapped=False),
        Way("remainroot", [remainroot, "--store", "memory", "--"]),
        Way("remainroot durable", [remainroot, "--store", f"durable:{scratch}/owners.db", "--"]),
        Way("remainroot pure", [remainroot, "--store", "memory", "--"], {"REMAINROOT_PURE": "1"}),
        Way("remainroot strict", [remainroot, "--store", "memory", "--strict", "--"]),
        Way(STRICT_USER, [remainroot, "--store", "memory", "--strict", "--user", "1000:1000", "--"]),
        Way("remainroot kernel", [remainroot, "--engine", "kernel", "--"]),
        Way("fakeroot", ["fakeroot", "--"], {"FAKEROOTDONTTRYCHOWN": "1"}),
        Way("proot", ["proot", "-0"]),
        Way("pseudo", ["pseudo"], {"PSEUDO_PREFIX": "/usr", "PSEUDO_LOCALSTATEDIR": str(state)}),
        Way("strace", ["strace", "-f", "-o", "/dev/null"]),
    ]


def prepare() -> None:
    """Install what is missing from Debian, compile what makes the calls."""
    if os.geteuid():
        sys.exit("bench: root is what the others are compared with: run this as root")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and nothing is left in temporary directories
    ask = ["dpkg-query", "-W", "-f", "${db:Status-Status}"]
    status = {name: subprocess.run([*ask, name], capture_output=True, check=False).stdout for name in PACKAGES}
    missing = [name for name in PACKAGES if status[name] != b"installed"]
    if missing:
        say(f"installing {' '.join(missing)}")
        apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=600"]
        subprocess.run([*apt, "update"], check=True)
        subprocess.run(
            [*apt, "-y", "--no-install-recommends", "install", *missing], check=True, stdout=subprocess.DEVNULL
        )
    BUILD.mkdir(parents=True, exist_ok=True)
    for name in PROGRAMS:
        subprocess.run(["gcc", "-O2", "-pthread", "-o", BUILD / name, HERE / f"{name}.c"], check=True)


def installed(remainroot: str | None) -> str:
    """A remainroot installed as a user would have it, from this tree, unless one is named."""
    if remainroot:
        return remainroot
    venv = BUILD / "venv"
    shutil.rmtree(venv, ignore_errors=True)
    subprocess.run(["/usr/bin/python3", "-m", "venv", venv], check=True)
    with tempfile.TemporaryDirectory() as copy:
        tree = shutil.copytree(
            TOP, Path(copy) / "tree", ignore=shutil.ignore_patterns(".git", "build", ".venv", "*.so", "bench", "tests")
        )
        subprocess.run([venv / "bin/pip", "install", "-q", "--disable-pip-version-check", tree], check=True)
    return str(venv / "bin/remainroot")


def machine() -> dict[str, str]:
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    versions = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Version}, ", "fakeroot", "proot", "pseudo", "strace", "python3"],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    return {
        "cpu": f"{os.cpu_count()} x {cpu[1] if cpu else os.uname().machine}",
        "memory": f"{int(memory[1]) >> 20} GiB" if memory else "",
        "kernel": os.uname().release,
        "versions": versions.rstrip(", "),
        "date": time.strftime("%Y-%m-%d"),
        "load before": f"{os.getloadavg()[0]:.2f}",
    }
