# SPDX-License-Identifier: GPL-2.0-or-later
"""The owners on files are those that umoci, fuse-overlayfs and podman's storage read and write."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.pipelines.test_packages import home, run
from tests.pipelines.test_tools import CONTAINER, PLAIN, SHIM, USER

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


def as_root(home: Path, script: str, *arguments: str) -> str:
    """In a mount namespace of its own: what a FUSE server needs."""
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", script, "sh", *arguments],
        cwd=home, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_fuse_overlayfs_shows_our_owners(home: Path) -> None:
    """It goes by the attribute that the top of a layer has, and then wants it on every file and directory."""
    (home / "t").mkdir()
    os.chown(home / "t", USER, USER)
    fill = "cd t; echo a > a; mkdir d; echo f > d/f; echo p > plain; chown 33:44 a; chown 5:6 d; chmod 4755 a"
    store = "xattr+override_stat"
    run(home, CONTAINER, f"remainroot --store={store} -- sh -ec {shlex.quote(fill)}")
    mount = """
    mkdir -p m; fuse-overlayfs -o lowerdir=t m 2> log || { cat log; exit 1; }
    cd m; stat -c '%n %u:%g %a' . a d d/f plain; cd ..; umount m
    """
    assert "33:44" not in as_root(home, mount)
    run(home, CONTAINER, f"{SHIM[0]} owners convert --all --store={store} --to={store} t")
    assert as_root(home, mount) == ". 0:0 755\na 33:44 4755\nd 5:6 755\nd/f 0:0 644\nplain 0:0 644\n"


STORAGE = """[storage]
driver = "overlay"
runroot = "{home}/run"
graphroot = "{home}/graph"
[storage.options.overlay]
mount_program = "/usr/bin/fuse-overlayfs"
force_mask = "0755"
"""
PODMAN = """
cp /etc/passwd passwd; echo "remainroot-test:x:$1:$1::$PWD:/bin/sh" >> passwd; mount --bind passwd /etc/passwd
mknod fuse c 10 229; chmod 666 fuse; mount --bind fuse /dev/fuse
shift; exec "$@"
"""


def test_we_see_the_owners_that_podman_s_storage_writes(home: Path) -> None:
    """With force_mask, and no id but one, podman writes whose a file of an image is into the attribute."""
    for name in (".config/containers", "image/d"):
        (home / name).mkdir(parents=True)
    (home / ".config/containers/storage.conf").write_text(STORAGE.format(home=home))
    (home / ".config/containers/policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    (home / "image/a").write_text("a")
    for name, *ids in (("a", 33, 44), ("d", 5, 6), (".", 0, 0)):
        os.chown(home / "image" / name, *ids)
    as_root(home, "tar -C image --numeric-owner -cf image.tar .; rm -r image; chown -R $1:$1 .config", str(USER))
    script = f"HOME={home} XDG_RUNTIME_DIR={home} podman import image.tar > log 2>&1 || {{ cat log; exit 1; }}"
    as_root(home, PODMAN, str(USER), *PLAIN, "sh", "-ec", script)
    (layer,) = home.glob("graph/overlay/*/diff")
    assert os.getxattr(layer / "a", "user.containers.override_stat") == b"33:44:0644"
    show = f"cd {layer}; stat -c '%n %u:%g %a' a d"
    assert run(home, CONTAINER, f"remainroot --store=xattr -- sh -ec {shlex.quote(show)}") == "a 33:44 644\nd 5:6 755\n"
