# SPDX-License-Identifier: GPL-2.0-or-later
"""`remainroot box`, as a plain user runs it: roots of every kind, what is in a box, how it starts and how it ends."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from remainroot import abi as abis
from remainroot.containers import confine
from tests.containers.roots import UID, as_user, box, failing, make_layout, start_box
from tests.launching import children, is_running, running_with, until

if TYPE_CHECKING:
    from tests.containers.roots import Roots


@pytest.mark.parametrize("engine", ["notify", "trace", "ptrace"])
def test_owners_in_a_directory(roots: Roots, engine: str) -> None:
    script = "id -u; echo x >/new; chown 33:44 /new; mknod /null2 c 1 3; ls -ln /new /null2; rm /new /null2"
    lines = box("--engine", engine, roots.busybox, "--", "sh", "-c", script).splitlines()
    assert lines[0] == "0"
    assert lines[1].split()[2:4] == ["33", "44"]
    assert lines[2].startswith("crw")
    assert lines[2].split()[4:6] == ["1,", "3"]


@pytest.mark.parametrize("engine", ["notify", "trace", "ptrace"])
def test_what_only_seems_to_succeed_can_be_refused(roots: Roots, engine: str) -> None:
    script = "echo -5 >/proc/self/oom_score_adj; grep -h . /proc/self/oom_score_adj /proc/$$/oom_score_adj"
    command = (roots.busybox, "sh", "-c", script)
    assert box("--engine", engine, *command).split() == ["-5", "-5"]
    assert box("--engine", engine, "--refuse", "nice,rlimit", *command).split() == ["-5", "-5"]
    refused = box("--engine", engine, "--refuse=nice", "--refuse=oom", *command, errors=True)
    assert refused.split()[-2:] == ["0", "0"]
    assert "Permission denied" in refused
    assert "option --refuse takes some of flags," in failing("--refuse", "nice,oon", *command)


def test_owners_last(roots: Roots) -> None:
    box(roots.busybox, "sh", "-c", "echo x >/kept; chown 33:44 /kept")
    try:
        assert box(roots.busybox, "stat", "-c", "%u:%g", "/kept") == "33:44\n"
        assert (roots.busybox / "kept").stat().st_uid == UID
    finally:
        (roots.busybox / "kept").unlink()


def test_one_static_binary_is_enough(roots: Roots) -> None:
    assert box(roots.static, "/program") == "0 0 2\n"


def test_namespaces_are_its_own(roots: Roots) -> None:
    kinds = ("cgroup", "ipc", "mnt", "pid", "user", "uts", "net")
    script = "for kind in " + " ".join(kinds) + "; do readlink /proc/self/ns/$kind; done"
    inside = box(roots.busybox, "sh", "-c", script).splitlines()
    outside = [os.readlink(f"/proc/self/ns/{kind}") for kind in kinds]
    assert [a != b for a, b in zip(inside, outside, strict=True)] == [True] * 6 + [False]
    alone = box("--network", "none", roots.busybox, "sh", "-c", script).splitlines()
    assert alone[6] != outside[6]


def test_processes_of_the_host_are_not_seen(roots: Roots) -> None:
    pids = box(roots.busybox, "sh", "-c", "echo $$; ls /proc | grep '^[0-9]'").split()
    assert pids[0] == "2"
    assert set(pids[1:]) <= {"1", "2", "3", "4", "5"}


def test_nothing_of_the_host_is_reached_by_way_of_pid_1(roots: Roots) -> None:
    script = "cat /proc/1/environ >/dev/null && echo read; ls /proc/1/root && ls /proc/1/cwd/"
    result = box(roots.busybox, "sh", "-c", script, errors=True, status=1)
    assert "read" not in result.split()
    assert "etc" not in result.split()


def test_another_container_has_the_same_numbers(roots: Roots) -> None:
    """What a task says of pid 3 is about its own box's."""
    place = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
    script = "for pid in 2 3 4; do sleep 600 & done; echo up; wait"
    other = subprocess.Popen([*as_user()[:-2], *place, "sh", "-c", script], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    try:
        assert other.stdout.readline() == "up\n"
        script = "grep ^Uid: /proc/self/status; kill -0 1 || echo no; sleep 60 & kill -0 $! && echo yes"
        out = box("--user", "web", roots.busybox, "sh", "-c", script)
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    assert out == "Uid:\t1007\t1007\t1007\t1007\nno\nyes\n"


def test_a_signal_to_everybody_stays_inside(roots: Roots) -> None:
    """SIGURG, which nobody minds who does not wait for it: the host's processes of this user are others', too."""
    waiting = "trap 'echo got; exit' URG; echo up; while :; do sleep 0.05; done"
    outside = subprocess.Popen([*as_user()[:-2], "sh", "-c", waiting], stdout=subprocess.PIPE, text=True)
    assert outside.stdout is not None
    try:
        assert outside.stdout.readline() == "up\n"
        script = f"({waiting}) >/tmp/inside & until test -s /tmp/inside; do sleep 0.05; done; kill -URG -1; wait $!"
        assert box("--tmpfs=/tmp", roots.busybox, "sh", "-c", f"{script}; cat /tmp/inside") == "up\ngot\n"
        assert outside.poll() is None
    finally:
        outside.kill()
        assert outside.stdout.read() == ""
        outside.stdout.close()
        outside.wait()


def test_devices(roots: Roots) -> None:
    script = """
        for name in null zero full random urandom tty; do test -c /dev/$name || echo no $name; done
        echo x >/dev/null; head -c 4 /dev/zero | od -An -tx1; head -c 3 /dev/urandom | wc -c
        echo >/dev/full || echo full
        echo y >/dev/shm/y; cat /dev/shm/y; test -c /dev/ptmx && ls /dev/pts; echo z | cat /dev/stdin; ls -ln /dev/null
    """
    out = box(roots.busybox, "sh", "-c", script).splitlines()
    assert out[:6] == [" 00 00 00 00", "3", "full", "y", "ptmx", "z"]
    assert out[6].split()[:4] == ["crw-rw-rw-", "1", "0", "0"]


def test_what_is_read_only(roots: Roots) -> None:
    script = "touch /a; touch /sys/a; touch /tmp/a && echo tmp; touch /dev/a && echo dev"
    text = box("--read-only", "--tmpfs", "/tmp", roots.busybox, "sh", "-c", script, errors=True)
    assert "/a: Read-only file system" in text
    assert "/sys/a: Read-only file system" in text
    assert text.endswith("tmp\ndev\n")


def test_binds(roots: Roots) -> None:
    source = roots.top / "source"
    source.mkdir()
    os.chown(source, UID, UID)
    (source / "file").write_text("host\n")
    os.chown(source / "file", UID, UID)
    try:
        options = ("--bind", f"{source}:/a/b", "--bind-ro", f"{source}:/c", "--bind", f"{source}/file:/d")
        script = "echo more >>/a/b/file; touch /c/x || echo refused; cat /d"
        assert box("--overlay", *options, roots.busybox, "sh", "-c", script) == "refused\nhost\nmore\n"
        assert (source / "file").read_text() == "host\nmore\n"
    finally:
        (source / "file").unlink()
        source.rmdir()


def test_links_of_the_root_do_not_lead_a_bind_out(roots: Roots) -> None:
    (roots.busybox / "out").symlink_to("/../../tmp/remainroot-escaped")
    try:
        script = "cat /out/hosts >/dev/null && readlink -f /out"
        assert box("--overlay", "--bind-ro", "/etc:/out", roots.busybox, "sh", "-c", script) == (
            "/tmp/remainroot-escaped\n"
        )
        assert not Path("/tmp/remainroot-escaped").exists()
    finally:
        (roots.busybox / "out").unlink()


def test_an_overlay_is_thrown_away(roots: Roots) -> None:
    assert box("--overlay", roots.busybox, "sh", "-c", "echo x >/gone; rm /bin/ls; cat /gone") == "x\n"
    assert not (roots.busybox / "gone").exists()
    assert (roots.busybox / "bin/ls").is_symlink()


def test_a_named_overlay_is_kept(roots: Roots) -> None:
    upper = roots.top / "changes"
    upper.mkdir()
    os.chown(upper, UID, UID)
    box(f"--overlay={upper}", roots.busybox, "sh", "-c", "echo x >/kept; chown 7:8 /kept; rm /bin/ls")
    script = "cat /kept; stat -c %u:%g /kept; test -e /bin/ls || echo no ls"
    assert box(f"--overlay={upper}", roots.busybox, "sh", "-c", script) == "x\n7:8\nno ls\n"
    assert not (roots.busybox / "kept").exists()


def test_circumstances(roots: Roots) -> None:
    options = ("--hostname", "alpha", "--env", "A=1", "--env", "B=x=y", "--workdir", "/bin", "--rlimit=nofile=99:100")
    script = 'hostname; echo "$A $B $HOME $PATH"; pwd; ulimit -Sn; ulimit -Hn; env | wc -l'
    out = box(*options, roots.busybox, "sh", "-c", script).splitlines()
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert out[:5] == ["alpha", f"1 x=y /root {path}", "/bin", "99", "100"]


def test_users_are_the_boxs_own(roots: Roots) -> None:
    script = "id -u; id -g; id -G; echo $HOME; chown 0:0 /bin 2>/dev/null || echo refused"
    assert box("--user", "web", roots.busybox, "sh", "-c", script) == "1007\n1008\n1008 1009\n/srv\nrefused\n"
    assert box("--user", "5:web", roots.busybox, "sh", "-c", "id -u; id -g") == "5\n1008\n"


def test_a_network_of_its_own(roots: Roots) -> None:
    out = box("--network", "none", roots.busybox, "sh", "-c", "cat /proc/net/dev; ip addr show lo")
    assert re.findall(r"^ *(\w+):", out, re.MULTILINE)[:1] == ["lo"]
    assert "eth" not in out
    assert "127.0.0.1/8" in out


def test_calls_that_are_refused(roots: Roots) -> None:
    script = "unshare -U true; (echo x | tee /x | cat) && chmod 4755 /x && stat -c %a /x; chroot / true && echo chroot"
    options = ("--overlay", "--deny-syscalls=default,chroot")
    for engine in ("notify", "ptrace"):
        out = box("--engine", engine, *options, roots.busybox, "sh", "-c", script, errors=True, status=1)
        assert out.splitlines() == [
            "unshare: unshare(0x10000000): Operation not permitted",
            "x",
            "4755",
            "chroot: can't change root directory to '/': Operation not permitted",
        ]
    assert box("--overlay", roots.busybox, "sh", "-c", "unshare -U true && chroot / true && echo both") == "both\n"


CALLER = r"""
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	for (int i = 1; i + 2 < argc; i += 3) {
		long nr = strtoul(argv[i], 0, 0), first = strtoul(argv[i + 1], 0, 0), second = strtoul(argv[i + 2], 0, 0);
		printf("%d\n", syscall(nr, first, second, 0, 0, 0, 0) < 0 ? errno : 0);
	}
	return 0;
}
"""
ARGUMENTS = {"unshare": [(0x1000_0000, 0)], "clone": [(0x1000_0011, 0)], "clone3": [(0, 0)],
             "ioctl": [(0, 0x5412), (0, 0x541C)]}  # fmt: skip


@pytest.mark.parametrize(("abi", "option"), [("x86_64", "-m64"), ("x32", "-m64"), ("i386", "-m32")])
def test_every_dangerous_call_is_refused(roots: Roots, tmp_path: Path, abi: str, option: str) -> None:
    [numbers] = [one.numbers for one in abis.native() if one.name == abi]
    words, expected = [], []
    for name in (*confine.DANGEROUS, "clone3"):
        for first, second in ARGUMENTS.get(name, [(0, 0)]):
            # The kernel looks at 32 bits of a request: more of them are no way around.
            for high in (0, 1 << 32) if name == "ioctl" and option == "-m64" else (0,):
                if name in numbers:
                    words += [str(numbers[name]), str(first), str(second | high)]
                    expected.append(errno.ENOSYS if name == "clone3" else errno.EPERM)
    program = tmp_path / "caller"
    subprocess.run(
        ["gcc", option, "-w", "-O1", "-static", "-x", "c", "-o", str(program), "-"], input=CALLER, text=True, check=True
    )
    shutil.copy(program, roots.busybox / "bin/caller")
    try:
        out = box("--deny-syscalls", roots.busybox, "caller", *words).split()
    finally:
        (roots.busybox / "bin/caller").unlink()
    assert list(map(int, out)) == expected


# ---------------------------------------------------------------- archives


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.zst"])
def test_a_tar_file(roots: Roots, suffix: str) -> None:
    script = "stat -c '%n %u:%g %a' /etc/secret /bin/tool /var/spool; stat -c '%F %t,%T' /nodes/null; readlink /link"
    assert box(roots.tar(suffix), "sh", "-c", script).splitlines() == [
        "/etc/secret 0:42 640", "/bin/tool 33:34 6755", "/var/spool 8:8 1777", "character special file 1,3",
        "/no/where",
    ]  # fmt: skip


def test_an_archive_stays_inside(roots: Roots) -> None:
    """Names with .., and names below a link that leads out."""
    bad = roots.top / "bad.tar"
    with tarfile.open(roots.tar("tar")) as good, tarfile.open(bad, "w") as tar:
        for member in good:
            tar.addfile(member, good.extractfile(member) if member.isreg() else None)
        for name, target in (("../../escaped-1", ""), ("way", "/../../.."), ("way/escaped-2", "")):
            member = tarfile.TarInfo(name)
            if target:
                member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    bad.chmod(0o644)
    assert box(bad, "sh", "-c", "ls -d /escaped*") == "/escaped-1\n/escaped-2\n"


def test_an_image_layout(roots: Roots) -> None:
    layout = make_layout(roots.top / "layout", roots)
    assert box(f"{layout}:first", "--") == "from the image: 1 /etc 33\n"
    assert "has 2 images: name one" in failing(layout)
    out = box(f"{layout}:first", "--", "sh", "-c", "ls /data /opaque; stat -c %u:%g /data/new")
    assert out.split() == ["/data:", "new", "old", "/opaque:", "only", "5:6"]
    assert box(f"{layout}:second", "--", "cat", "/data/gone") == "gone\n"
    assert "has no image 'third'; it has first, second" in failing(f"{layout}:third")
    blob = max((layout / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    with blob.open("r+b") as file:
        file.seek(1000)
        file.write(b"damage")
    assert "is damaged" in failing(f"{layout}:second", "--", "true")


# ---------------------------------------------------------------- ends


def test_exit_status(roots: Roots) -> None:
    assert box(roots.busybox, "sh", "-c", "exit 7", status=7) == ""
    assert box(roots.busybox, "sh", "-c", "kill -TERM $$", status=-signal.SIGTERM) == ""


def test_signals_reach_cmd(roots: Roots) -> None:
    process = start_box(roots.busybox, "sh", "-c", "trap 'echo got; exit 3' TERM; echo up; while :; do sleep 0.1; done")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.terminate()
    assert process.stdout.read() == "got\n"
    assert process.wait(20) == 3
    process.stdout.close()


def test_signals_to_pid_1_reach_cmd(roots: Roots) -> None:
    script = "trap 'echo got; exit 3' TERM; kill -TERM 1; while :; do sleep 0.1; done"
    assert box(roots.busybox, "sh", "-c", script, status=3) == "got\n"


def test_pid_1_reaps(roots: Roots) -> None:
    script = "(sleep 0.1 & ) ; (true & ) ; sleep 0.6; grep -c '^State:.Z' /proc/[0-9]*/status | grep -c ':1$'"
    assert box(roots.busybox, "sh", "-c", script, status=1) == "0\n"


def test_what_cmd_leaves_behind_ends_with_it(roots: Roots) -> None:
    box(roots.busybox, "sh", "-c", "setsid sleep 87651 >/dev/null 2>&1 & sleep 0.2")
    until(lambda: not running_with("87651"), 5)


@pytest.mark.parametrize("victim", ["front", "supervisor", "init"])
@pytest.mark.parametrize("engine", ["notify", "ptrace"])
def test_nothing_is_left_after_a_kill(roots: Roots, victim: str, engine: str) -> None:
    mark = f"8765{('front', 'supervisor', 'init').index(victim)}{len(engine)}"
    script = f"echo up; sleep {mark} & sleep {mark}"
    process = start_box("--engine", engine, "--overlay", roots.busybox, "sh", "-c", script)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    [supervisor] = children(process.pid)
    init = min(children(supervisor))
    os.kill({"front": process.pid, "supervisor": supervisor, "init": init}[victim], signal.SIGKILL)
    process.wait(20)
    process.stdout.close()
    until(lambda: not running_with(mark) and not is_running(supervisor) and not is_running(init), 10)
    time.sleep(0.1)
    assert not running_with(mark)


def test_the_terminal_is_cmds(roots: Roots) -> None:
    command = " ".join([*as_user(), "box", str(roots.busybox), "sh", "-c", "'tty <&1; test -t 0 && echo tty'"])
    result = subprocess.run(
        ["script", "-qec", command, "/dev/null"], capture_output=True, text=True, timeout=60, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert result.stdout.replace("\r", "").splitlines()[-2:] == ["/dev/console", "tty"]


# ---------------------------------------------------------------- what cannot be


def test_a_missing_loader_is_named(roots: Roots) -> None:
    program = roots.busybox / "bin/dynamic"
    program.write_bytes(Path("/bin/true").read_bytes())
    program.chmod(0o755)
    try:
        text = failing(roots.busybox, "dynamic", status=127)
        assert re.search(r"dynamic needs the loader /lib\S*ld-linux\S*, which does not exist here", text)
    finally:
        program.unlink()


def test_a_missing_library_is_named(roots: Roots) -> None:
    """By the loader, if there is one."""
    elf = subprocess.run(["readelf", "-l", "/bin/true"], capture_output=True, text=True, check=True).stdout
    loader = re.findall(r"interpreter: (/[^]]*)", elf)[0]
    place = roots.busybox / loader.lstrip("/")
    place.parent.mkdir(exist_ok=True)
    shutil.copy(loader, place)
    shutil.copy("/bin/true", roots.busybox / "bin/dynamic")
    try:
        out = box(roots.busybox, "dynamic", status=127, errors=True)
        assert "error while loading shared libraries: libc.so.6" in out
    finally:
        shutil.rmtree(place.parent)
        (roots.busybox / "bin/dynamic").unlink()


def test_a_missing_interpreter_is_named(roots: Roots) -> None:
    program = roots.busybox / "bin/script"
    program.write_text("#!/usr/bin/perl -w\n")
    program.chmod(0o755)
    try:
        assert "script needs the interpreter /usr/bin/perl, which does not exist here" in failing(
            roots.busybox, "script", status=127
        )
    finally:
        program.unlink()


@pytest.mark.parametrize(
    ("arguments", "message", "status"),
    [
        ([], "no ROOTFS given", 125),
        (["/no/such", "true"], "the root /no/such does not exist", 125),
        (["--frob", "ROOT", "true"], "unknown option --frob", 125),
        (["ROOT"], "no CMD given", 125),
        (["ROOT", "nonesuch"], "nonesuch: command not found", 127),
        (["ROOT", "/etc"], "/etc is not a regular file", 126),
        (["--bind", "/etc", "ROOT", "true"], "option --bind is FROM:TO", 125),
        (["--bind", "/no/such:/x", "ROOT", "true"], "cannot bind /no/such: it does not exist", 125),
        (["--bind", "/etc:/bin/busybox", "ROOT", "true"], "cannot bind /etc to /bin/busybox: Not a directory", 125),
        (["--tmpfs", "tmp", "ROOT", "true"], "option --tmpfs needs an absolute path", 125),
        (["--network", "bridge", "ROOT", "true"], "option --network is one of host, none, not 'bridge'", 125),
        (["--user", "nobody2", "ROOT", "true"], "there is no user 'nobody2' in this root's /etc/passwd", 125),
        (["--user", "0:nogrp", "ROOT", "true"], "there is no group 'nogrp' in this root's /etc/group", 125),
        (["--user", "4294967295", "ROOT", "true"], "4294967295 is no uid", 125),
        (["--workdir", "/nowhere", "ROOT", "true"], "cannot enter the directory /nowhere: No such file", 125),
        (["--rlimit", "nofiles=3", "ROOT", "true"], "option --rlimit is NAME=SOFT[:HARD]", 125),
        (["--rlimit", "nofile=many", "ROOT", "true"], "'many' is no limit", 125),
        (["--env", "=x", "ROOT", "true"], "option --env is NAME=VALUE or NAME", 125),
        (["--hostname", "x" * 65, "ROOT", "true"], "option --hostname needs a name of 1 to 64 bytes", 125),
        (["--deny-syscalls=bpf,frobnicate", "ROOT", "true"], "no call 'frobnicate' is known", 125),
        (["--overlay=/proc/1/fd/x", "ROOT", "true"], "cannot keep changes in /proc/1/fd/x", 125),
        (["ROOT:latest", "true"], "is no OCI image layout, so it has no image 'latest'", 125),
        (["/etc/passwd", "true"], "/etc/passwd is neither a directory nor a tar file", 125),
    ],
)
def test_mistakes_are_named(roots: Roots, arguments: list[str], message: str, status: int) -> None:
    words = [word.replace("ROOT", str(roots.busybox)) for word in arguments]
    assert message in failing(*words, status=status)


@pytest.mark.usefixtures("roots")
def test_not_inside_another() -> None:
    result = subprocess.run(
        [*as_user(), "--", *as_user()[-2:], "box", "/", "true"], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 125
    assert "not inside another remainroot" in result.stderr
