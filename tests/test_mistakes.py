# SPDX-License-Identifier: GPL-2.0-or-later
"""What a plain user invokes wrongly is named in one line, with status 125; 126 or 127 where CMD is at fault."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.launching import TIMEOUT, for_everybody

if TYPE_CHECKING:
    from collections.abc import Iterator

UID = 12345


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory that the plain user can read, with what is of no use."""
    top = Path(tempfile.mkdtemp(prefix="remainroot-mistakes-", dir="/var/tmp"))
    top.chmod(0o755)
    (top / "text").write_text("no program\n")
    (top / "script").write_text("#!/no/such/interpreter\n")
    (top / "garbage").write_bytes(b"\0\1\2")
    for name in ("script", "garbage"):
        (top / name).chmod(0o755)
    (top / "loop").symlink_to("loop")
    (top / "empty").mkdir()
    os.mkfifo(top / "fifo")
    (top / "truncated.tar.gz").write_bytes(bytes.fromhex("1f8b0800000000000003"))
    (top / "layout").mkdir()
    (top / "layout/oci-layout").write_text("{}")
    (top / "layout/index.json").write_text("[")
    yield top
    shutil.rmtree(top)


MISTAKES: list[tuple[str, str] | tuple[str, str, int]] = [
    # remainroot itself
    ("", "no CMD given"),
    ("--", "no CMD given"),
    ("--bogus true", "unknown option --bogus"),
    ("--engine", "option --engine needs a value"),
    ("--engine fast true", "option --engine is one of auto, notify, trace, ptrace, kernel, not 'fast'"),
    ("--stats=1 true", "option --stats takes no value"),
    ("--user nonesuch true", "option --user: there is no user 'nonesuch'"),
    ("--user 1:nonesuch true", "option --user: there is no group 'nonesuch'"),
    ("--store bogus true", "option --store: 'bogus' names no store"),
    ("--store sqlite:PLACE/text true", "PLACE/text is not a database"),
    ("--store memory --save x true", "options --load and --save keep owners in memory: they exclude --store"),
    ("--load PLACE/text true", "PLACE/text, line 1: not as fakeroot saves it"),
    ("--load PLACE/empty true", "cannot read PLACE/empty: Is a directory"),
    ("--log loud true", "option --log is one of debug, info, warning, not 'loud'"),
    ("--log-file /no/such/file true", "cannot write the log /no/such/file: No such file or directory"),
    ("--engine kernel --user 5 true", "option --user needs a supervisor, and --engine kernel has none"),
    # CMD
    ("-- nonesuch", "nonesuch: command not found", 127),
    ("-- PLACE/nonesuch", "PLACE/nonesuch: command not found", 127),
    ("-- PLACE/script", "PLACE/script: ", 127),
    ("-- PLACE", "PLACE: Permission denied", 126),
    ("-- PLACE/text", "PLACE/text: Permission denied", 126),
    ("-- PLACE/garbage", "PLACE/garbage: Exec format error", 126),
    ("-- PLACE/loop", "PLACE/loop: Too many levels of symbolic links", 126),
    # box
    ("box", "no ROOTFS given"),
    ("box --user", "option --user needs a value: --user UID[:GID]"),
    ("box --workdir= / true", "option --workdir needs a value: --workdir DIR"),
    ("box PLACE/fifo true", "PLACE/fifo is neither a directory nor a tar file"),
    ("box /dev/zero true", "/dev/zero is neither a directory nor a tar file"),
    ("box PLACE/text true", "PLACE/text is neither a directory nor a tar file"),
    ("box PLACE/truncated.tar.gz true", "PLACE/truncated.tar.gz"),
    ("box PLACE/layout true", "PLACE/layout: not a usable image layout"),
    ("box PLACE/empty true", "cannot prepare PLACE/empty (proc): Permission denied"),
    ("box --bind /etc:/ / true", "option --bind is FROM:TO, with an absolute TO, not '/etc:/'"),
    ("box --tmpfs /./ / true", "option --tmpfs needs an absolute path, not '/./'"),
    ("box --memory lots / true", "option --memory is a number of bytes, or of K, M, G or T, as 512M, not 'lots'"),
    ("box --cpus 0 / true", "option --cpus is a number of processors from 0.01 on, as 0.5 or 2, not '0'"),
    ("box --pids -1 / true", "option --pids is a number of processes and threads, as 100, not '-1'"),
    ("box --name 12 / true", "option --name: letters, digits"),
    ("box --cap-drop fly / true", "option --cap-drop: there is no capability 'fly'"),
    ("box --cap-drop all --cap-add all / true", "all capabilities cannot be both dropped and added"),
    ("box --rlimit nofile=99999999999999999999 / true", "option --rlimit is NAME=SOFT[:HARD], as nofile=1024"),
    ("box --rlimit nofile=99999999 / true", "the limit nofile cannot be set: Operation not permitted"),
    # enter
    ("enter", "no TARGET given"),
    ("enter 0", "there is no process 0"),
    ("enter 99999999999999999999", "there is no process 99999999999999999999"),
    ("enter 1", "process 1 may not be entered"),
    ("enter nonesuch", "and no box is called 'nonesuch'"),
    ("enter lxc:web", "TARGET is a pid, podman:NAME, docker:NAME or the name of a box"),
    ("enter --engine fast 1", "option --engine is one of"),
    # agent
    ("agent", "option --socket is needed: XDG_RUNTIME_DIR is not set"),
    ("agent --socket", "option --socket needs a value"),
    ("agent --socket /no/such/socket", "cannot listen at /no/such/socket: No such file or directory"),
    ("agent web", "unexpected argument 'web'"),
    # doctor
    ("doctor --bogus", "unknown argument --bogus"),
    ("doctor web", "unknown argument web"),
    # owners
    ("owners", "no action given"),
    ("owners bogus", "no such action: 'bogus'"),
    ("owners list", "list needs a TREE"),
    ("owners list PLACE/nonesuch", "PLACE/nonesuch: No such file or directory"),
    ("owners import PLACE/text", "PLACE/text: Not a directory"),
    ("owners list --format bogus PLACE", "option --format is one of table, json, mtree, fakeroot, not 'bogus'"),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake[0] or "nothing")
def test_a_mistake_is_named(place: Path, mistake: tuple[str, str] | tuple[str, str, int]) -> None:
    words, message, *rest = mistake
    [status] = rest or [125]
    given = str(words).replace("PLACE", str(place)).split()
    user = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--"]
    result = subprocess.run(
        [*user, "/usr/bin/python3", for_everybody(), *given], cwd="/", capture_output=True, text=True, check=False,
        timeout=TIMEOUT, stdin=subprocess.DEVNULL, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )  # fmt: skip
    assert (result.returncode, result.stdout) == (status, ""), result.stderr
    [line] = result.stderr.splitlines()
    assert line.startswith("remainroot: ")
    assert str(message).replace("PLACE", str(place)) in line
