# SPDX-License-Identifier: GPL-2.0-or-later
"""The suites: where each comes from, how it is built, which parts are run, and which of results.py reads it."""

from __future__ import annotations

import results
from suite import Suite
from userland import USERLAND

_CPYTHON = "os posix shutil tarfile pathlib socket tempfile fileio posixpath resource pwd grp mailbox netrc"
# What goes by VSOCK or CAN waits for a peer on some machines.
_REGRTEST = (
    'exec /usr/bin/python3 -m test -W -i "*VSOCK*" -i "*CAN*" --tempdir "$out" --junit-xml "$out/results.xml" '
    + " ".join(f"test_{name}" for name in _CPYTHON.split())
)
_ABOUT_PERMISSIONS = "skip_if_root_|uid_is_privileged_|require_root_|setuidgid|NON_ROOT"
_COREUTILS = (
    f"tests=$(grep -lE '{_ABOUT_PERMISSIONS}' $(find tests -name '*.sh' -o -name '*.pl' -o -name '*.xpl') | sort); "
    'make -s -k check-TESTS TESTS="$(echo $tests)" RUN_EXPENSIVE_TESTS=no PERL=perl'
)
_GIT = (
    "cd t; for script in $(grep -lE 'SANITY|ROOT' t[0-4]*.sh t7*.sh | grep -vE 'http|daemon'); do "
    'sh "$script" >"$out/${script%.sh}.tap" 2>&1; done; :'
)

_TAR_KEYWORDS = "extract xattrs acls owner map mode"
_TAR = f"make -s check TESTSUITEFLAGS='{' '.join(f'-k {word}' for word in _TAR_KEYWORDS.split())}' >\"$out/log\""

_LIBCAP_BUILD = """
set -e
make -s GOLANG=no PAM_CAP=yes DYNAMIC=no all
make -s -C tests DYNAMIC=no psx_test libcap_psx_test uns_test libcap_launch_test libcap_psx_launch_test noop
make -s -C libcap cap_test
make -s -C pam_cap test_pam_cap
make -s -C progs DYNAMIC=no tcapsh-static
cp tests/uns_test progs
"""
_LIBCAP = """
run() { cd "$top/$1"; shift; echo exit | timeout 100 "$@"; echo "== $*: $?"; }
top=$PWD
{
    run libcap ./cap_test
    for test in psx_test libcap_psx_test uns_test libcap_launch_test libcap_psx_launch_test; do run tests ./$test; done
    run progs ./quicktest.sh
    run pam_cap ./test_pam_cap
    while read -r arguments; do run pam_cap ./test_pam_cap $arguments; done <<-END
	root 0x0 0x0 0x0 config=./capability.conf
	root 0x0 0x0 0x0 config=./sudotest.conf
	alpha 0x0 0x0 0x0 config=./capability.conf
	alpha 0x0 0x1 0x80 config=./sudotest.conf
	beta 0x0 0x1 0x0 config=./sudotest.conf
	gamma 0x0 0x0 0x81 config=./sudotest.conf
	delta 0x41 0x80 0x41 config=./sudotest.conf
	END
} >"$out/log" 2>&1
"""

# What looks at every process of the machine, or at its counters, or takes pids to ascend, is left out.
_PSUTIL_LEFT_OUT = "FetchAllProcesses or SystemCPUStats or test_issue_687 or test_cmdline"
_PSUTIL = "connections contracts linux misc posix process system testutils unicode"
_PSUTIL_RUN = (
    '/usr/bin/python3 -m pytest -q -p no:cacheprovider --junit-xml "$out/results.xml" '
    f'-k "not ({_PSUTIL_LEFT_OUT})" '
    + " ".join(f"psutil/tests/test_{name}.py" for name in _PSUTIL.split())
)

# each NAME SECONDS COMMAND [ARGUMENT...]: what it prints, and how it ends.
_EACH = """
each() {
  to="$out/$1.ktap"; limit=$2; shift 2
  timeout -k 5 "$limit" "$@" </dev/null >"$to" 2>&1
  printf '\\nstatus %d\\n' $? >>"$to"
}
"""

_GO = "archive/tar io/fs io/ioutil net os os/exec os/signal os/user path/filepath syscall"
# Without the C library, as most Go programs are, and with it.
_GO_BUILD = f"""
set -e
export GOCACHE="$PWD/cache"
cp -aL "$(go env GOROOT)/src" .
rm -r src/cmd
for package in {_GO}; do
  for cgo in 0 1; do CGO_ENABLED=$cgo go test -c -o "$(echo "$package" | tr / .).$cgo" "$package"; done
done
rm -r cache
"""
# Of net what is about sockets of this machine: the rest asks names of the world.
_GO_RUN = f"""
top=$PWD
export GOCACHE="$out/cache"
for package in {_GO}; do
  cd "$top/src/$package"
  only=. && [ $package = net ] && only='Unix|File|Listen|Packet|Splice|Sendfile|Cred|Close'
  for cgo in 0 1; do
    name=$(echo "$package" | tr / .).$cgo
    "$top/$name" -test.v -test.timeout 300s -test.run "$only" </dev/null >"$out/$name.go" 2>&1
  done
done
"""

_RSYNC_HELPERS = (
    "tls getgroups getfsdev testrun trimslash t_unsafe wildtest simdtest t_secure_relpath t_chmod_secure"
)

# perl's own modules stand where its tests look for them.
_PERL_BUILD = """
set -e
for directory in /usr/share/perl/5.36 /usr/lib/x86_64-linux-gnu/perl/5.36 /usr/lib/x86_64-linux-gnu/perl-base; do
  cp -aL "$directory/." lib
done
ln -s /usr/bin/perl t/perl
"""
_PERL_OP = (
    "alarm chdir die_exit exec filetest filetest_t fork getpid getppid glob groups kill0 lfs magic mkdir setpgrpstack "
    "sigdispatch sselect stat stat_errors sysio taint time unlink"
)
_PERL_MODULES = (
    "cpan/Archive-Tar cpan/File-Path cpan/File-Temp cpan/IPC-SysV cpan/Socket ext/File-Find ext/IPC-Open3 ext/POSIX"
)
_PERL = f"""
top=$PWD
run() {{ timeout 120 perl "$@" </dev/null >"$out/$name.tap" 2>/dev/null; }}
cd "$top/t"
for test in {_PERL_OP}; do name=op.$test; run -I../lib op/$test.t; done
for test in io/*.t; do name=io.$(basename $test .t); run -I../lib $test; done
for test in ../lib/filetest.t ../lib/File/*.t ../lib/User/*.t; do
  name=lib.$(basename $test .t); run -I../lib $test
done
for module in {_PERL_MODULES}; do
  cd "$top/$module"
  for test in t/*.t; do name=$(basename $module).$(basename $test .t); run -I"$top/lib" -Ilib $test; done
done
"""

# A signal between users takes a stop of its receiver: these send thousands.
_LIBUV_RUN = f"""{_EACH}
export UV_RUN_AS_ROOT=1 UV_TEST_TIMEOUT_MULTIPLIER=20
each all 1000 ./test/run-tests
"""

_KSELFTEST = (
    "acct cachestat capabilities clone3 core exec fchmodat2 filesystems filesystems/statmount ipc kcmp landlock "
    "mincore mount mount_setattr mqueue net/af_unix nsfs openat2 pid_namespace pidfd prctl proc ptrace rlimits sched "
    "seccomp sigaltstack splice syscall_user_dispatch timens tmpfs uevent"
)
# What takes minutes, is about a processor, or is a race.
_KSELFTEST_LEFT_OUT = "benchmark|mq_perf_tests|recursion-depth|disable-tsc|vmaccess|rename_attack_test|pidfd_test"
_KSELFTEST_BUILD = f"""
set -e
from=linux-source-6.12
tar --strip-components=1 -xf /usr/src/$from.tar.xz $from/Makefile $from/arch/x86 $from/include \
  $from/scripts $from/tools $from/usr
make -s headers
make -s -k -C tools/testing/selftests TARGETS='{_KSELFTEST}' INSTALL_PATH="$PWD/tests" \
  KHDR_INCLUDES="-isystem $PWD/usr/include" install
find . -mindepth 1 -maxdepth 1 ! -name tests -exec rm -r {{}} +
test -s tests/kselftest-list.txt
"""
_KSELFTEST_RUN = f"""{_EACH}
top=$PWD/tests
grep -vE '{_KSELFTEST_LEFT_OUT}' "$top/kselftest-list.txt" | while IFS=: read -r directory program; do
  cd "$top/$directory"
  each "$(echo "$directory" | tr / .).$program" 100 "./$program"
done
"""

# Root's programs leave directories of their users where the next run would find them.
_AFRESH = """
if [ "$(id -u)" = 0 ]; then
  for place in /run /var/lib /var/cache /var/log; do mount -t tmpfs -o mode=755 none $place; done
  for place in /tmp /dev/shm; do mount -t tmpfs -o mode=1777 none $place; done
fi
cd "$out"
"""
# Its own /etc, home directories and logs, for what would change the machine's.
_OWN_ETC = """
tree=$PWD
if [ "$(id -u)" = 0 ]; then
  mkdir "$out/own"; mount -t tmpfs -o mode=755 none "$out/own"; cd "$out/own"
  mkdir etc home mail; mkdir -m 700 root
  cp -a /etc/. etc 2>/dev/null; cp /etc/skel/.bashrc /etc/skel/.profile root
  for place in etc home root; do mount --bind $place /$place; done
  mount --bind mail /var/mail; chgrp mail /var/mail; chmod 2775 /var/mail
  chgrp shadow /etc/shadow /etc/gshadow
  for place in /run /var/log /var/spool; do mount -t tmpfs -o mode=755 none $place; done
fi
"""
_SYSTEMD = f"""{_EACH}{_AFRESH}
for program in /usr/lib/systemd/tests/test-*; do
  case $program in *benchmark*) ;; *) each "$(basename "$program")" 200 "$program";; esac
done
"""
_DBUS = f"""{_EACH}{_AFRESH}
at=/usr/lib/dbus-1.0/debug-build
export DBUS_TEST_DATA=$at/libexec/installed-tests/dbus/data DBUS_TEST_DAEMON=$at/bin/dbus-daemon
for program in $at/libexec/installed-tests/dbus/test-*; do
  case $program in */test-shell|*/test-service|*-forever|*-blocking) continue;; esac  # run by others
  each "$(basename "$program")" 100 "$program" --tap
done
"""
_GLIB = (
    "credentials file fileutils spawn-test spawn-singlethread gsubprocess live-g-file g-file-info socket unix-fd "
    "gdbus-auth gdbus-connection gdbus-non-socket gdbus-peer gdbus-server-auth utils keyfile unix unix-mounts "
    "unix-streams socket-listener pollable trash appmonitor testfilemonitor mappedfile mapping"
)
_GLIB_RUN = f"""{_EACH}{_AFRESH}
at=/usr/libexec/installed-tests/glib
export G_TEST_SRCDIR=$at G_TEST_BUILDDIR=$at
for test in {_GLIB}; do each $test 100 $at/$test --tap; done
"""

_STRESSORS = (
    "access affinity aio alarm bind-mount cap chattr chdir chmod chown chroot clock clone close copy-file cyclic "
    "daemon dev-shm dir dnotify dup env epoll eventfd exit-group fallocate fanotify fcntl fiemap fifo file-ioctl "
    "filename flock fork fpunch fsize fstat full futex get getdent handle hdd hrtimers inode-flags inotify io-uring "
    "ioprio itimer kcmp key kill landlock lease locka lockf lockofd memfd mknod mlock mq msg netlink-proc "
    "netlink-task nice null open personality pidfd pipe poll prctl pthread ptrace pty quota race-sched rename "
    "resched rlimit schedpolicy seal seccomp sem sem-sysv sendfile session set shm shm-sysv sigabrt sigchld sigfd "
    "sigfpe sigio signal signest sigpending sigpipe sigq sigrt sigsegv sigsuspend sigtrap sleep sock sockabuse "
    "sockfd sockmany sockpair spawn splice switch sync-file tee timer timerfd touch udp unshare usersyscall utime "
    "vfork vforkmany vm-rw vm-splice wait xattr zombie"
)
# One that cannot run here says so, and ends as if it had.
_STRESS = f"""{_EACH}{_AFRESH}
for name in {_STRESSORS}; do
  each $name 100 stress-ng --temp-path "$out" --$name 2 --$name-ops 50 --timeout 1 --verify --oomable
  if grep -qE 'will be skipped|skipping stressor|aborted early|status 3$' "$to"; then echo 'status 77' >>"$to"; fi
done
"""

# What needs a disk image, which a user namespace may not mount, is left out.
_DISK_IMAGE = "ts_device_init|ts_image_|scsi_debug|losetup"
_UTIL_LINUX = (
    "chfn dmesg findmnt fincore hardlink ipcs kill libmount logger login look lsfd lsns misc mount namei schedutils "
    "script utmp uuid"
)
_UTIL_LINUX_BUILD = """
set -e
./configure -q --disable-asciidoc --disable-nls --disable-use-tty-group --without-systemd --without-udev \
  --without-python
make -s -j2
make -s -j2 check-programs
"""
_UTIL_LINUX_RUN = f"""{_EACH}{_OWN_ETC}
cd "$tree"
for utility in {_UTIL_LINUX}; do
  for test in tests/ts/$utility/*; do
    if [ ! -x $test ] || [ ! -f $test ] || grep -qE '{_DISK_IMAGE}' $test; then continue; fi
    each $utility.${{test##*/}} 100 bash $test --srcdir="$tree" --builddir="$tree" --skip-loopdevs --parsable
  done
done
"""

# What asks for passwords is talked to by expect; a user that a test makes must have no processes on the machine.
_SHADOW = "chage chsh debian expiry libsubid login newgidmap newuidmap passwd split_groups su subids"
_SHADOW_BUILD = """
set -e
./configure -q --prefix=/usr --with-libpam --without-selinux --without-libbsd --disable-nls --disable-man \
  --disable-shared
make -s -j2
make -s install DESTDIR="$PWD/inst"
make -s -C tests/common
"""
_SHADOW_RUN = f"""
unshare --pid --fork --kill-child --mount-proc sh -s <<'END'
{_EACH}{_OWN_ETC}
mkdir -p /var/spool/cron/crontabs
touch /var/log/lastlog /var/log/faillog
for program in "$tree"/inst/bin/* "$tree"/inst/usr/bin/* "$tree"/inst/usr/sbin/*; do
  for directory in /usr/bin /usr/sbin; do
    if [ -f $directory/${{program##*/}} ] && [ ! -L $directory/${{program##*/}} ]; then
      mount --bind "$program" $directory/${{program##*/}}
    fi
  done
done
for service in "$tree"/etc/pam.d/*; do
  service=/etc/pam.d/${{service##*/}}
  [ -e $service ] || {{
    printf '%s\\n' 'auth sufficient pam_rootok.so' 'account required pam_permit.so' 'password include common-password'
  }} >$service
done
ln -s "$tree/tests" /root/tests
export BUILD_BASE_DIR="$tree" HOME=/root
PATH=$PATH:$tree/inst/usr/sbin:$tree/inst/usr/bin:$tree/inst/bin
unset TMPDIR
mkfifo "$out/own/nothing"
exec 3<>"$out/own/nothing"
cd "$tree/tests"
grep -oE '^\\s*run_test \\S+' run_all | while read -r _ test; do
  part=${{test#./}}
  case " {_SHADOW} " in *" ${{part%%/*}} "*)
    each "$(echo "$part" | tr / .)" 20 sh -c 'exec sh "$0" <&3' $test
    rm -f /etc/passwd.lock /etc/group.lock /etc/shadow.lock /etc/gshadow.lock
    chgrp shadow /etc/shadow
  esac
done
END
"""

# With the installed libpam and its modules.
_PAM_BUILD = """
set -e
touch config.h
for test in xtests/*.c; do
  gcc -w -D_GNU_SOURCE -DUNUSED= -I. -Ilibpam/include -o ${test%.c} $test -lpam -lpam_misc
done
chmod +x xtests/*.sh
"""
_PAM_RUN = f"""{_OWN_ETC}
cd "$tree/xtests"
tests=$(sed -n '/^\\(XTESTS\\|NOSRCTESTS\\) = /,/[^\\\\]$/p' Makefile.am | grep -oE 'tst-\\S+')
timeout 300 ./run-xtests.sh . $tests >"$out/log" 2>&1
"""

# By a user who may do all with sudo, as Debian runs them; what is about ciphers and keys alone is left out.
_OPENSSH = (
    "connect proxy-connect connect-privsep connect-uri proto-version exit-status exit-status-signal envpass banner "
    "stderr-data stderr-after-eof broken-pipe yes-head login-timeout agent agent-getpeereid agent-timeout agent-ptrace "
    "agent-subprocess keyscan key-options scp sftp sftp-chroot sftp-cmds sftp-batch sftp-perm reconfigure forwarding "
    "multiplex reexec forcecommand keys-command principals-command hostbased allow-deny-users connection-timeout"
)
_OPENSSH_RUN = f"""{_EACH}{_OWN_ETC}
useradd --create-home --shell /bin/sh --password '*' tester
echo 'tester ALL = (ALL:ALL) NOPASSWD: ALL' >/etc/sudoers.d/tester
echo '127.0.0.1 UNKNOWN' >>/etc/hosts
mkdir -m 755 /run/sshd
cp -a /usr/lib/openssh/regress /home/tester
chown -R tester: /home/tester
at=/home/tester/regress
for test in {_OPENSSH}; do
  each $test 100 sudo -u tester make -s -C $at .OBJDIR=$at .CURDIR=$at BUILDDIR=$at OBJ=$at SUDO=sudo TEST_SHELL=sh \
    TEST_SSH_SSH=ssh TEST_SSH_SFTPSERVER=/usr/lib/openssh/sftp-server TEST_SSH_UNSAFE_PERMISSIONS=1 \
    TEST_SSH_IPV6=yes TEST_SSH_ECC=yes LTESTS=$test t-exec
done
"""

# It installs into /, which is one of its own, and goes with its mount namespace: nothing here unmounts it, or removes
# what the machine's own may be mounted in. In memory, for dpkg writes through to its disk again and again.
_DPKG_RUN = f"""{_EACH}
export DPKG_AS_ROOT=1
tests=$(echo 'show:: ; @echo $(TESTS)' | make -s -C tests -f - -f Makefile show)
mount -t tmpfs -o mode=755 none /mnt || exit 1
for place in /bin /sbin /lib*; do [ ! -L $place ] || cp -a $place /mnt; done
cp -a /etc /mnt 2>/dev/null
mkdir -m 1777 /mnt/tmp
for place in usr proc dev; do mkdir /mnt/$place; mount --rbind /$place /mnt/$place || exit 1; done
for test in $tests; do
  cp -a tests /mnt
  each $test 100 chroot /mnt env -u TMPDIR make -s -C /tests/$test test
  rm -r /mnt/tests
done
"""

# Its own runner is meson's. The scripts' lines have no numbers.
_BUBBLEWRAP = f"""{_EACH}
export BWRAP=/usr/bin/bwrap G_TEST_SRCDIR="$PWD" G_TEST_BUILDDIR="$PWD/built"
cd "$out"
for script in test-run.sh test-specifying-pidns.sh test-specifying-userns.sh; do
  each $script 300 bash "$G_TEST_SRCDIR/tests/$script"
  awk '/^(not )?ok/ {{ sub(/ok/, "ok " ++n) }} {{ print }}' "$to" >"$to.numbered"; mv "$to.numbered" "$to"
done
each test-seccomp.py 300 /usr/bin/python3 "$G_TEST_SRCDIR/tests/test-seccomp.py"
"""

# Each script in a directory of its own; they sleep a lot, and so run side by side.
_PJDFSTEST = """
for script in "$PWD"/tests/*/*.t; do
    case $script in */chflags/*|*/granular/*) ;; *) echo "$script";; esac
done >"$out/scripts"
cd "$out"; xargs -P 8 -n 1 sh -c '
    name=$(basename "$(dirname "$1")").$(basename "$1" .t); mkdir "$name"; cd "$name"; exec sh "$1" >"$out/$name.tap"
' sh <scripts; :"""

SUITES = [
    Suite(
        "cpython", f"test_{{{', '.join(_CPYTHON.split())}}}", _REGRTEST, results.junit,
        packages=("python3.11", "libpython3.11-testsuite"),
    ),
    Suite(
        "coreutils", "those tests that need to be root, or need not to be root", _COREUTILS, results.automake,
        source="coreutils",
        packages=("gcc", "make", "libacl1-dev", "libattr1-dev", "libcap-dev", "acl", "attr", "libcap2-bin"),
        build="./configure -q && make -s -j2",
    ),
    Suite(
        "tar", f"those tests with the keywords {_TAR_KEYWORDS}", _TAR, results.autotest, source="tar",
        packages=("gcc", "make", "libacl1-dev", "libattr1-dev", "acl", "attr"),
        build="./configure -q && make -s -j2 && make -s -C tests check TESTSUITEFLAGS=--list",
    ),
    Suite(
        "git", "those scripts of t0 to t4 and t7 that speak of root or need not to be root", _GIT, results.tap,
        source="git", packages=("gcc", "make", "zlib1g-dev"),
        build="make -s -j2 NO_CURL=1 NO_GETTEXT=1 NO_TCLTK=1 NO_PYTHON=1 NO_PERL=1 NO_OPENSSL=1 NO_EXPAT=1",
    ),
    Suite(
        "acl", "all", "make -s -k check", results.commands, source="acl",
        packages=("gcc", "make", "libattr1-dev", "libtool"),
        build="./configure -q && make -s -j2 && make -s check TESTS=",
    ),
    Suite(
        "attr", "all", "make -s -k check", results.commands, source="attr", packages=("gcc", "make", "libtool"),
        build="./configure -q && make -s -j2 && make -s check TESTS=",
    ),
    Suite(
        "libcap", "all but what is in Go, quicktest.sh line by line", _LIBCAP, results.libcap, source="libcap2",
        packages=("gcc", "make", "libc6-dev", "libpam0g-dev", "gperf"), build=_LIBCAP_BUILD,
    ),
    Suite(
        "psutil", f"test_{{{', '.join(_PSUTIL.split())}}}", _PSUTIL_RUN, results.junit,
        packages=("python3-psutil", "python3-pytest"), build="cp -r /usr/lib/python3/dist-packages/psutil .",
    ),
    Suite(
        "kselftest", f"of the kernel's own: {_KSELFTEST.replace(' ', ', ')}", _KSELFTEST_RUN, results.programs,
        packages=("linux-source-6.12", "gcc", "make", "rsync", "xz-utils", "libcap-dev", "libcap-ng-dev"),
        build=_KSELFTEST_BUILD,
    ),
    Suite(
        "systemd", "the unit tests that are installed as safe, but for benchmarks", _SYSTEMD, results.programs,
        packages=("systemd-tests",),
    ),
    Suite("dbus", "the installed tests", _DBUS, results.programs, packages=("dbus-tests", "dbus")),
    Suite(
        "stress-ng", f"for a second each, verified: {_STRESSORS.replace(' ', ', ')}", _STRESS, results.programs,
        packages=("stress-ng",),
    ),
    Suite(
        "go", f"the standard library's {_GO.replace(' ', ', ')}, each with and without the C library", _GO_RUN,
        results.go, packages=("golang-go", "gcc", "libc6-dev"), build=_GO_BUILD,
    ),
    Suite(
        "rsync", "all", './runtests.sh >"$out/log" 2>&1', results.rsync,
        source="rsync", packages=("gcc", "g++", "make", "libacl1-dev", "libattr1-dev", "libpopt-dev"),
        build="./configure -q --disable-md2man --disable-openssl --disable-xxhash --disable-zstd --disable-lz4 && "
        f"make -s rsync {_RSYNC_HELPERS}",
    ),
    Suite(
        "glib", f"of the installed tests: {_GLIB.replace(' ', ', ')}", _GLIB_RUN, results.programs,
        packages=("libglib2.0-tests",),
    ),
    Suite(
        "libuv", "all", _LIBUV_RUN, results.programs, source="libuv1",
        packages=("gcc", "make", "autoconf", "automake", "libtool"),
        build="sh autogen.sh && ./configure -q --disable-shared && make -s -j2 && make -s -j2 test/run-tests",
    ),
    Suite(
        "perl", f"t/op/{{{', '.join(_PERL_OP.split())}}}, t/io, lib/{{filetest, File, User}}, "
        f"{_PERL_MODULES.replace(' ', ', ')}", _PERL, results.tap, source="perl", packages=("perl",), build=_PERL_BUILD,
    ),
    Suite(
        "util-linux", f"those of {_UTIL_LINUX.replace(' ', ', ')} that need no disk image", _UTIL_LINUX_RUN,
        results.util_linux, source="util-linux", build=_UTIL_LINUX_BUILD,
        packages=(
            "gcc", "make", "pkg-config", "bison", "bc", "libcap-ng-dev", "libpam0g-dev", "libncurses-dev", "zlib1g-dev",
        ),
    ),
    Suite(
        "shadow", f"those with PAM of {_SHADOW.replace(' ', ', ')}", _SHADOW_RUN, results.programs, given="SHADOW",
        packages=("gcc", "make", "libpam0g-dev", "libcrypt-dev", "expect", "whois"), build=_SHADOW_BUILD, who=("root",),
    ),
    Suite(
        "bubblewrap", "the scripts, with the installed bwrap", _BUBBLEWRAP, results.programs, source="bubblewrap",
        packages=("bubblewrap", "gcc", "libc6-dev", "python3-seccomp", "strace"),
        build="mkdir -p built/tests && gcc -o built/tests/try-syscall tests/try-syscall.c",
    ),
    Suite(
        "pam", "xtests/, with the installed libpam and modules", _PAM_RUN, results.rsync, source="pam",
        packages=("libpam0g-dev", "libpam-modules", "gcc", "make", "passwd"), build=_PAM_BUILD, who=("root",),
    ),
    Suite(
        "openssh", f"of the installed tests: {_OPENSSH.replace(' ', ', ')}", _OPENSSH_RUN, results.programs,
        packages=("openssh-tests", "openssh-server", "sudo", "make"), who=("root",),
    ),
    Suite(
        "dpkg", "those that pass, installing into /", _DPKG_RUN, results.programs, source="dpkg",
        packages=("dpkg", "dpkg-dev", "make"), who=("root",),
    ),
    Suite(
        "pjdfstest", "all but what is for FreeBSD only: chflags, granular", _PJDFSTEST, results.tap, given="PJDFSTEST",
        packages=("gcc", "make", "autoconf", "automake", "openssl"),
        build="[ -x pjdfstest ] || { autoreconf -ifs && ./configure -q && make -s pjdfstest; }",
    ),
    *USERLAND,
]  # fmt: skip
