# SPDX-License-Identifier: GPL-2.0-or-later
"""A CMD that mounts something over what remainroot itself is made of."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e.containers import install_into
from tests.launching import ENGINES, ROOT, TIMEOUT, environment

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
    mount -t tmpfs none "$0"
    cd "$0"
    touch f
    chown 42:43 f
    stat -c %u:%g f
    mknod node c 1 5
    head -c 4 node | wc -c
    setfattr -n trusted.a -v b f
    getfattr --only-values -n trusted.a f; echo
    setpriv --reuid=33 --regid=33 --clear-groups python3 -c '
import os
if os.fork() == 0:
    os._exit(3)
print(os.waitid(os.P_ALL, 0, os.WEXITED).si_uid)'
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = tmp_path_factory.mktemp("site")
    install_into(site)
    return site


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The modules in files of their own."""
    tree = tmp_path_factory.mktemp("source")
    shutil.copytree(ROOT / "remainroot", tree / "remainroot", ignore=shutil.ignore_patterns("__pycache__"))
    return tree


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["installed", "source"])
def test_nothing_is_missed(request: pytest.FixtureRequest, kind: str, engine: str) -> None:
    place: Path = request.getfixturevalue(kind)
    words = [sys.executable, "-m", "remainroot"] if kind == "source" else [str(place / "bin/remainroot")]
    env = environment() | ({"PYTHONPATH": str(place)} if kind == "source" else {})
    command = ["unshare", "-rm", *words, "--engine", engine, "--store", "memory", "--", "sh", "-ec", SCRIPT, str(place)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False, env=env, cwd="/")
    assert (done.stdout.split(), done.stderr, done.returncode) == (["42:43", "4", "b", "33"], "", 0)
