# SPDX-License-Identifier: GPL-2.0-or-later
"""An unmodified Debian root in a box: dynamic programs, and an installation; and roots that a plain user has made."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.containers.roots import UID, as_user, box
from tests.e2e.containers import MIRROR, SUITE, TIMEOUT, root_tar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.containers.roots import Roots

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("roots")]


SCRIPT = """
    stat -c '%n %u:%g %a' /etc/shadow /usr/bin/chage
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends hello cron >/dev/null
    hello
    stat -c '%n %U:%G %a' /usr/bin/crontab /var/spool/cron/crontabs
    su nobody -s /bin/sh -c 'id -un'
"""
SHOWN = [
    "/etc/shadow 0:42 640", "/usr/bin/chage 0:42 2755", "Hello, world!", "/usr/bin/crontab root:crontab 2755",
    "/var/spool/cron/crontabs root:crontab 1730", "nobody",
]  # fmt: skip
OPTIONS = ("--env", "DEBIAN_FRONTEND=noninteractive", "--tmpfs", "/tmp", "--tmpfs", "/run")


def test_install_in_a_debian_box() -> None:
    assert box(*OPTIONS, root_tar("minimal"), "sh", "-ec", SCRIPT).splitlines() == SHOWN


# ---------------------------------------------------------------- roots of a plain user's own making


@pytest.fixture
def home(roots: Roots) -> Iterator[Path]:
    path = roots.top / "home"
    path.mkdir()
    os.chown(path, UID, UID)
    yield path
    shutil.rmtree(path)


def _make(home: Path, *command: str) -> Path:
    """Run what makes a root in `home`/root, with the owners kept on the files."""
    words = [*as_user(), "--store=xattr", "--", "unshare", "--mount", *command, SUITE, "root", *filter(None, [MIRROR])]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(home), "TMPDIR": str(home)}
    result = subprocess.run(
        words, cwd=home, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT,
        check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert (home / "root").stat().st_uid == UID
    return home / "root"


MMDEBSTRAP = ("mmdebstrap", "--quiet", "--mode=root", "--skip=chroot/mount", "--format=directory")


def test_a_root_that_mmdebstrap_unpacks(home: Path) -> None:
    packages = "--include=base-files,login,busybox-static"
    root = _make(home, *MMDEBSTRAP, "--variant=extract", packages, '--aptopt=Acquire::Languages "none"')
    assert box(root, "busybox", "stat", "-c", "%n %u:%g %a", "/var/local", "/usr/bin/newgrp").splitlines() == [
        "/var/local 0:50 2775", "/usr/bin/newgrp 0:0 4755",
    ]  # fmt: skip
    # A dynamic program; nothing was set up, so there are no users.
    assert box(root, "newgrp", status=1, errors=True) == "newgrp: Cannot determine your user name.\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        (*MMDEBSTRAP, "--variant=minbase"),
        ("sh", "-ec", 'debootstrap --variant=minbase "$@"; umount -R "$2/proc" "$2/sys" 2>/dev/null || :', "sh"),
    ],
    ids=["mmdebstrap", "debootstrap"],
)
def test_a_root_that_is_made_whole(home: Path, command: tuple[str, ...]) -> None:
    root = _make(home, *command)
    assert box(*OPTIONS, root, "sh", "-ec", SCRIPT).splitlines() == SHOWN
    # The owners last.
    assert box(root, "stat", "-c", "%U:%G %a", "/var/spool/cron/crontabs", "/var/mail").splitlines() == [
        "root:crontab 1730", "root:mail 2775",
    ]  # fmt: skip
