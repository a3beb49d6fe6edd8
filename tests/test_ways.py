# SPDX-License-Identifier: GPL-2.0-or-later
"""With `--strict`: the ways that the compiled loop knows a user may go, and those that are the guards' to judge."""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from remainroot import acl, kernel
from remainroot.settings import Settings
from remainroot.store.base import Owner
from remainroot.store.durable import DurableStore
from remainroot.store.memory import memory_store
from remainroot.world import World
from tests.test_quick import Bench, drop, override

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from remainroot.store.base import Store

pytestmark = [
    pytest.mark.skipif(kernel.compiled is None, reason="there is no compiled half, or REMAINROOT_PURE is set"),
    pytest.mark.usefixtures("plain_again"),
]

USER = 33

@pytest.fixture
def top() -> Iterator[Path]:
    """A directory that everybody may search, as all above it."""
    made = Path(tempfile.mkdtemp(prefix="remainroot-ways-", dir="/var/tmp"))
    made.chmod(0o755)
    for name in ("open", "open/deep", "theirs", "mine", "sticky"):
        (made / name).mkdir()
        (made / name / "file").write_text("text")
    for name in ("theirs", "mine"):
        (made / name).chmod(0o700)
    (made / "sticky").chmod(0o1777)
    (made / "open/secret").write_text("text")
    (made / "open/secret").chmod(0o640)
    (made / "open/to-theirs").symlink_to("../theirs")
    (made / "open/to-deep").symlink_to(made / "open/deep")
    (made / "open/nowhere").symlink_to("absent")
    (made / "sticky/link").symlink_to("file")
    before = Path.cwd()
    os.chdir(made)
    yield made
    os.chdir(before)
    shutil.rmtree(made)


def bench_of(top: Path, *, strict: bool, store: Store) -> Bench:
    """A user's, who owns the directory `mine` and what is in it."""
    settings = Settings()
    settings.strict = strict
    world = World(settings, store)
    drop(world, uid=USER)
    for name in ("mine", "mine/file"):
        override(world, top / name, Owner(USER, USER))
    return Bench(world)


@pytest.fixture(params=["memory", "durable"])
def bench(request: pytest.FixtureRequest, top: Path, tmp_path: Path) -> Bench:
    store = memory_store() if request.param == "memory" else DurableStore(f"{tmp_path}/owners.db")
    return bench_of(top, strict=True, store=store)


def handed_over(bench: Bench, steps: dict[str, Callable[[], object]]) -> list[str]:
    """Those steps of which some call was."""
    found = bench.run(*steps.values())
    return [name for name, calls in zip(steps, found, strict=True) if calls]


def listed(path: Path) -> None:
    """Give it an access list that keeps one user out."""
    entries = ((acl.USER_OBJ, 7, -1), (acl.USER, 0, 5), (acl.GROUP_OBJ, 5, -1), (acl.MASK, 5, -1), (acl.OTHER, 5, -1))
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    os.setxattr(path, acl.ACCESS, value)


def test_where_everybody_may_go_nobody_is_asked(bench: Bench, top: Path) -> None:
    directory = os.open(top / "open", os.O_RDONLY)
    steps: dict[str, Callable[[], object]] = {
        "absolute": lambda: os.stat(top / "open/deep/file"),
        "relative": lambda: os.stat("open/deep/file"),
        "one name": lambda: os.stat("open"),
        "below a descriptor": lambda: os.stat("deep/file", dir_fd=directory),
        "descriptor": lambda: os.fstat(directory),
        "dots": lambda: os.stat("open/./deep/../file"),
        "slashes": lambda: os.stat(f"{top}//open///deep//"),
        "root": lambda: os.stat("/"),
        "link in the way": lambda: os.stat("open/to-deep/file"),
        "link": lambda: os.lstat("open/to-deep"),
        "link with a slash": lambda: os.lstat("open/to-deep/"),
        "link to nowhere": lambda: os.stat("open/nowhere"),
        "absent": lambda: os.stat("open/absent"),
        "absent directory": lambda: os.stat("open/absent/file"),
        "what may not be read": lambda: os.stat("open/secret"),
        "one's own": lambda: os.open("mine/file", os.O_RDONLY),
        "open": lambda: os.open("open/file", os.O_RDONLY),
        "open by a link": lambda: os.open("open/to-deep/file", os.O_RDONLY),
        "open a link": lambda: os.open("open/to-deep", os.O_RDONLY | os.O_NOFOLLOW),
        "open a directory": lambda: os.open("open", os.O_RDONLY | os.O_DIRECTORY),
        "absent to open": lambda: os.open("open/absent", os.O_RDONLY),
        "readlink": lambda: os.readlink("open/to-deep"),
        "chdir": lambda: os.chdir("open/deep"),
        "attribute": lambda: os.getxattr(top / "open/file", "user.x"),
        "attributes": lambda: os.listxattr(top / "open/file"),
        "file in a sticky directory": lambda: os.stat(top / "sticky/file"),
    }
    by_store = [] if bench.world.store.table is not None else ["link", "open a link"]  # a link carries nothing itself
    assert handed_over(bench, steps) == by_store


def test_elsewhere_the_guard_is(bench: Bench, top: Path) -> None:
    listed(top / "open/deep")
    descriptor = os.open("open/secret", os.O_RDONLY)
    steps: dict[str, Callable[[], object]] = {
        "directory of others": lambda: os.stat("theirs/file"),
        "absent there": lambda: os.stat("theirs/absent"),
        "back from there": lambda: os.stat("theirs/../open"),
        "link to there": lambda: os.stat("open/to-theirs/file"),
        "access list on the way": lambda: os.stat("open/deep/file"),
        "link in a sticky directory": lambda: os.stat("sticky/link"),
        "what may not be read": lambda: os.open("open/secret", os.O_RDONLY),
        "what may not be written": lambda: os.open("open/file", os.O_WRONLY),
        "attribute of it": lambda: os.getxattr("open/secret", "user.x"),
        "attribute by descriptor": lambda: os.getxattr(descriptor, "user.x"),
        "chdir": lambda: os.chdir("theirs"),
        "procfs": lambda: os.stat("/proc/self/status"),
        "through procfs": lambda: os.stat("/proc/self/root/etc"),
        "no directory": lambda: os.stat("open/file/x"),
        "a new file": lambda: os.open("open/new", os.O_CREAT | os.O_WRONLY),
        "unlink": lambda: os.unlink("open/absent"),
        "one's own, of a mode without it": lambda: os.open("mine/closed", os.O_RDONLY),
    }
    (top / "mine/closed").touch()
    (top / "mine/closed").chmod(0o044)
    override(bench.world, top / "mine/closed", Owner(USER, USER))
    assert handed_over(bench, steps) == list(steps)


@pytest.mark.parametrize("strict", [False, True])
def test_what_may_be_done_with_a_file(top: Path, strict: bool) -> None:
    """With and without --strict: access(2) is asked what the user may."""
    bench = bench_of(top, strict=strict, store=memory_store())
    certain: dict[str, Callable[[], object]] = {
        "exists": lambda: os.access("open/deep/file", os.F_OK),
        "read": lambda: os.access("open/deep/file", os.R_OK),
        "search": lambda: os.access("open/deep", os.R_OK | os.X_OK),
        "one's own": lambda: os.access("mine/file", os.R_OK | os.W_OK),
        "absent": lambda: os.access("open/absent", os.W_OK),
        "effective": lambda: os.access("mine/file", os.W_OK, effective_ids=True),
        "link": lambda: os.access("open/to-deep/file", os.R_OK),
    }
    unsure: dict[str, Callable[[], object]] = {
        "write": lambda: os.access("open/file", os.W_OK),
        "execute": lambda: os.access("open/file", os.X_OK),
        "there": lambda: os.access("theirs/file", os.F_OK),
        "secret": lambda: os.access("open/secret", os.R_OK),
        "procfs": lambda: os.access("/proc/self/status", os.R_OK),
    }
    assert handed_over(bench, certain | unsure) == list(unsure)


def test_a_list_is_seen_as_soon_as_it_is_there(bench: Bench, top: Path) -> None:
    """That there is none is remembered of what has not been changed lately, and not longer than it is unchanged."""
    deep = top / "open/deep"

    def settle() -> None:
        import time

        time.sleep(2.5)

    steps: dict[str, Callable[[], object]] = {
        "settled": settle,
        "asked": lambda: os.stat("open/deep/file"),
        "asked again": lambda: os.stat("open/deep/file"),
    }
    assert handed_over(bench, steps) == []
    listed(deep)
    assert handed_over(bench, {"asked": lambda: os.stat("open/deep/file")}) == ["asked"]


@pytest.mark.parametrize("uid", [0, USER])
def test_a_device_node_is_no_file_to_read(top: Path, uid: int) -> None:
    """What stands for it is one; to root, too, whom no guard is there for."""
    settings = Settings()
    settings.strict = True
    world = World(settings, memory_store())
    if uid:
        drop(world, uid=uid)
    (top / "open/node").touch()
    override(world, top / "open/node", Owner(0, 0, 0o20666, os.makedev(1, 5)))
    steps: dict[str, Callable[[], object]] = {
        "read": lambda: os.open("open/node", os.O_RDONLY),
        "read another": lambda: os.open("open/file", os.O_RDONLY),
    }
    assert handed_over(Bench(world), steps) == ["read"]
