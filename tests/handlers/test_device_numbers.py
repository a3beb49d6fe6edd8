# SPDX-License-Identifier: GPL-2.0-or-later
"""A file system that is mounted when another has gone may have its device number: nothing known of that counts."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.launching import ENGINES, PLACE, REMAINROOT, TIMEOUT, environment

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
look() { find . -printf '%p %U:%G %m\n' | sort; }
mkdir m
for kind in tmpfs ramfs tmpfs proc tmpfs ramfs ramfs tmpfs; do
    mount -t $kind none m; cd m
    if [ $kind = proc ]; then
        setpriv --reuid 33 --clear-groups cat self/status | grep Uid
    else
        look; touch a b; mkdir c; look; chown 5:6 a c; chown 7 .; look
        setpriv --reuid 7 --clear-groups sh -c 'echo x >new'; look
    fi
    cd ..; stat -c %d m >>numbers; umount m
done
"""


def told(prefix: list[str], place: Path, script: str = SCRIPT) -> list[str]:
    done = subprocess.run(
        [*prefix, "sh", "-ec", script], cwd=place, capture_output=True, text=True, check=False, timeout=TIMEOUT,
        env=environment(),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


AS_USER = """
for kind in tmpfs ramfs tmpfs ramfs; do
    unshare -Urm sh -c "mount -t $kind none /mnt; touch /mnt/a && stat -c %u:%g:%a /mnt /mnt/a"
    unshare -Urm sh -c "mount -t ramfs none /mnt; echo x >/mnt/a; stat -c %u:%g:%a /mnt /mnt/a"
done"""


@pytest.mark.oracle
@pytest.mark.parametrize("option", ["", "--strict"])
@pytest.mark.parametrize("engine", ENGINES)
def test_in_namespaces_of_a_user(place: Path, engine: str, option: str) -> None:
    """The kernel's mount/nosymfollow-test, after others that mount."""
    command = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"]
    options = [f"--store=durable:{place}/owners.db", *([option] if option else [])]
    fake = [*PLACE, *REMAINROOT[:-1], engine, *options, "--", *command]
    assert told(fake, place / "fake", AS_USER) == told(command, place / "real", AS_USER)


@pytest.mark.oracle
@pytest.mark.parametrize("store", ["memory", "durable", "sqlite"])
@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_is_left_of_the_former_file_system(place: Path, engine: str, store: str) -> None:
    apart = ["--mount", "--pid", "--fork", "--mount-proc"]
    kept = store if store == "memory" else f"{store}:{place}/owners.db"
    fake = told([*PLACE, *apart, *REMAINROOT[:-1], engine, f"--store={kept}", "--"], place / "fake")
    assert fake == told(["unshare", *apart], place / "real")
    numbers = (place / "fake" / "numbers").read_text().split()
    assert len(set(numbers)) < len(numbers)
