# SPDX-License-Identifier: GPL-2.0-or-later
"""Suites of programs that unpack, search and show, and of Ruby: as suites.py's, which has them all."""

from __future__ import annotations

import results
from suite import Suite

# Those that have to do with files on disk; each program has its own way to be told what to test.
_LIBARCHIVE_RUN = """
about='_disk_|archive_extract|assertMake|assertFile|assertIs|getuid|chown'
tests=
for file in $(grep -lE "$about" libarchive/test/test_*.c); do
  test=${file##*/}; test=${test%.c}
  if grep -q "^DEFINE_TEST($test)" "$file"; then tests="$tests $test"; fi
done
./libarchive_test -v -r "$PWD/libarchive/test" $tests >"$out/libarchive.verbose" 2>&1
for name in tar cpio; do
  ./bsd${name}_test -v -p "$PWD/bsd$name" -r "$PWD/$name/test" >"$out/bsd$name.verbose" 2>&1
done; :
"""
# Without the network, and without tc, which newer kernels' headers do not build.
_BUSYBOX_BUILD = """
set -e
make -s defconfig
sed -i 's/^CONFIG_\\(TC\\|WGET\\)=y/# CONFIG_\\1 is not set/' .config
yes '' | make -s oldconfig
make -s -j2
"""
_FINDUTILS_RUN = """
for part in find/testsuite xargs/testsuite; do make -s -k -C $part check; done
make -s -k check-TESTS; :
"""
# w shows who is logged in: nobody, where the machine has no utmp.
_PROCPS_RUN = 'make -s -k check >"$out/log" 2>&1; make -s -k check-TESTS; :'
_SUDO_RUN = """
for part in lib/util lib/eventlog lib/iolog logsrvd plugins/sudoers src; do
  make -s -C $part check FUZZ_RUNS=8
done >"$out/log" 2>&1; :
"""
_RUBY = (
    "ruby/test_file_exhaustive.rb ruby/test_process.rb ruby/test_dir.rb ruby/test_io.rb "
    "ruby/test_signal.rb ruby/test_env.rb fileutils pathname socket etc test_tempfile.rb test_tmpdir.rb test_find.rb "
    "test_pty.rb open3"
)
_RUBY_RUN = (
    "timeout 1000 ruby3.1 test/runner.rb --ruby=/usr/bin/ruby3.1 --show-skip -v "
    + " ".join(f"test/{name}" for name in _RUBY.split())
    + ' >"$out/log" 2>&1; :'
)

USERLAND = [
    Suite(
        "libarchive", "of libarchive those about files on disk, of bsdtar and bsdcpio all", _LIBARCHIVE_RUN,
        results.libarchive, source="libarchive",
        packages=(
            "gcc", "make", "autoconf", "automake", "libtool", "libacl1-dev", "libattr1-dev", "zlib1g-dev",
            "libbz2-dev", "liblzma-dev",
        ),
        build="autoreconf -fi && ./configure -q --disable-shared --without-xml2 --without-openssl && "
        "make -s -j2 bsdtar bsdcpio libarchive_test bsdtar_test bsdcpio_test",
    ),
    Suite(
        "cpio", "all", 'make -s -C tests check >"$out/log"; :', results.autotest, source="cpio",
        packages=("gcc", "make"),
        build="./configure -q && make -s -j2 && make -s -C tests check TESTSUITEFLAGS=--list",
    ),
    Suite(
        "busybox", "all but wget and tc", 'cd testsuite; ./runtest >"$out/busybox.sum" 2>&1; :', results.dejagnu,
        source="busybox", packages=("gcc", "make", "bzip2"), build=_BUSYBOX_BUILD,
    ),
    Suite(
        "findutils", "all", _FINDUTILS_RUN, results.dejagnu, source="findutils",
        packages=("gcc", "make", "autoconf", "automake", "gettext", "autopoint", "dejagnu"),
        build="autoreconf -fi && ./configure -q && make -s",
    ),
    Suite(
        "procps", "all", _PROCPS_RUN, results.dejagnu, source="procps",
        packages=(
            "gcc", "make", "autoconf", "automake", "libtool", "gettext", "autopoint", "dejagnu", "libncurses-dev",
        ),
        build="autoreconf -fi && ./configure -q --disable-shared --without-systemd --disable-nls && make -s && "
        "make -s check TESTS= RUNTESTFLAGS=--version",
    ),
    Suite(
        "sudo", "the regression tests", _SUDO_RUN, results.sudo, source="sudo",
        packages=("gcc", "make", "libpam0g-dev", "zlib1g-dev"),
        build="./configure -q --disable-nls --without-sendmail --with-pam --disable-openssl && make -s -j2 && "
        "make -s -C plugins/sudoers check && make -s -C src check",
    ),
    Suite(
        "ruby", f"test/{{{', '.join(_RUBY.split())}}}, with the installed ruby", _RUBY_RUN, results.ruby,
        source="ruby3.1", packages=("ruby3.1",),
    ),
]  # fmt: skip
