# SPDX-License-Identifier: GPL-2.0-or-later
"""Packages built with remainroot in fakeroot's place, and images built in steps."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.launching import environment
from tests.pipelines.test_tools import CONTAINER, PLAIN, SHIM, USER

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.oracle


@pytest.fixture
def home() -> Iterator[Path]:
    base = Path(f"/var/tmp/remainroot-package-{os.getpid()}")
    base.mkdir()
    (base / "bin").mkdir()
    command = base / "bin/remainroot"
    command.write_text(f'#!/bin/sh\nexec {shlex.join(SHIM)} "$@"\n')
    command.chmod(0o755)
    os.chown(base, USER, USER)
    yield base
    shutil.rmtree(base)


def run(home: Path, place: tuple[str, ...], script: str, seconds: int = 300) -> str:
    env = environment() | {"HOME": str(home), "PATH": f"{home}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TZ": "UTC"}
    done = subprocess.run(
        [*place, "sh", "-ec", script], cwd=home, env=env, capture_output=True, text=True, check=False, timeout=seconds
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


CHANGELOG = """remaintest (1.0) unstable; urgency=low

  * Test.

 -- A <a@b.c>  Sat, 01 Jan 2022 00:00:00 +0000
"""
CONTROL = """Source: remaintest
Section: misc
Priority: optional
Maintainer: A <a@b.c>
Build-Depends: debhelper-compat (= 13)
Standards-Version: 4.6.0
Rules-Requires-Root: binary-targets

Package: remaintest
Architecture: all
Depends: ${misc:Depends}
Description: test
 Test.
"""
RULES = """#!/usr/bin/make -f
%:
\tdh $@
override_dh_auto_install:
\tinstall -d debian/remaintest/usr/bin debian/remaintest/var/lib/remaintest
\tinstall -m 755 /bin/true debian/remaintest/usr/bin/remaintest
\tln -s remaintest debian/remaintest/usr/bin/rt
override_dh_fixperms:
\tdh_fixperms
\tchown 0:8 debian/remaintest/usr/bin/remaintest
\tchmod 2755 debian/remaintest/usr/bin/remaintest
\tchown 33:33 debian/remaintest/var/lib/remaintest
\tchown -h 9:9 debian/remaintest/usr/bin/rt
"""


def make_source(work: Path) -> None:
    """A source package in `work`, the plain user's."""
    debian = work / "SRC/debian"
    (debian / "source").mkdir(parents=True)
    for name, text in (
        ("changelog", CHANGELOG), ("control", CONTROL), ("rules", RULES), ("source/format", "3.0 (native)\n"),
    ):  # fmt: skip
        (debian / name).write_text(text)
    (debian / "rules").chmod(0o755)
    for path in [work, *work.rglob("*")]:
        os.chown(path, USER, USER)


BUILD = (
    "cd SRC; DEB_BUILD_OPTIONS=nocheck {build} -us -uc -b -r{root} > ../log 2>&1 || { cat ../log; exit 1; };"
    " cd ..; dpkg-deb --fsys-tarfile remaintest_1.0_all.deb | tar --numeric-owner -tvf - | LC_ALL=C sort"
)


def test_dpkg_buildpackage_and_debuild(home: Path) -> None:
    """The owners in the .deb equal those that fakeroot gives, on the plain host and in the container."""
    shown: dict[str, str] = {}
    for build, root, place in (
        ("dpkg-buildpackage", "fakeroot", PLAIN),
        ("dpkg-buildpackage", "remainroot", PLAIN),
        (f"debuild --prepend-path={home}/bin --no-lintian", "remainroot", CONTAINER),  # it runs the other
    ):
        work = home / f"{root}{len(shown)}"
        make_source(work)
        script = BUILD.replace("{root}", root).replace("{build}", build)
        shown[work.name] = run(home, place, f"cd {work}; {script}")
    want = shown["fakeroot0"]
    assert "-rwxr-sr-x 0/8" in want
    assert "drwxr-xr-x 33/33" in want
    assert list(shown.values()) == [want] * 3


def test_dpkg_deb(home: Path) -> None:
    """dpkg-deb --build takes owners as they are; the tree was made by an earlier run in the container."""
    make = """
    mkdir -p p/DEBIAN p/etc; echo x > p/etc/secret; chown 0:42 p/etc/secret; chmod 640 p/etc/secret
    ln -s secret p/etc/l; chown -h 5:6 p/etc/l
    printf 'Package: p\\nVersion: 1\\nArchitecture: all\\nMaintainer: A <a@b.c>\\nDescription: x\\n' > p/DEBIAN/control
    """
    build = "dpkg-deb --build p > /dev/null; dpkg-deb -c p.deb | awk '{print $1, $2, $6}'"
    for place in (PLAIN, CONTAINER):
        store = f"--store=durable:{home}/owners.db"
        run(home, place, f"remainroot {store} -- sh -ec {shlex.quote(make)}")
        shown = run(home, place, f"remainroot {store} -- sh -ec {shlex.quote(build)}; rm -r p p.deb")
        assert "-rw-r----- root/shadow ./etc/secret" in shown
        assert "lrwxrwxrwx games/disk ./etc/l" in shown


SPEC = """
Name: rt
Version: 1
Release: 1
Summary: test
License: GPL
%description
Test.
%install
mkdir -p %{buildroot}/opt/rt
echo a > %{buildroot}/opt/rt/suid
echo b > %{buildroot}/opt/rt/plain
chown 7:8 %{buildroot}/opt/rt/plain
%files
%attr(4755, root, daemon) /opt/rt/suid
/opt/rt/plain
%dev(c, 1, 3) %attr(666, root, root) /opt/rt/null
"""


def test_rpmbuild(home: Path) -> None:
    (home / "rt.spec").write_text(SPEC)
    options = "--define '_topdir %(pwd)/rpm' --define '__os_install_post %{nil}'"
    build = f"rpmbuild --nodeps -bb {options} rt.spec > log 2>&1 || {{ cat log; exit 1; }}"
    script = f"{build}; rpm --dbpath $(pwd)/db -qplv rpm/RPMS/*/*.rpm"
    shown = {}
    for name, place, root in (
        ("fake", PLAIN, "fakeroot"),
        ("host", PLAIN, "remainroot"),
        ("inside", CONTAINER, "remainroot"),
    ):
        text = run(home, place, f"{root} sh -ec {shlex.quote(script)}; rm -rf rpm db")
        shown[name] = [line.split()[:4] + line.split()[-1:] for line in text.splitlines()]
    assert ["-rwsr-xr-x", "1", "root", "daemon", "/opt/rt/suid"] in shown["host"]
    assert shown["fake"] == shown["host"] == shown["inside"]


def test_an_image_in_three_steps(home: Path) -> None:
    """Step 1 installs a package with other owners, step 2 sees them and adds some, step 3 packs a layer: three runs."""
    debian = home / "pkg"
    (debian / "DEBIAN").mkdir(parents=True)
    (debian / "DEBIAN/control").write_text(
        "Package: p\nVersion: 1\nArchitecture: all\nMaintainer: A <a@b.c>\nDescription: x\n"
    )
    (debian / "DEBIAN/postinst").write_text(
        "#!/bin/sh\nset -e\nchown 42:43 $DPKG_ROOT/etc/p $DPKG_ROOT/etc/p/data\nchown -h 42:43 $DPKG_ROOT/etc/p/l\n"
    )
    (debian / "DEBIAN/postinst").chmod(0o755)
    (debian / "etc/p").mkdir(parents=True)
    (debian / "etc/p/data").write_text("x")
    (debian / "etc/p/l").symlink_to("data")
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", debian, home / "p.deb"], check=True, capture_output=True
    )
    install = """
    mkdir -p root/var/lib/dpkg/info root/var/lib/dpkg/updates; : > root/var/lib/dpkg/status
    : > root/var/lib/dpkg/available
    dpkg --root=$PWD/root --log=$PWD/log --force-script-chrootless --force-not-root -i p.deb > /dev/null
    """
    add = """
    test $(stat -c %u:%g root/etc/p/l) = 42:43
    mknod root/etc/p/null c 1 3; chown 0:5 root/etc/p/null
    mkdir root/s; chown :50 root/s; chmod 2775 root/s; touch root/s/f
    """
    pack = """
    tar --numeric-owner -C root -cf layer.tar etc s; tar --numeric-owner -tvf layer.tar | awk '{print $1, $2, $NF}'
    """
    out = [run(home, CONTAINER, f"remainroot sh -ec {shlex.quote(step)}") for step in (install, add, pack)]
    assert set(out[-1].splitlines()) == {
        "drwxr-xr-x 0/0 etc/", "drwxr-xr-x 42/43 etc/p/", "-rw-r--r-- 42/43 etc/p/data", "lrwxrwxrwx 42/43 data",
        "crw-r--r-- 0/5 etc/p/null", "drwxrwsr-x 0/50 s/", "-rw-r--r-- 0/50 s/f",
    }  # fmt: skip
    assert (home / ".local/state/remainroot/owners.db").exists()
