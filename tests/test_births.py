# SPDX-License-Identifier: GPL-2.0-or-later
"""Files expected from a task's own call are recorded once they are there, and forgotten once they cannot come."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from remainroot.settings import Settings
from remainroot.store.base import Owner
from remainroot.store.memory import MemoryStore
from remainroot.world import World
from tests.store.files import get
from tests.tasking import Task

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAIL = Owner(8, 8)


@pytest.fixture
def world() -> World:
    return World(Settings(), MemoryStore())


@pytest.fixture
def task() -> Iterator[Task]:
    with Task() as made:
        yield made


def expect(world: World, task: Task, directory: Path, name: bytes) -> int:
    """The task is making `name`; the descriptor of its directory."""
    parent = os.open(directory, os.O_PATH)
    world.births.expect(task.tid, parent, name, MAIL)
    return parent


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def test_nothing_is_pending_at_first(world: World) -> None:
    assert not world.births.pending
    world.births.settle(0)


def test_socket_is_recorded_when_it_is_there(world: World, task: Task, tmp_path: Path) -> None:
    parent = expect(world, task, tmp_path, b"socket")
    bind(tmp_path / "socket")
    world.births.settle(0)
    assert get(world.store, tmp_path / "socket") == MAIL
    assert not world.births.pending
    assert not is_open(parent)


def test_question_for_an_owner_settles(world: World, task: Task, tmp_path: Path) -> None:
    expect(world, task, tmp_path, b"socket")
    bind(tmp_path / "socket")
    fd = os.open(tmp_path / "socket", os.O_PATH)
    try:
        assert world.override(fd, os.fstat(fd)) == MAIL
    finally:
        os.close(fd)


def test_not_yet_there_is_waited_for(world: World, task: Task, tmp_path: Path) -> None:
    parent = expect(world, task, tmp_path, b"socket")
    world.births.settle(0)
    assert world.births.pending
    assert is_open(parent)
    bind(tmp_path / "socket")
    world.births.settle(task.tid)
    assert get(world.store, tmp_path / "socket") == MAIL


def test_next_call_of_the_task_ends_the_wait(world: World, task: Task, tmp_path: Path) -> None:
    """Its bind has failed; what somebody else makes there later is not its file."""
    parent = expect(world, task, tmp_path, b"socket")
    world.births.settle(task.tid)
    assert not world.births.pending
    assert not is_open(parent)
    bind(tmp_path / "socket")
    world.births.settle(0)
    assert get(world.store, tmp_path / "socket") is None


def test_task_that_is_gone_makes_nothing_any_more(world: World, tmp_path: Path) -> None:
    with Task() as task:
        parent = expect(world, task, tmp_path, b"socket")
    world.births.settle(0)
    assert not world.births.pending
    assert not is_open(parent)


def test_file_of_a_task_that_is_gone_is_recorded(world: World, tmp_path: Path) -> None:
    with Task() as task:
        expect(world, task, tmp_path, b"socket")
        bind(tmp_path / "socket")
    world.births.settle(0)
    assert get(world.store, tmp_path / "socket") == MAIL


def test_link_is_not_followed(world: World, task: Task, tmp_path: Path) -> None:
    expect(world, task, tmp_path, b"name")
    (tmp_path / "target").touch()
    (tmp_path / "name").symlink_to("target")
    world.births.settle(0)
    assert get(world.store, tmp_path / "target") is None


def test_several_at_once(world: World, task: Task, tmp_path: Path) -> None:
    with Task() as other:
        expect(world, task, tmp_path, b"one")
        expect(world, other, tmp_path, b"two")
        bind(tmp_path / "two")
        world.births.settle(task.tid)
        assert get(world.store, tmp_path / "two") == MAIL
        assert not world.births.pending
