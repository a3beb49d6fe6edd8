# SPDX-License-Identifier: GPL-2.0-or-later
"""The suites: where each comes from, how it is built, which parts are run, and how its results are read."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PASS, FAIL, SKIP = "passed", "failed", "skipped"
Results = dict[str, str]
"""What became of each test, by its name."""


class Suite(NamedTuple):
    """One suite. Its commands are shell scripts whose working directory is the tree; $out is for results."""

    name: str
    about: str
    """What of it is run."""
    command: str
    read: Callable[[Path, Path], Results]
    """Of the tree and $out."""
    source: str = ""
    """Debian's source package; empty: what is tested is in `packages`."""
    packages: tuple[str, ...] = ()
    build: str = ":"
    given: str = ""
    """The environment's variable that names a directory with the sources, for a suite that Debian does not have."""


def _junit(_tree: Path, out: Path) -> Results:
    results = {}
    for case in ET.parse(out / "results.xml").iter("testcase"):
        result = PASS
        if case.find("failure") is not None or case.find("error") is not None:
            result = FAIL
        elif case.get("result") == "skipped" or case.find("skipped") is not None:
            result = SKIP
        results[f"{case.get('classname') or ''}.{case.get('name')}".strip(".")] = result
    return results


_AUTOMAKE = {"PASS": PASS, "XFAIL": PASS, "SKIP": SKIP}


def _trs(tree: Path) -> Iterator[tuple[str, str]]:
    for path in tree.rglob("*.trs"):
        found = re.search(r"^:global-test-result: (\w+)", path.read_text(), re.MULTILINE)
        yield str(path.relative_to(tree).with_suffix("")), _AUTOMAKE.get(found[1], FAIL) if found else FAIL


def _automake(tree: Path, _out: Path) -> Results:
    return dict(_trs(tree))


def _commands(tree: Path, _out: Path) -> Results:
    """The tests of acl and attr are lists of commands, each with what it has to print."""
    results = {}
    for name, whole in _trs(tree):
        log = (tree / f"{name}.log").read_text(errors="replace")
        commands = re.findall(r"^\[(\d+)\] \$ .*? -- (ok|failed)$", log, re.MULTILINE)
        results |= {f"{name} line {line}": PASS if word == "ok" else FAIL for line, word in commands}
        if not commands:
            results[name] = whole
    return results


def _autotest(_tree: Path, out: Path) -> Results:
    words = {"ok": PASS, "expected": PASS, "skipped": SKIP}
    text = (out / "log").read_text()
    found = re.findall(r"^ *\d+: (.*?) +(ok|skipped|FAILED|expected|UNEXPECTED)\b.*$", text, re.MULTILINE)
    results: Results = {}
    for name, word in found:
        unique, number = name, 1
        while unique in results:
            number += 1
            unique = f"{name} ({number})"
        results[unique] = words.get(word, FAIL)
    return results


def _tap(_tree: Path, out: Path) -> Results:
    results = {}
    for path in sorted(out.glob("*.tap")):
        text = path.read_text(errors="replace")
        for bad, number, rest in re.findall(r"^(not )?ok (\d+)(.*)$", text, re.MULTILINE):
            failed = bad and "# TODO" not in rest
            results[f"{path.stem} {number}"] = FAIL if failed else SKIP if "# skip" in rest.lower() else PASS
        if re.search(r"^1\.\.0 # SKIP", text, re.MULTILINE):
            results[path.stem] = SKIP
        elif not re.search(r"^1\.\.\d+", text, re.MULTILINE):
            results[path.stem] = FAIL
    return results


def _programs(_tree: Path, out: Path) -> Results:
    """Lines of (K)TAP, and how each program ended: numbers that change from run to run are taken out of names."""
    words = {"0": PASS, "4": SKIP, "77": SKIP}
    results: Results = {}
    for path in sorted(out.glob("*.ktap")):
        text = path.read_text(errors="replace")
        for bad, number, rest in re.findall(r"^[ #]*(not )?ok (\d+)\b(.*)$", text, re.MULTILINE):
            name = re.sub(r"\d{3,}", "N", rest.split("#")[0].strip(" -")) or number
            unique, count = f"{path.stem}: {name}", 1
            while unique in results:
                count += 1
                unique = f"{path.stem}: {name} ({count})"
            results[unique] = SKIP if re.search(r"# *SKIP", rest, re.IGNORECASE) else FAIL if bad else PASS
        ended = re.search(r"^status (\d+)\Z", text.rstrip(), re.MULTILINE)
        results[path.stem] = words.get(ended[1], FAIL) if ended else FAIL
    return results


def _go(_tree: Path, out: Path) -> Results:
    """What `go test -v` prints of each test of each package."""
    words = {"PASS": PASS, "SKIP": SKIP}
    results: Results = {}
    for path in sorted(out.glob("*.go")):
        text = path.read_text(errors="replace")
        for word, name in re.findall(r"--- (PASS|FAIL|SKIP): (\S+) \(", text):
            results[f"{path.stem}.{name}"] = words.get(word, FAIL)
        results[path.stem] = PASS if re.search(r"^PASS\Z", text.rstrip(), re.MULTILINE) else FAIL
    return results


def _rsync(_tree: Path, out: Path) -> Results:
    words = {"PASS": PASS, "SKIP": SKIP}
    found = re.findall(r"^(PASS|FAIL|SKIP|ERROR) +(\S+)", (out / "log").read_text(errors="replace"), re.MULTILINE)
    return {test: words.get(word, FAIL) for word, test in found}


def _libcap(_tree: Path, out: Path) -> Results:
    """How each program ended, and what each line of quicktest.sh made of capsh: the first wrong one ends it."""
    log = (out / "log").read_text(errors="replace")
    ended = re.findall(r"^== (.*): (\d+)$", log, re.MULTILINE)
    results = {program: PASS if status == "0" else FAIL for program, status in ended}
    tries = re.findall(r"^EXPECT (SUCC|FAIL)\w+: TEST: (.*)\n(?s:.*?)^(PASS|FAIL)ED$", log, re.MULTILINE)
    for number, (wanted, line, got) in enumerate(tries, 1):
        results[f"quicktest {number:02} {line}"] = PASS if (wanted == "SUCC") == (got == "PASS") else FAIL
    return results


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
        "cpython", f"test_{{{', '.join(_CPYTHON.split())}}}", _REGRTEST, _junit,
        packages=("python3.11", "libpython3.11-testsuite"),
    ),
    Suite(
        "coreutils", "those tests that need to be root, or need not to be root", _COREUTILS, _automake,
        source="coreutils",
        packages=("gcc", "make", "libacl1-dev", "libattr1-dev", "libcap-dev", "acl", "attr", "libcap2-bin"),
        build="./configure -q && make -s -j2",
    ),
    Suite(
        "tar", f"those tests with the keywords {_TAR_KEYWORDS}", _TAR, _autotest, source="tar",
        packages=("gcc", "make", "libacl1-dev", "libattr1-dev", "acl", "attr"),
        build="./configure -q && make -s -j2 && make -s -C tests check TESTSUITEFLAGS=--list",
    ),
    Suite(
        "git", "those scripts of t0 to t4 and t7 that speak of root or need not to be root", _GIT, _tap, source="git",
        packages=("gcc", "make", "zlib1g-dev"),
        build="make -s -j2 NO_CURL=1 NO_GETTEXT=1 NO_TCLTK=1 NO_PYTHON=1 NO_PERL=1 NO_OPENSSL=1 NO_EXPAT=1",
    ),
    Suite(
        "acl", "all", "make -s -k check", _commands, source="acl", packages=("gcc", "make", "libattr1-dev", "libtool"),
        build="./configure -q && make -s -j2 && make -s check TESTS=",
    ),
    Suite(
        "attr", "all", "make -s -k check", _commands, source="attr", packages=("gcc", "make", "libtool"),
        build="./configure -q && make -s -j2 && make -s check TESTS=",
    ),
    Suite(
        "libcap", "all but what is in Go, quicktest.sh line by line", _LIBCAP, _libcap, source="libcap2",
        packages=("gcc", "make", "libc6-dev", "libpam0g-dev", "gperf"), build=_LIBCAP_BUILD,
    ),
    Suite(
        "psutil", f"test_{{{', '.join(_PSUTIL.split())}}}", _PSUTIL_RUN, _junit,
        packages=("python3-psutil", "python3-pytest"), build="cp -r /usr/lib/python3/dist-packages/psutil .",
    ),
    Suite(
        "kselftest", f"of the kernel's own: {_KSELFTEST.replace(' ', ', ')}", _KSELFTEST_RUN, _programs,
        packages=("linux-source-6.12", "gcc", "make", "rsync", "xz-utils", "libcap-dev", "libcap-ng-dev"),
        build=_KSELFTEST_BUILD,
    ),
    Suite(
        "systemd", "the unit tests that are installed as safe, but for benchmarks", _SYSTEMD, _programs,
        packages=("systemd-tests",),
    ),
    Suite("dbus", "the installed tests", _DBUS, _programs, packages=("dbus-tests", "dbus")),
    Suite(
        "stress-ng", f"for a second each, verified: {_STRESSORS.replace(' ', ', ')}", _STRESS, _programs,
        packages=("stress-ng",),
    ),
    Suite(
        "go", f"the standard library's {_GO.replace(' ', ', ')}, each with and without the C library", _GO_RUN, _go,
        packages=("golang-go", "gcc", "libc6-dev"), build=_GO_BUILD,
    ),
    Suite(
        "rsync", "all", './runtests.sh >"$out/log" 2>&1', _rsync,
        source="rsync", packages=("gcc", "g++", "make", "libacl1-dev", "libattr1-dev", "libpopt-dev"),
        build="./configure -q --disable-md2man --disable-openssl --disable-xxhash --disable-zstd --disable-lz4 && "
        f"make -s -j2 rsync {_RSYNC_HELPERS}",
    ),
    Suite(
        "perl", f"t/op/{{{', '.join(_PERL_OP.split())}}}, t/io, lib/{{filetest, File, User}}, "
        f"{_PERL_MODULES.replace(' ', ', ')}", _PERL, _tap, source="perl", packages=("perl",), build=_PERL_BUILD,
    ),
    Suite(
        "pjdfstest", "all but what is for FreeBSD only: chflags, granular", _PJDFSTEST, _tap, given="PJDFSTEST",
        packages=("gcc", "make", "autoconf", "automake", "openssl"),
        build="[ -x pjdfstest ] || { autoreconf -ifs && ./configure -q && make -s pjdfstest; }",
    ),
]  # fmt: skip
