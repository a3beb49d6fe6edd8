# SPDX-License-Identifier: GPL-2.0-or-later
"""What is known of System V IPC objects."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from remainroot import ipc
from remainroot.credentials import user
from tests.launching import environment, until

if TYPE_CHECKING:
    import pytest


def test_what_is_gone_is_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipc, "_MOST", 3)
    objects = ipc.Objects()
    number = ipc.look_up(ipc.SEM, ipc.IPC_PRIVATE, 1, ipc.OWNERS)
    try:
        here = ipc.namespace(os.getpid())
        objects.put(here, ipc.SEM, number, ipc.Permissions(1, 2, 3, 4, 0o600))
        for other in range(1 << 30, (1 << 30) + 20):
            objects.put(here, ipc.MSG, other, ipc.Permissions(1, 2, 3, 4, 0o600))
        assert len(objects._known) <= 3
        found = objects.get(here, ipc.SEM, number)
        assert found is not None
        assert (found.uid, found.gid, found.cuid, found.cgid) == (1, 2, 3, 4)
    finally:
        ipc.control(ipc.SEM, number, ipc.IPC_RMID, None)


def test_who_may_do_what() -> None:
    """ipcperms() in the kernel: owner and creator by the first three bits, members of either group by the next."""
    permissions = ipc.Permissions(33, 34, 43, 44, 0o640)
    granted = {(33, 9): 6, (43, 9): 6, (9, 34): 4, (9, 44): 4, (9, 9): 0}
    for (uid, gid), bits in granted.items():
        creds = user(uid, gid)
        for wanted in range(8):
            for shift in (0, 3, 6):
                assert permissions.allows(creds, wanted << shift) == (not wanted & ~bits), (uid, gid, wanted, shift)
    assert permissions.allows(user(9, 9, (44,)), 0o400)


def test_a_namespace_that_cannot_be_entered() -> None:
    with subprocess.Popen(["unshare", "--ipc", "sleep", "60"]) as other:
        try:
            until(lambda: ipc.namespace(other.pid) != ipc.namespace(os.getpid()))
            assert ipc.inside(other.pid, lambda: ipc.namespace(threading.get_native_id())) == ipc.namespace(other.pid)
            refused = subprocess.run(
                ["setpriv", "--bounding-set=-sys_admin", sys.executable, "-c",
                 f"from remainroot import ipc; ipc.inside({other.pid}, lambda: 0)"],
                capture_output=True, text=True, check=False, env=environment(),
            )  # fmt: skip
            assert refused.stderr.rstrip().splitlines()[-1] == "remainroot.elsewhere.Elsewhere"
        finally:
            other.kill()
