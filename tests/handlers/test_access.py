# SPDX-License-Identifier: GPL-2.0-or-later
"""access(2) and its kin tell fake users what they tell real ones."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.launching import ENGINES, environment, remainroot

OPS = Path(__file__).with_name("strict_ops.py")
PYTHON = "/usr/bin/python3"


def compare(place: Path, seed: int, *options: str) -> None:
    arguments = [PYTHON, str(OPS), str(seed), "60"]
    real = subprocess.run(
        [*arguments, str(place / "real"), "access"], capture_output=True, text=True, check=False, env=environment()
    )
    assert (real.returncode, real.stderr) == (0, "")
    fake = remainroot(*options, "--", *arguments, str(place / "fake"), "access")
    assert (fake.returncode, fake.stderr) == (0, "")
    assert fake.stdout.splitlines() == real.stdout.splitlines()
    assert real.stdout.count(" EACCES") > 50
    assert real.stdout.count(" ok ") > 50


@pytest.mark.oracle
@pytest.mark.parametrize("engine", ENGINES)
def test_as_real_root(place: Path, engine: str) -> None:
    compare(place, ENGINES.index(engine), f"--engine={engine}", "--store=memory")


@pytest.mark.oracle
@pytest.mark.parametrize("store", ["durable", "sqlite"])
def test_with_owners_that_last(place: Path, store: str) -> None:
    compare(place, 10, f"--store={store}:{place}/owners.db")


@pytest.mark.oracle
def test_with_strict(place: Path) -> None:
    compare(place, 20, "--strict")


def test_a_placeholder_and_an_owner_of_no_account(place: Path) -> None:
    script = """
    mknod n c 1 3; chmod 640 n; chown 0:50 n
    ask="test -r n && echo read; test -w n && echo write"
    for group in 50 51; do setpriv --reuid=1000 --regid=$group --clear-groups sh -c "$ask"; done
    test -w n && echo root
    """
    done = remainroot("--", "sh", "-c", script, cwd=place / "fake")
    assert done.stdout.splitlines() == ["read", "root"]
