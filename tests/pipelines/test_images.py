# SPDX-License-Identifier: GPL-2.0-or-later
"""The owners on files are those that umoci reads and writes."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from tests.pipelines.test_packages import home, run
from tests.pipelines.test_tools import CONTAINER, PLAIN

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["home"]  # a fixture
pytestmark = pytest.mark.oracle

FILL = """
cd bundle/rootfs; mkdir d; echo x > d/f; echo y > d/g; echo z > d/h
chown 33:44 d d/f; chmod 2755 d/f; chown 0:50 d/g; chown 70000:0 d/h
"""
SHOW = "cd NAME/rootfs; stat -c '%n %u:%g %a' d d/f d/g d/h"
WANT = "d 33:44 755\nd/f 33:44 2755\nd/g 0:50 644\nd/h 70000:0 644\n"


@pytest.mark.parametrize("place", [PLAIN, CONTAINER], ids=["plain-host", "container"])
def test_umoci_packs_our_owners_and_we_see_those_that_it_unpacks(home: Path, place: tuple[str, ...]) -> None:
    store = "remainroot --store=xattr -- sh -ec"
    script = f"""
    umoci init --layout img; umoci new --image img:a; umoci unpack --rootless --image img:a bundle > /dev/null 2>&1
    {store} {shlex.quote(FILL)}; {store} {shlex.quote(SHOW.replace("NAME", "bundle"))}
    umoci repack --image img:b bundle > /dev/null 2>&1
    for blob in img/blobs/sha256/*; do
      gzip -t $blob 2> /dev/null && tar --numeric-owner -tzvf $blob | awk '{{print $1, $2, $NF}}'
    done
    umoci unpack --rootless --image img:b again > /dev/null 2>&1
    {store} {shlex.quote(SHOW.replace("NAME", "again"))}
    """
    lines = run(home, place, script)
    assert lines.startswith(WANT)
    assert lines.endswith(WANT)
    for packed in ("drwxr-xr-x 33/44 d/", "-rwxr-sr-x 33/44 d/f", "-rw-r--r-- 0/50 d/g", "-rw-r--r-- 70000/0 d/h"):
        assert packed in lines
