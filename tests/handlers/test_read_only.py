# SPDX-License-Identifier: GPL-2.0-or-later
"""Device nodes on a file system that is mounted read-only after they were made."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.launching import ENGINES, PLACE, REMAINROOT, TIMEOUT, environment

if TYPE_CHECKING:
    from pathlib import Path

MAKE = """
mknod m/null c 1 3; mknod m/mine c 1 3; mknod m/zero c 1 5; mknod m/disk b 8 99
chown 99:99 m/mine; touch m/file; chmod 644 m/*"""
ASK = """
import errno, os
def ask(what, *arguments):
    try: print(what.__name__, *arguments, what(*arguments))
    except OSError as error: print(what.__name__, *arguments, errno.errorcode[error.errno])
os.mknod("node", 0o20600, os.makedev(1, 5)); os.unlink("node")  # there are nodes in this run, too
def write(path): os.close(os.open(path, os.O_WRONLY))
for uid in map(int, os.environ["IDS"].split()):
    if uid: os.setgroups([]); os.setgid(uid); os.setuid(uid)
    for path in ("m/null", "m/mine", "m/file", "m/zero", "m/disk"):
        print(path, [os.access(path, want) for want in range(8)], os.access(path, os.W_OK, effective_ids=True))
        if "disk" not in path: ask(write, path)  # there may be a driver
        ask(os.chmod, path, 0o600); ask(os.chown, path, 9, 9); ask(os.utime, path, (1, 1)); ask(os.unlink, path)
        ask(os.link, path, "m/new"); ask(os.rename, path, "m/new")
        print(oct(os.lstat(path).st_mode), os.lstat(path).st_uid, os.lstat(path).st_rdev)
    ask(os.mknod, "m/new", 0o20600, 259); ask(os.mknod, "m/null", 0o20600, 259)
"""


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("options", [(), ("--strict",)])
def test_as_real_root(tmp_path: Path, engine: str, options: tuple[str, ...]) -> None:
    (tmp_path / "m").mkdir()
    store = f"--store=durable:{tmp_path}/owners.db"

    def printed(*prefix: str) -> list[str]:
        script = f'mount -t tmpfs none m; "$@" sh -ec "{MAKE}"; mount -o remount,ro m; exec "$@" python3 -c "$ASK"'
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-ec", script, "sh", *prefix], cwd=tmp_path,
            env=environment() | {"ASK": ASK, "IDS": ids}, capture_output=True, text=True, check=False, timeout=TIMEOUT,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    ids = "0 99" if options else "0"  # without the option a user may open what we may
    tmp_path.chmod(0o755)
    real = printed("env")
    assert "write m/null None" in real
    assert printed(*PLACE, *REMAINROOT[:-1], engine, store, *options, "--") == real
