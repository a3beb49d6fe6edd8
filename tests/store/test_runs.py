# SPDX-License-Identifier: GPL-2.0-or-later
"""Lasting stores under whole runs: the next run, two at once, killed ones, full disks, other mounts."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from remainroot.store.durable import CROWDED as CROWDED_FILE
from tests.launching import (
    PLACE,
    REMAINROOT,
    TIMEOUT,
    environment,
    in_turn,
    is_running,
    remainroot,
    start,
    until,
)
from tests.oracle.runner import descendants

if TYPE_CHECKING:
    from pathlib import Path

STORES = ("durable", "durable+override_stat", "sqlite")


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"--store={request.param}:{tmp_path}/state/owners.db"


def sh(store: str, script: str, cwd: Path) -> str:
    done = remainroot(store, "--", "sh", "-ec", script, cwd=cwd)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


MAKE = """
mkdir -p t/d t/s; cd t; echo x > f; ln -s f l; mkfifo p; mknod null c 1 3; mknod disk b 8 1; echo y > g
chown 1:2 f d; chown -h 3:4 l; chown 5:6 p; chown 7:8 null; chown 0:9 s; chmod 2775 s; chown 10:11 g; chmod 6755 g
"""
SHOW = "cd t; stat -c '%n %u:%g %f %t,%T' * . | LC_ALL=C sort; stat -c %u:%g d/. s/"


def test_the_next_run_sees_all_of_it(store: str, tmp_path: Path) -> None:
    first = sh(store, MAKE + SHOW.removeprefix("cd t; "), tmp_path)
    assert "null 7:8 21a4 1,3" in first
    assert "g 10:11 8ded" in first
    assert "s 0:9 45fd" in first
    assert sh(store, SHOW, tmp_path) == first


def test_copies_carry_owners_as_root_s_do(store: str, tmp_path: Path) -> None:
    sh(store, MAKE, tmp_path)
    want = sh(store, SHOW, tmp_path)
    again = "{ " + SHOW + "; }"
    copied = sh(store, "cp -a t u; mv t first; mv u t; " + again, tmp_path)
    assert copied == want
    packed = sh(store, "tar -cf t.tar t; rm -r t; tar -xf t.tar; " + again, tmp_path)
    assert packed == want
    moved = sh(store, 'b=/dev/shm/t.$$; trap "rm -rf $b" EXIT; mv t $b; mv $b t; ' + again, tmp_path)
    assert moved == want


def test_a_set_gid_directory_of_an_earlier_run_passes_its_group_on(store: str, tmp_path: Path) -> None:
    sh(store, MAKE, tmp_path)
    assert sh(store, "cd t/s; touch a; mkdir b; stat -c %u:%g:%A a b", tmp_path) == "0:9:-rw-r--r--\n0:9:drwxr-sr-x\n"


def test_two_supervisors_see_each_other(store: str, tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    (tmp_path / "l").symlink_to("f")
    script = 'while read -r what; do eval "$what"; stat -c %u:%g f l; done'
    runs = [start(store, "--", "sh", "-c", script, cwd=tmp_path, stdin=subprocess.PIPE) for _ in range(2)]

    def ask(run: subprocess.Popen[str], what: str) -> list[str]:
        assert run.stdin is not None
        assert run.stdout is not None
        run.stdin.write(what + "\n")
        run.stdin.flush()
        return [run.stdout.readline().strip() for _ in range(2)]

    try:
        one, two = runs
        assert ask(one, ":") == ask(two, ":") == ["0:0", "0:0"]
        assert ask(one, "chown -h 1:2 f l") == ["1:2", "1:2"]
        assert ask(two, ":") == ["1:2", "1:2"]
        assert ask(two, "chown -h 3 f l") == ["3:2", "3:2"]
        assert ask(one, ":") == ["3:2", "3:2"]
        assert ask(two, "chown -h 0:0 f l") == ask(one, ":") == ["0:0", "0:0"]
    finally:
        for run in runs:
            run.communicate(timeout=20)


CHANGES = """
i=$1; while :; do
  : > f$i; ln -s x l$i; mknod n$i c 1 $i
  chown -h $((i + 1)):$((i + 2)) f$i l$i n$i && echo $i
  i=$((i + 1))
done"""
KINDS = {"f": "regular empty file", "l": "symbolic link", "n": "character special file"}


def kill_at_random(store: str, where: Path, rounds: int) -> None:
    """Every process is killed at random moments; each owner that CMD was told of is there afterwards."""
    rng = random.Random(rounds)
    for round_ in range(rounds):
        first = round_ * 10000
        told = where / f"told{round_}"
        with told.open("wb") as out:
            run = start(store, "--", "sh", "-c", CHANGES, "sh", str(first), cwd=where, stdout=out)
        until(lambda told=told: told.stat().st_size)  # type: ignore[misc]
        time.sleep(rng.random() / 3)
        for pid in rng.sample(pids := [run.pid, *descendants(run.pid)], len(pids)):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        run.wait(timeout=20)
        until(lambda pids=pids: not any(map(is_running, pids)))  # type: ignore[misc]
        done = [int(line) for line in told.read_text().split("\n")[:-1]]
        names = " ".join(f"{kind}{i}" for i in done for kind in "fln")
        shown = sh(store, f"stat -c '%n %u:%g %F' {names}", where).splitlines()
        assert sh(store, "stat -c %F n*", where) == f"{KINDS['n']}\n" * len(list(where.glob("n*"))), "half a device"
        assert shown == [f"{kind}{i} {i + 1}:{i + 2} {KINDS[kind]}" for i in done for kind in "fln"]


def test_what_was_acknowledged_survives_kill_9(store: str, tmp_path: Path) -> None:
    kill_at_random(store, tmp_path, 3)


@pytest.mark.slow
def test_what_was_acknowledged_survives_kill_9_many_times(store: str, tmp_path: Path) -> None:
    kill_at_random(store, tmp_path, 100)


def test_many_supervisors_write_at_once(store: str, tmp_path: Path) -> None:
    """None of them fails a call for the others' sake, and all that each was told is there."""
    script = """
    i=0; while [ $i -lt 40 ]; do : > f$1.$i; ln -s x l$1.$i; i=$((i + 1)); done
    for turn in 1 2 3; do chown -h $1:$turn f$1.* l$1.* shared || exit 1; done
    """
    (tmp_path / "shared").symlink_to("x")
    runs = [
        start(store, "--", "sh", "-ec", script, "sh", str(number), cwd=tmp_path, stderr=subprocess.PIPE)
        for number in range(1, 5)
    ]
    for run in runs:
        out, err = run.communicate(timeout=60)
        assert (run.returncode, out, err) == (0, "", "")
    shown = sh(store, "stat -c '%n %u:%g' f*.* l*.*", tmp_path).splitlines()
    assert sorted(shown) == sorted(
        f"{kind}{number}.{i} {number}:3" for kind in "fl" for number in range(1, 5) for i in range(40)
    )


@pytest.mark.parametrize(("kind", "regular"), [("durable", "3:4"), ("sqlite", "0:0")])
def test_a_full_disk_fails_the_call(tmp_path: Path, kind: str, regular: str) -> None:
    """The database's disk is full: ENOSPC for what needs it, nothing half done, and all else goes on."""
    script = f"""
    mount -t tmpfs -o size=128k none {tmp_path}/small
    exec "$@"
    """
    (tmp_path / "small").mkdir()
    inner = """
    i=0; while [ $i -lt 1500 ]; do ln -s x l$i; i=$((i + 1)); done
    i=0; while chown -h 1:2 l$i 2> err; do i=$((i + 1)); [ $i -lt 1500 ] || exit 9; done
    cat err; stat -c %u:%g l0 l$((i - 1)) l$i; chown -h 1:2 l$i || echo again
    touch f; chown 3:4 f 2> /dev/null; stat -c %u:%g f
    setpriv --reuid=5 --clear-groups ln -s x made || test -L made || echo none
    """
    command = [
        "unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", script, "sh",
        *REMAINROOT, f"--store={kind}:{tmp_path}/small/owners.db", "--", "sh", "-c", inner,
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False, timeout=120
    )
    lines = done.stdout.splitlines()
    assert "No space left on device" in lines[0], done
    assert lines[1:] == ["1:2", "1:2", "0:0", "again", regular, "none"]


CROWDED = """
touch a b; mkdir d; i=0; while touch f$i 2>/dev/null; do i=$((i + 1)); done
chown 5:6 a b d f0; stat -c '%n %u:%g %a' a b d f0 f1
chmod 4755 a; setpriv --reuid=5 --clear-groups chmod 604 b; stat -c '%n %u:%g %a' a b
chown 0:0 f0 b; stat -c '%n %u:%g %a' f0 b
rm f1; touch f1; chown 7 a; stat -c '%n %u:%g %a' a f1
chattr +i d 2>/dev/null; lsattr -d d | cut -c 5
"""


@pytest.mark.parametrize(("engine", "pure"), in_turn(("0",), ("1",)))
def test_owners_that_find_no_room_on_their_files(tmp_path: Path, engine: str, pure: str) -> None:
    """The files' disk is full: it takes no attribute more, and gives a file away all the same. Two runs."""
    twice = 'mount -t tmpfs -o nr_inodes=12 none small; cd small; "$@" "$CROWDED"; "$@" "stat -c \'%n %u:%g %a\' *"'

    def shown(place: list[str], *start: str) -> str:
        done = subprocess.run(
            [*place, "--mount", "sh", "-ec", twice, "sh", *start, "sh", "-ec"], cwd=tmp_path, capture_output=True,
            env={**environment(), "REMAINROOT_PURE": pure, "CROWDED": CROWDED}, text=True, check=False, timeout=TIMEOUT,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    (tmp_path / "small").mkdir()
    start = [*REMAINROOT[:-1], engine, f"--store=durable:{tmp_path}/state/owners.db", "--"]
    assert shown([*PLACE], *start) == shown(["unshare"], "env")
    assert (tmp_path / f"state/owners.db{CROWDED_FILE}").exists()


def test_another_mount_is_the_same_tree(tmp_path: Path) -> None:
    """overlayfs, where device numbers and even inode numbers are others after the next mount."""
    for name in ("low", "up", "work", "m"):
        (tmp_path / name).mkdir()
    (tmp_path / "low/a").symlink_to("x")
    (tmp_path / "low/b").symlink_to("x")
    (tmp_path / "low/f").write_text("x")
    run = f"{' '.join(REMAINROOT)} --store=durable:{tmp_path}/owners.db -- sh -ec"
    mount = "mount -t overlay o -o lowerdir=low,upperdir=up,workdir=work,userxattr m"
    script = f"""
    {mount}
    {run} 'cd m; ln -s x c; ln -s x e; chown -h 1:2 a; chown -h 3:4 c; chown 5:6 f; stat -c %n:%u:%g *'
    umount m
    """
    again = f"{mount}; {run} 'cd m; stat -c %n:%u:%g *; mv a z; ln -s x a; stat -c %n:%u:%g a z'"

    def place(script: str) -> str:
        command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", script]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    want = "a:1:2\nb:0:0\nc:3:4\ne:0:0\nf:5:6\n"
    assert place(script) == want
    assert place(again) == want + "a:0:0\nz:1:2\n"
