# SPDX-License-Identifier: GPL-2.0-or-later
"""Device nodes on a file system that is mounted read-only after they were made."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.launching import PLACE, REMAINROOT, TIMEOUT, environment

if TYPE_CHECKING:
    from pathlib import Path

MAKE = "mknod m/null c 1 3; mknod m/mine c 1 3; chown 99:99 m/mine; touch m/file; chmod 644 m/*"
ASK = """
import errno, os
def ask(what, *arguments):
    try: print(what.__name__, *arguments, what(*arguments))
    except OSError as error: print(what.__name__, *arguments, errno.errorcode[error.errno])
for uid in (0, 99):
    if uid: os.setgroups([]); os.setgid(uid); os.setuid(uid)
    for path in ("m/null", "m/mine", "m/file"):
        ask(os.chmod, path, 0o600); ask(os.chown, path, 9, 9); ask(os.utime, path, (1, 1)); ask(os.unlink, path)
        ask(os.link, path, "m/new"); ask(os.rename, path, "m/new")
        print(oct(os.lstat(path).st_mode), os.lstat(path).st_uid, os.lstat(path).st_rdev)
    ask(os.mknod, "m/new", 0o20600, 259); ask(os.mknod, "m/null", 0o20600, 259)
ask(os.open, "m/null", os.O_WRONLY); ask(os.open, "m/file", os.O_WRONLY)
"""


@pytest.mark.oracle
def test_as_real_root(tmp_path: Path) -> None:
    """All but writes that real ones would carry out (root's, the owner's): the placeholder is read-only itself."""
    (tmp_path / "m").mkdir()
    store = f"--store=durable:{tmp_path}/owners.db"

    def printed(*prefix: str) -> list[str]:
        script = f'mount -t tmpfs none m; "$@" sh -ec "{MAKE}"; mount -o remount,ro m; exec "$@" python3 -c "$ASK"'
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-ec", script, "sh", *prefix], cwd=tmp_path, env=environment() | {"ASK": ASK},
            capture_output=True, text=True, check=False, timeout=TIMEOUT,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    tmp_path.chmod(0o755)
    real = printed("env")
    assert "open m/null 1 EACCES" in real
    assert printed(*PLACE, *REMAINROOT, store, "--strict", "--") == real
