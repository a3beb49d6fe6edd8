# SPDX-License-Identifier: GPL-2.0-or-later
"""apt-get install in a Debian root in memory, from packages that are there already.

Real root installs in a chroot. The others do where one user and one group are mapped: remainroot stands outside the
root, fakeroot, a preloaded library, inside. Only apt-get itself is timed.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rows import Row
from ways import BUILD, MAPPED, Way, say

if TYPE_CHECKING:
    from rows import Place

SETS = {
    "hello": ["hello"],
    "openssh-server": ["openssh-server"],
    "postgresql": ["postgresql"],
    "16 packages": [
        "tree", "rsync", "sudo", "libcap2-bin", "iputils-ping", "man-db", "cron", "openssh-server", "postgresql",
        "postfix", "nginx-light", "redis-server", "dbus", "chrony", "at", "hello",
    ],
}  # fmt: skip
_WAYS = ("bare", "remainroot", "remainroot durable", "fakeroot")
_KEYS = (
    'set -e; mkdir -p "$1/etc/ssh" "$1/etc/ssl/certs"; mkdir -p -m 710 "$1/etc/ssl/private"; '
    """for type in rsa ecdsa ed25519; do ssh-keygen -q -t $type -N '' -f "$1/etc/ssh/ssh_host_${type}_key"; done; """
    "openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=bench 2>/dev/null "
    '-out "$1/etc/ssl/certs/ssl-cert-snakeoil.pem" -keyout "$1/etc/ssl/private/ssl-cert-snakeoil.key"'
)
"""What the packages would make while they are installed: how long it takes to find a prime is a matter of luck."""
_ALONE = ["--mount", "--pid", "--fork", "--kill-child", "--"]
_MOUNTS = """
set -e; root=$1; shift
mkdir -p $root/proc $root/sys $root/dev $root/run
mount -t proc proc /proc; mount -t proc proc $root/proc
mount --rbind /sys $root/sys; mount --rbind /dev $root/dev; mount -t tmpfs -o mode=755 tmpfs $root/run
exec "$@"
"""
_ENV = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
}


def root_tar() -> Path:
    """A Debian minbase root with fakeroot and the downloaded packages in it; made once for a clone."""
    tar = BUILD / "debian-with-keys.tar"
    if not tar.exists():
        say("building a Debian root and downloading packages")
        suite = os.environ.get("REMAINROOT_SUITE", "bookworm")
        part = tar.with_suffix(".part")
        names = sorted({name for names in SETS.values() for name in names})
        download = f'chroot "$1" apt-get -qq -y --no-install-recommends --download-only install {" ".join(names)}'
        quiet = r"""printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d"; chmod 755 "$1/usr/sbin/policy-rc.d" """
        mirror = os.environ.get("REMAINROOT_MIRROR")
        subprocess.run(
            [
                "mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", "--format=tar", "--include=fakeroot",
                "--skip=output/dev,cleanup/apt", '--aptopt=Acquire::Languages "none"', "--dpkgopt=force-unsafe-io",
                *(f"--customize-hook={hook}" for hook in (download, quiet, _KEYS)), suite, str(part),
                *([mirror] if mirror else []),
            ],
            check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        part.rename(tar)
    return tar


class Install(Row):
    """The installation of one set of packages."""

    def __init__(self, name: str) -> None:
        super().__init__(f"apt-get install {name}", "", long=True)
        self.packages = SETS[name]

    def serves(self, way: Way) -> bool:
        return way.name in _WAYS

    def measure(self, way: Way, place: Place) -> float:
        del place
        memory = tempfile.mkdtemp(prefix="bench-", dir="/dev/shm")  # the results say: in memory
        try:
            return self._measure(way, Path(memory))
        finally:
            shutil.rmtree(memory)

    def _measure(self, way: Way, memory: Path) -> float:
        root = memory / "root"
        root.mkdir()
        words: list[str] = []
        outer = way
        if way.name == "fakeroot":  # a preloaded library is looked for in the root
            words = ["env", *(f"{name}={value}" for name, value in way.env.items()), *way.words]
            outer = Way(way.name, [])
        owners = "--no-same-owner" if words else ""
        excluded = " ".join(f"--exclude=./{name}" for name in ("dev", "proc", "sys", "run"))
        apt = f"apt-get -qq -y --no-download --no-install-recommends install {' '.join(self.packages)}"
        script = (
            f"start=$(date +%s%N); {apt} >/dev/null 2>/tmp/log || {{ tail -n 1 /tmp/log >&2; exit 1; }}; "
            "date +%s%N; echo $start"
        )
        inside = shlex.join([*words, "sh", "-c", script])
        unpack = f"set -e; tar {owners} {excluded} -xpf {root_tar()} -C {root}; exec chroot {root} {inside}"
        user = MAPPED if way.mapped else MAPPED[:1]
        outside = [*user, *_ALONE, "sh", "-c", _MOUNTS, "enter", str(root)]
        end, start = outer.run(["sh", "-c", unpack], memory, _ENV, outside)[1].split()
        return (int(end) - int(start)) / 1e9


ROWS = [Install(name) for name in SETS]
