# SPDX-License-Identifier: GPL-2.0-or-later
"""User namespaces: the rules of id maps, held against the kernel's own."""

from __future__ import annotations

import copy
import errno
import os
import pickle
import random
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from remainroot.credentials import ALL_CAPS, CAP_CHOWN, CAP_KILL, CAP_SETFCAP, KEEP, ROOT, user
from remainroot.id_maps import IdMapFiles, may_map
from remainroot.namespaces import INITIAL, NO_ID, IdMap, Namespace, parse_map
from tests.oracle.runner import why_no_oracle

if TYPE_CHECKING:
    from collections.abc import Iterator

needs_oracle = pytest.mark.skipif(why_no_oracle() is not None, reason="real root with every id mapped is the oracle")
KINDS = {"uids": "uid_map", "gids": "gid_map"}


@contextmanager
def somebody(*prefix: str) -> Iterator[int]:
    """The pid of a process in a user namespace of its own, to be mapped."""
    with subprocess.Popen(
        [*prefix, "unshare", "--user", "sh", "-c", "echo; exec sleep 60"], stdout=subprocess.PIPE
    ) as made:
        assert made.stdout is not None
        made.stdout.readline()
        yield made.pid
        made.send_signal(signal.SIGKILL)


def write(path: str, text: bytes) -> int:
    """The errno of writing it at once, or 0."""
    try:
        fd = os.open(path, os.O_WRONLY)
        try:
            os.write(fd, text)
        finally:
            os.close(fd)
    except OSError as error:
        return error.errno or 0
    return 0


def random_map(rng: random.Random) -> bytes:
    numbers = (0, 0, 1, 5, 999, 1000, 1001, 1100, 65534, 2**31, 2**32 - 2, 2**32 - 1, 2**32, 2**32 + 5)
    lines = []
    for _ in range(rng.choice((1, 1, 1, 2, 3, 340, 341))):
        count = rng.choice((1, 1, 10, 100, 0, 2**32 - 1))
        words = [str(rng.choice(numbers)), str(rng.choice(numbers)), str(count)]
        if rng.random() < 0.1:
            words[rng.randrange(3)] = rng.choice(("", "x", "-1", "0x1", "1 1", "+1"))
        lines.append(rng.choice((" ", "\t", "  ")).join(words))
    if len(lines) > 3:
        lines = [f"{index} {index} 1" for index in range(len(lines))]
    return ("\n".join(lines) + rng.choice(("", "\n", "\n\n", " ", "\0"))).encode()


def ours(namespace: Namespace, kind: str, text: bytes) -> int:
    try:
        namespace.put_map(kind, parse_map(text))
    except OSError as error:
        return error.errno or 0
    return 0


@needs_oracle
@pytest.mark.parametrize("seed", range(3))
def test_maps_are_taken_as_the_kernel_takes_them(seed: int) -> None:
    rng = random.Random(seed)
    taken = 0
    for _ in range(40):
        text, kind = random_map(rng), rng.choice(tuple(KINDS))
        namespace = Namespace(INITIAL, 0)
        with somebody() as pid:
            path = f"/proc/{pid}/{KINDS[kind]}"
            error = write(path, text)
            told = [tuple(map(int, line.split())) for line in Path(path).read_text("ascii").splitlines()]
        assert ours(namespace, kind, text) == error, text[:200]
        assert sorted(getattr(namespace, kind).extents) == sorted(told), text[:200]
        taken += not error
    assert taken > 5


@needs_oracle
def test_a_map_within_a_map_has_what_is_there() -> None:
    """The lower ids are the parent's, and must be there as a whole."""
    outer = Namespace(INITIAL, 0)
    outer.put_map("uids", [(0, 1000, 10), (10, 5000, 10)])
    for first, count in ((0, 1), (9, 1), (0, 10), (5, 10), (12, 8), (12, 9), (30, 1)):
        inner = Namespace(outer, 1000)
        code = (
            "import os, sys, subprocess\n"
            "made = subprocess.Popen(['unshare', '--user', 'sh', '-c', 'echo; exec sleep 60'], stdout=-1)\n"
            "made.stdout.readline()\n"
            "try: os.write(os.open(f'/proc/{made.pid}/uid_map', os.O_WRONLY), sys.argv[1].encode()); print(0)\n"
            "except OSError as error: print(error.errno)\n"
            "made.kill(); made.wait()\n"
        )
        script = 'echo; read line; exec setpriv --reuid 0 --regid 0 --clear-groups /usr/bin/python3 -c "$0" "$1"'
        text = f"0 {first} {count}"
        with subprocess.Popen(
            ["unshare", "--user", "--keep-caps", "sh", "-c", script, code, text],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as made:  # fmt: skip
            assert made.stdout is not None
            assert made.stdin is not None
            made.stdout.readline()
            for name in KINDS.values():
                assert write(f"/proc/{made.pid}/{name}", b"0 1000 10\n10 5000 10") == 0
            made.stdin.write("\n")
            made.stdin.flush()
            error = int(made.stdout.readline())
        assert ours(inner, "uids", text.encode()) == error, text
        if not error:
            assert inner.uids.down(0) == outer.uids.down(first)


def test_ids_go_in_and_out() -> None:
    ids = IdMap([(0, 1000, 1), (5, 100000, 10)])
    assert [ids.down(number) for number in (0, 1, 5, 14, 15)] == [1000, NO_ID, 100000, 100009, NO_ID]
    assert [ids.up(number) for number in (1000, 0, 100009)] == [0, NO_ID, 14]
    assert [ids.shown(number) for number in (1000, 0)] == [0, 65534]
    assert ids.named(NO_ID) == NO_ID
    with pytest.raises(OSError, match="Invalid") as refused:
        ids.named(1)
    assert refused.value.errno == errno.EINVAL


def nested() -> Namespace:
    namespace = Namespace(INITIAL, 1000)
    namespace.put_map("uids", [(0, 1000, 1), (1, 100000, 1000)])
    namespace.put_map("gids", [(0, 1000, 1), (1, 100000, 1000)])
    return namespace


def test_a_map_is_set_once() -> None:
    with pytest.raises(PermissionError):
        nested().put_map("uids", [(0, 0, 1)])


def test_who_enters_may_everything_there_and_nothing_outside() -> None:
    creds = user(1000, 1000).enter(nested())
    assert creds.effective == creds.permitted == creds.bounding == ALL_CAPS
    assert creds.capable_inside(CAP_CHOWN)
    assert not creds.capable(CAP_CHOWN)
    assert creds.capable_of(CAP_CHOWN, 100005, 1000)
    assert not creds.capable_of(CAP_CHOWN, 0, 1000)
    assert creds.owns(100005)
    assert not creds.owns(0)


def test_root_is_root_as_far_as_its_namespace_goes() -> None:
    creds = user(1000, 1000).enter(nested())
    dropped = creds.setuid(100004)
    assert not dropped.effective
    assert dropped.namespace is creds.namespace
    assert creds.setresuid(KEEP, 100004, KEEP).setresuid(KEEP, 1000, KEEP).effective == ALL_CAPS


def test_who_made_a_namespace_may_everything_in_it() -> None:
    namespace = nested()
    assert user(1000, 1000).capable_in(CAP_KILL, namespace)
    assert not user(1001, 1000).capable_in(CAP_KILL, namespace)
    assert ROOT.capable_in(CAP_KILL, namespace)
    deeper = Namespace(namespace, 100000)
    assert user(1000, 1000).capable_in(CAP_KILL, deeper)
    assert user(1000, 1000).enter(namespace).capable_in(CAP_KILL, deeper)
    assert not user(1000, 1000).enter(deeper).capable_in(CAP_KILL, namespace)


def test_groups_are_set_where_there_are_any_and_they_are_allowed() -> None:
    namespace = Namespace(INITIAL, 1000)
    creds = user(1000, 1000).enter(namespace)
    assert not creds.may_set_groups()
    namespace.put_map("gids", [(0, 1000, 1)])
    assert creds.may_set_groups()
    namespace.setgroups = False
    assert not creds.may_set_groups()
    assert not Namespace(namespace, 1000).setgroups


def test_capabilities_of_files_count_for_roots_around() -> None:
    namespace = nested()
    assert [namespace.owns(uid) for uid in (0, 1000, 100000)] == [True, True, False]
    assert [INITIAL.owns(uid) for uid in (0, 1000)] == [True, False]


def test_copies_are_in_the_same_namespace() -> None:
    assert pickle.loads(pickle.dumps(INITIAL)) is INITIAL
    creds = user(1, 2).enter(nested())
    assert copy.copy(creds) == creds
    assert copy.deepcopy(creds).namespace.uids.extents == creds.namespace.uids.extents
    assert "namespace" in repr(creds)


# ---------------------------------------------------------------- who may write a map


def test_oneself_may_be_mapped_and_nobody_else() -> None:
    namespace, creds = Namespace(INITIAL, 1000), user(1000, 1000)
    assert may_map(creds, namespace, "uids", [(0, 1000, 1)])
    assert may_map(creds.enter(namespace), namespace, "uids", [(77, 1000, 1)])
    assert not may_map(creds, namespace, "uids", [(0, 1001, 1)])
    assert not may_map(creds, namespace, "uids", [(0, 1000, 2)])
    assert not may_map(creds, namespace, "uids", [(0, 1000, 1), (1, 1000, 1)])
    assert not may_map(user(1001, 1001), namespace, "uids", [(0, 1001, 1)])


def test_groups_are_mapped_by_oneself_without_setgroups_only() -> None:
    namespace, creds = Namespace(INITIAL, 1000), user(1000, 50)
    assert not may_map(creds, namespace, "gids", [(0, 50, 1)])
    namespace.setgroups = False
    assert may_map(creds, namespace, "gids", [(0, 50, 1)])
    assert not may_map(creds, namespace, "gids", [(0, 1000, 1)])


def test_root_may_map_anybody_and_itself_with_cap_setfcap() -> None:
    namespace = Namespace(INITIAL, 0)
    assert may_map(ROOT, namespace, "uids", [(0, 100000, 65536)])
    assert may_map(ROOT, namespace, "uids", [(0, 0, 1)])
    without = ROOT.replace(effective=ALL_CAPS & ~(1 << CAP_SETFCAP))
    assert not may_map(without, namespace, "uids", [(0, 0, 1)])
    assert may_map(without, namespace, "gids", [(0, 0, 1)])
    lesser = Namespace(INITIAL, 0, may_map_root=False)
    assert not may_map(ROOT.enter(lesser), lesser, "uids", [(0, 0, 1)])


@pytest.fixture
def files() -> Iterator[IdMapFiles]:
    made = IdMapFiles()
    yield made
    made.close()


def test_what_is_written_counts_from_the_next_look_on(files: IdMapFiles) -> None:
    namespace = Namespace(INITIAL, 1000)
    fd = files.add(os.O_WRONLY, namespace, b"uid_map", user(1000, 1000))
    files.settle()
    assert not namespace.uids.extents
    os.write(fd, b"0 1000 1\n")
    os.close(fd)
    files.settle()
    assert namespace.uids.extents == ((0, 1000, 1),)


@pytest.mark.parametrize("text", [b"0 0 1", b"nonsense", b"0 1000 2"])
def test_what_the_kernel_would_refuse_is_ignored(files: IdMapFiles, text: bytes) -> None:
    namespace = Namespace(INITIAL, 1000)
    fd = files.add(os.O_WRONLY, namespace, b"uid_map", user(1000, 1000))
    os.write(fd, text)
    os.close(fd)
    files.settle()
    assert not namespace.uids.extents


def test_setgroups_is_denied_before_there_are_groups_only(files: IdMapFiles) -> None:
    for mapped in (False, True):
        namespace = nested() if mapped else Namespace(INITIAL, 1000)
        fd = files.add(os.O_RDWR, namespace, b"setgroups", user(1000, 1000))
        os.write(fd, b"deny\n")
        os.close(fd)
        files.settle()
        assert namespace.setgroups is mapped


def test_many_files_do_not_pile_up(files: IdMapFiles) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(200):
        os.close(files.add(os.O_WRONLY, Namespace(INITIAL, 1), b"uid_map", ROOT))
    assert len(os.listdir("/proc/self/fd")) - before <= 64
