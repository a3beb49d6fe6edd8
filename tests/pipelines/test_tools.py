# SPDX-License-Identifier: GPL-2.0-or-later
"""Archivers and copiers give the same under the shim as by real root, and where fakeroot can, as under fakeroot.

A plain user without subordinate ids runs them on the plain host, and as root of a container with a single mapping.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.launching import environment, for_everybody

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.oracle


SHIM = (for_everybody(), "--engine", "auto")
USER = 12345
PLAIN = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups")
UNSHARE = ("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
CONTAINER = (*PLAIN, *UNSHARE)
RUNNERS = {
    "real-root": (),
    "fakeroot": (*PLAIN, "fakeroot"),
    "plain-host": (*PLAIN, *SHIM),
    "container": (*CONTAINER, *SHIM),
    "container-sqlite": (*CONTAINER, *SHIM, "--store=sqlite:state/owners.db"),
}

TREE = """
umask 022; mkdir -p t/bin t/etc t/dev; cp /bin/true t/bin/su; echo x > t/etc/shadow; echo y > t/etc/plain
ln -s plain t/etc/link; ln t/etc/plain t/etc/hard; mknod t/dev/null c 1 3; mknod t/dev/sda b 8 0; mkfifo t/dev/fifo
chown 0:42 t/etc/shadow; chmod 640 t/etc/shadow; chmod 4755 t/bin/su; chown 33:33 t/etc; chmod 2775 t/etc
chown -h 1000:1001 t/etc/link; chown 7:8 t/dev/sda; chmod 660 t/dev/sda; find t -exec touch -hd @1700000000 {} +
"""
LIST = "find {} -printf '%P %m %y %U:%G %n %l\\n' | LC_ALL=C sort; ( cd {}/dev; stat -c '%n %t,%T' null sda )"
LIST_T = LIST.replace("{}", "t")
LIST_U = LIST.replace("{}", "u")

SCRIPTS = {
    "the tree": LIST_T,
    "tar": "tar -cf a.tar t; tar --numeric-owner -tvf a.tar | LC_ALL=C sort",
    "tar round trip": f"tar -cf a.tar -C t .; mkdir u; tar -xpf a.tar -C u; {LIST_U}",
    "bsdtar": f"bsdtar -cf a.tar -C t .; bsdtar --numeric-owner -tvf a.tar | LC_ALL=C sort; mkdir u;"
    f" bsdtar -xpf a.tar -C u; {LIST_U}",
    "cpio": f"( cd t; find . | cpio --quiet -oH newc ) > a; cpio --quiet -itvn < a | LC_ALL=C sort; mkdir u; cd u;"
    f" cpio --quiet -idm < ../a; cd ..; {LIST_U}",
    "cp": f"cp -a t u; {LIST_U}",
    "mv": f"rm -rf /dev/shm/mv.$$; mv t /dev/shm/mv.$$; mv /dev/shm/mv.$$ u; {LIST_U}",
    "rsync": f"rsync -aHD --chown=5:6 t/ u/; {LIST_U}; rsync -aHD t/ u/; {LIST_U}",
    "install": "install -d -o 1 -g 2 -m 2750 u; install -o 3 -g 4 -m 6755 /bin/true u/x; stat -c %n:%u:%g:%a u u/x",
    "mksquashfs": "mksquashfs t a.sq -noappend -quiet -no-progress -no-xattrs -processors 1 > /dev/null;"
    " unsquashfs -lln a.sq | grep squashfs | LC_ALL=C sort",
    "unsquashfs": "mksquashfs t a.sq -noappend -quiet -no-progress -processors 1 > /dev/null;"
    f" unsquashfs -q -n -d u -p 1 a.sq > /dev/null; {LIST_U}",
    "mkfs.ext4": "truncate -s 8M a.img; /sbin/mke2fs -q -t ext4 -d t a.img; for f in bin/su etc etc/shadow etc/link"
    " dev/sda dev/null; do /sbin/debugfs -R \"stat /$f\" a.img 2> /dev/null | grep -E 'Type:|User:|Device'; done",
    "unzip": "cd t; zip -qyX ../a.zip etc/plain etc/shadow bin/su; cd ..; mkdir u; unzip -qX a.zip -d u;"
    " find u -printf '%P %m %U:%G\\n' | LC_ALL=C sort",
    "git": "git init -q g; cd g; cp -a ../t/etc .; git -c user.name=a -c user.email=b add -A; git -c user.name=a"
    " -c user.email=b commit -qm m; cd ..; git clone -q g u; stat -c %u:%g:%a:%n u/etc/*",
    "static busybox": "busybox tar -cf a.tar t; tar --numeric-owner -tvf a.tar | LC_ALL=C sort; busybox cp -a t u;"
    f" {LIST_U}; busybox stat -c %u:%g:%a t/etc/shadow t/bin/su; busybox chown -R 9:9 u; busybox chmod 755 u/etc;"
    " stat -c %u:%g u/etc/plain u/dev/sda; busybox mknod c c 5 1; stat -c %t:%T c; busybox stat -c %u:%g /bin/true",
    "attributes": "setcap cap_net_raw+ep t/bin/su; setfacl -m u:42:rw,g:7:r t/etc/shadow; setfacl -dm u:42:rx t/etc;"
    " setfattr -n trusted.x -v 1 t/etc; setfattr -n user.y -v 2 t/etc/plain; show() { getcap -r u; getfacl -Rcnp u;"
    " getfattr -Rhdm - u | LC_ALL=C sort; rm -r u; mkdir u; }; mkdir u;"
    " tar --xattrs --xattrs-include='*' --acls -cf a.tar -C t .; tar --xattrs --xattrs-include='*' --acls -xpf a.tar"
    " -C u; show; bsdtar --xattrs --acls -cf a.tar -C t .; bsdtar --xattrs --acls -xpf a.tar -C u; show;"
    " rsync -aHDXA t/ u/; show; cp -a t/. u; show; mksquashfs t a.sq -noappend -quiet -no-progress -processors 1"
    f" > /dev/null 2>&1; rm -r u; unsquashfs -q -n -d u -p 1 a.sq > /dev/null; show; {LIST_T}",
    # It makes no devices where it finds a user namespace.
    "umoci, written in Go": "rm -r t/dev; umoci init --layout i; umoci new --image i:a;"
    " umoci unpack --image i:a b > /dev/null 2>&1;"
    " cp -a t b/rootfs; umoci repack --image i:a b > /dev/null 2>&1; umoci unpack --image i:a c > /dev/null 2>&1;"
    f" mv c/rootfs/t u; {LIST_U.partition(';')[0]}",
    "gosu, written in Go": "chmod 777 .; gosu 33:44 id; gosu 33:44 touch f; gosu 1000 mkdir d; stat -c %n:%u:%g f d;"
    " gosu 33:44 gosu 0 id 2>&1 || echo $?",
}
FAKEROOT_FAILS = {
    # It is a library, which static programs and those that make system calls themselves do not ask.
    "static busybox", "umoci, written in Go", "gosu, written in Go",
    "attributes",  # it knows no access lists
}  # fmt: skip


@pytest.fixture
def home() -> Iterator[Path]:
    base = Path(f"/var/tmp/remainroot-pipeline-{os.getpid()}")
    base.mkdir()
    os.chown(base, USER, USER)
    yield base
    shutil.rmtree(base)


def run(home: Path, runner: str, script: str) -> str:
    """What `script` prints, run on a fresh tree; it must say nothing on standard error."""
    work = home / runner
    work.mkdir()
    if RUNNERS[runner]:
        os.chown(work, USER, USER)
    done = subprocess.run(
        [*RUNNERS[runner], "sh", "-ec", TREE + script],
        cwd=work, env=environment() | {"HOME": str(work)}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), runner
    return done.stdout


@pytest.mark.parametrize("name", SCRIPTS)
def test_as_real_root(home: Path, name: str) -> None:
    want = run(home, "real-root", SCRIPTS[name])
    assert want.strip()
    got = {runner: run(home, runner, SCRIPTS[name]) for runner in ("plain-host", "container", "container-sqlite")}
    for runner, text in got.items():
        assert text == want, runner


@pytest.mark.parametrize("name", sorted(SCRIPTS.keys() - FAKEROOT_FAILS))
def test_as_fakeroot(home: Path, name: str) -> None:
    assert run(home, "plain-host", SCRIPTS[name]) == run(home, "fakeroot", SCRIPTS[name])


C = r"""
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
int main(int n, char **v)
{
    struct stat st;
    for (int i = 1; i < n; i++) {
        if (lstat(v[i], &st)) return 1;
        printf("%s %u:%u %o %u,%u\n", v[i], st.st_uid, st.st_gid, st.st_mode, major(st.st_rdev), minor(st.st_rdev));
    }
    if (chown("mine", 70000, 42) || chmod("mine", 02755) || mknod("node", S_IFCHR | 0600, makedev(5, 1))) return 2;
    return 0;
}
"""


@pytest.mark.parametrize("flags", ["-m32", "-m32 -static", "-static", ""])
def test_programs_of_any_kind_see_and_set_the_same(home: Path, flags: str) -> None:
    (home / "p.c").write_text(C)
    subprocess.run(["gcc", *flags.split(), "-D_FILE_OFFSET_BITS=64", "-o", home / "p", home / "p.c"], check=True)
    script = "touch mine; ../p t t/* t/*/*; stat -c %u:%g:%a:%t:%T mine node; ../p mine node || echo $?"
    want = run(home, "real-root", script)
    assert "70000:42:2755" in want
    for runner in ("plain-host", "container"):
        assert run(home, runner, script) == want
