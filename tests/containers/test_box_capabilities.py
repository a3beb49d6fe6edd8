# SPDX-License-Identifier: GPL-2.0-or-later
"""Capabilities that a box goes without: what CMD is told, what the kernel lets it do, and real root as the oracle."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from remainroot.containers import capabilities
from remainroot.credentials import ALL_CAPS, CAP_CHOWN, CAP_KILL, CAP_LAST, CAP_NET_RAW, CAP_SYS_ADMIN
from remainroot.errors import RemainrootError
from tests.containers.entering import command_of
from tests.containers.roots import box, failing, start_box
from tests.launching import children

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.containers.roots import Roots

FIELDS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def test_numbers_are_the_headers() -> None:
    header = Path("/usr/include/linux/capability.h").read_text("ascii")
    theirs = {name: int(number) for name, number in re.findall(r"#define CAP_(\w+)\s+(\d+)$", header, re.MULTILINE)}
    assert theirs.items() <= capabilities.NUMBERS.items()
    assert max(capabilities.NUMBERS.values()) == CAP_LAST


@pytest.mark.parametrize(
    ("dropped", "added", "left"),
    [
        ([], [], ALL_CAPS),
        ([], ["net_raw"], ALL_CAPS),
        ([], ["ALL"], ALL_CAPS),
        (["kill"], ["all"], ALL_CAPS & ~(1 << CAP_KILL)),
        (["CAP_KILL", "Cap_Chown"], [], ALL_CAPS & ~(1 << CAP_KILL | 1 << CAP_CHOWN)),
        (["all"], [], 0),
        (["all", "kill"], ["NET_RAW", "cap_chown"], 1 << CAP_NET_RAW | 1 << CAP_CHOWN),
        (["sys_admin", "sys_admin"], ["sys_chroot"], ALL_CAPS & ~(1 << CAP_SYS_ADMIN)),
    ],
)
def test_what_is_left(dropped: list[str], added: list[str], left: int) -> None:
    assert capabilities.kept(dropped, added) == left


@pytest.mark.parametrize(
    ("dropped", "added", "message"),
    [
        (["frob"], [], "option --cap-drop: there is no capability 'frob'"),
        ([], [""], "option --cap-add: there is no capability ''"),
        (["kill,chown"], [], "there is no capability 'kill,chown'"),
        (["kill"], ["CAP_KILL"], "CAP_KILL cannot be both dropped and added"),
        (["all"], ["ALL"], "all capabilities cannot be both dropped and added"),
    ],
)
def test_mistakes(dropped: list[str], added: list[str], message: str) -> None:
    with pytest.raises(RemainrootError, match=re.escape(message)):
        capabilities.kept(dropped, added)


def test_a_mistake_is_one_line(roots: Roots) -> None:
    assert failing("--cap-drop", "frob", roots.busybox, "true") == (
        "remainroot: option --cap-drop: there is no capability 'frob' (as CAP_CHOWN or chown, or ALL)\n"
    )


def _sets(text: str) -> list[int]:
    fields = dict(line.split(":") for line in text.splitlines() if ":" in line)
    return [int(fields[name], 16) for name in FIELDS]


@pytest.mark.parametrize("engine", ["notify", "trace", "ptrace"])
def test_root_has_what_is_left(roots: Roots, engine: str) -> None:
    options = ("--engine", engine, "--cap-drop", "ALL", "--cap-add", "chown", "--cap-add=CAP_KILL")
    left = 1 << CAP_CHOWN | 1 << CAP_KILL
    assert _sets(box(*options, roots.busybox, "grep", "^Cap", "/proc/self/status")) == [0, left, left, left, 0]


def test_another_user_has_it_in_its_bounding_set(roots: Roots) -> None:
    """As docker has it: a set-id program of root's may gain no more."""
    out = box("--cap-drop", "kill", "--user", "web", roots.busybox, "grep", "^Cap", "/proc/self/status")
    assert _sets(out) == [0, 0, 0, ALL_CAPS & ~(1 << CAP_KILL), 0]


@pytest.mark.parametrize("engine", ["notify", "trace", "ptrace"])
def test_the_real_sets_are_what_is_left(roots: Roots, engine: str) -> None:
    process = start_box(
        "--engine", engine, "--cap-drop=all", "--cap-add=net_raw", roots.busybox, "sh", "-c", "echo up; exec sleep 600"
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "up\n"
        [supervisor] = children(process.pid)
        left = 1 << CAP_NET_RAW
        assert _sets(Path(f"/proc/{command_of(process.pid)}/status").read_text("ascii")) == [0, left, left, left, 0]
        assert _sets(Path(f"/proc/{supervisor}/status").read_text("ascii"))[1] & ALL_CAPS == ALL_CAPS
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


# ---------------------------------------------------------------- real root without these capabilities

SCRIPT = r"""
cd /work
try() { "$@" >/dev/null 2>/tmp/errors && echo "$1: yes" || echo "$1: $(sed 's/.*: //' /tmp/errors)"; }
touch file; mkdir directory
try chown 33:44 file
try chgrp 0 file
stat -c %u:%g file
try mknod node c 1 3
try mknod fifo p
try chroot / true
try su web -s /bin/sh -c true
chmod 4755 file; stat -c %a file
chmod 000 file; try cat file
try mount -t tmpfs none directory
try hostname other
try nice -n -5 true
su web -s /bin/sh -c "echo >/tmp/up; exec sleep 60" & sleeper=$!
until test -e /tmp/up || ! kill -0 $sleeper; do sleep 0.02; done 2>/dev/null
try kill -0 $sleeper
try kill -9 $sleeper
chmod 644 file; try setfattr -n trusted.x -v 1 file
grep ^Cap /proc/self/status
"""

# chroot(1) is what starts the program in there, for real root.
LACKING = {
    "tasks": ("kill", "sys_nice", "setuid", "setgid"),
    "files": ("chown", "mknod", "dac_override", "dac_read_search", "fowner", "fsetid"),
    "system": ("sys_admin", "setpcap"),
    "all-but-chroot": tuple(name.lower() for name in capabilities.NUMBERS if name != "SYS_CHROOT"),
}


def _lacking_here() -> list[str]:
    """Those that this machine's own root has not."""
    have = _sets(Path("/proc/self/status").read_text("ascii"))[FIELDS.index("CapPrm")]
    return [name.lower() for name, number in capabilities.NUMBERS.items() if not have >> number & 1]


@pytest.fixture(scope="module")
def real(roots: Roots) -> Iterator[Path]:
    """The busybox root as real root would have it."""
    path = roots.top / "real"
    shutil.copytree(roots.busybox, path, symlinks=True)
    subprocess.run(["chown", "-hR", "0:0", str(path)], check=True)
    (path / "proc").mkdir(exist_ok=True)
    yield path
    shutil.rmtree(path)


MOUNTS = 'mkdir -p "$1/work"; mount -t proc proc "$1/proc"; mount -t tmpfs none "$1/tmp"; mount -t tmpfs none "$1/work"'


def _as_real_root(path: Path, lacking: set[str]) -> str:
    bounding = ",".join(f"-{name}" for name in lacking)
    command = ["setpriv", "--inh-caps=-all", f"--bounding-set={bounding}", "--", "chroot", str(path)]
    places = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--"]
    result: subprocess.CompletedProcess[str] = subprocess.run(
        [*places, "sh", "-ec", MOUNTS + '; shift; exec "$@"', "real", str(path), *command, "sh", "-c", SCRIPT],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    return result.stdout


@pytest.mark.parametrize("name", LACKING)
def test_answers_are_those_of_real_root_without_them(roots: Roots, real: Path, name: str) -> None:
    lacking = {*LACKING[name], *_lacking_here()}
    options = [f"--cap-drop={capability}" for capability in lacking]
    ours = box("--overlay", "--tmpfs=/work", "--tmpfs=/tmp", *options, roots.busybox, "sh", "-c", SCRIPT)
    assert ours.splitlines() == _as_real_root(real, lacking).splitlines()
