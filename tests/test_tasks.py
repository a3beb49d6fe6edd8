# SPDX-License-Identifier: GPL-2.0-or-later
"""The state of a task is inherited as the kernel inherits credentials, and nothing is kept of those who are gone."""

from __future__ import annotations

import os
import signal
from resource import RLIM_INFINITY, prlimit
from typing import TYPE_CHECKING

import pytest

from remainroot import kernel
from remainroot.credentials import ROOT, user
from remainroot.tasks import (
    DEFAULT_SLACK,
    PLAIN,
    RLIMIT_RTTIME,
    State,
    Tasks,
    children_of,
    parent_of,
    slack_of,
    thread_group,
    thread_ids,
)
from tests.launching import until
from tests.tasking import Task

if TYPE_CHECKING:
    from collections.abc import Iterator

MAIL = State(user(8, 8, (8,)))
NEWS = State(user(9, 9, ()))
GAMES = State(user(5, 60, (1, 2)))
LEAST = 1 << 62


@pytest.fixture
def task() -> Iterator[Task]:
    """A process whose orphans come to us, as they come to the supervisor."""
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    try:
        with Task() as made:
            yield made
    finally:
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 0)


@pytest.fixture
def tasks(task: Task) -> Tasks:
    made = Tasks()
    made.start(task.tid, PLAIN)
    return made


def bury(line: list[int]) -> None:
    """End an orphan, and see it and its lost ancestors off: they have come to us."""
    os.kill(line[-1], signal.SIGKILL)
    for pid in line:
        os.waitpid(pid, 0)


# ---------------------------------------------------------------- one process


def test_everybody_is_plain_at_first(task: Task, tasks: Tasks) -> None:
    assert tasks.untouched
    assert not tasks.mixed
    assert tasks.state(task.tid) is PLAIN
    assert tasks.state(os.getpid()) is PLAIN


def test_what_is_set_is_the_state(task: Task, tasks: Tasks) -> None:
    tasks.set(task.tid, MAIL)
    assert tasks.state(task.tid) == MAIL
    assert not tasks.untouched
    tasks.set(task.tid, NEWS)
    assert tasks.state(task.tid) == NEWS
    tasks.set(task.tid, PLAIN)
    assert tasks.state(task.tid) == PLAIN


def test_start_as_somebody(task: Task) -> None:
    tasks = Tasks()
    tasks.start(task.tid, MAIL)
    assert tasks.state(task.tid) == MAIL
    assert not tasks.untouched


def test_number_stands_in_the_kernel_and_limits_nothing(task: Task, tasks: Tasks) -> None:
    tasks.set(task.tid, MAIL)
    soft, hard = prlimit(task.tid, RLIMIT_RTTIME)
    assert hard == RLIM_INFINITY
    assert tasks.numbered(soft - tasks.tag) == MAIL
    # Microseconds: more than a hundred thousand years.
    assert soft > 100_000 * 365 * 86400 * 1_000_000


@pytest.mark.parametrize("limit", [0, 1000, LEAST - 1, LEAST, LEAST + 1, 2 * LEAST - 1, RLIM_INFINITY])
def test_limit_that_is_no_number_of_ours(task: Task, tasks: Tasks, limit: int) -> None:
    tasks.set(task.tid, MAIL)
    prlimit(task.tid, RLIMIT_RTTIME, (limit, RLIM_INFINITY))
    assert tasks.state(task.tid) == PLAIN


def test_another_supervisors_tasks_are_none_of_ours(task: Task, tasks: Tasks) -> None:
    other = Tasks()
    other.set(task.tid, MAIL)
    assert other.supervises(task.tid)
    tasks.untouched = False
    assert tasks.state(task.tid) == PLAIN
    assert not tasks.supervises(task.tid)


def test_task_that_is_gone(tasks: Tasks) -> None:
    with Task() as gone:
        tasks.set(gone.tid, MAIL)
    assert tasks.state(gone.tid) == PLAIN
    with pytest.raises(ProcessLookupError):
        tasks.set(gone.tid, NEWS)
    assert thread_ids(gone.tid) == []
    assert thread_group(gone.tid) == 0
    assert parent_of(gone.tid) == 0
    assert children_of(gone.tid) == []


# ---------------------------------------------------------------- inheritance


@pytest.mark.parametrize("how", ["child", "spawned", "orphan"])
def test_children_inherit(task: Task, tasks: Tasks, how: str) -> None:
    tasks.set(task.tid, MAIL)
    line = task.do(how)
    born = line[-1] if how == "orphan" else line
    # What the parent becomes afterwards is nothing to them, even if nobody has asked for their state before.
    tasks.set(task.tid, NEWS)
    assert tasks.state(born) == MAIL
    assert tasks.state(task.tid) == NEWS
    tasks.set(born, GAMES)
    assert tasks.state(born) == GAMES
    assert tasks.state(task.tid) == NEWS
    if how == "orphan":
        assert parent_of(born) == os.getpid()
        bury(line)


def test_grandchild_of_a_child_that_changed(task: Task, tasks: Tasks) -> None:
    tasks.set(task.tid, MAIL)
    born, *pipes = task.do("forking_child")
    tasks.set(born, GAMES)
    tasks.set(task.tid, NEWS)
    grandchild = task.do("let_fork", *pipes)
    assert tasks.state(grandchild) == GAMES
    assert parent_of(grandchild) == born


def test_long_line_of_orphans(task: Task, tasks: Tasks) -> None:
    tasks.set(task.tid, MAIL)
    line = task.do("orphan", 5)
    tasks.set(task.tid, PLAIN)
    assert tasks.state(line[-1]) == MAIL
    bury(line)


def test_exec_keeps_the_state(task: Task, tasks: Tasks) -> None:
    born = task.do("spawned")
    tasks.set(born, MAIL)
    with Task("setpriv", "--nnp") as other:
        other.do("getpid")  # setpriv(1) has become the task's program
        tasks.set(other.tid, NEWS)
        assert other.do("getpid") == other.tid
        assert tasks.state(other.tid) == NEWS
    assert tasks.state(born) == MAIL


# ---------------------------------------------------------------- threads


def test_one_thread_changes_alone(task: Task, tasks: Tasks) -> None:
    one, two = task.do("thread"), task.do("thread")
    tasks.set(one, MAIL)
    assert [tasks.state(tid) for tid in (task.tid, one, two)] == [PLAIN, MAIL, PLAIN]
    assert tasks.is_mixed(two)
    tasks.set(two, NEWS)
    assert [tasks.state(tid) for tid in (task.tid, one, two)] == [PLAIN, MAIL, NEWS]


def test_the_number_of_a_thread_that_is_a_childs_now(task: Task, tasks: Tasks) -> None:
    """What its former thread was says nothing of a child that the process forks, whatever its tid."""
    tasks.set(task.do("thread"), MAIL)
    born = task.do("child")
    tasks._divided[task.tid].threads[born] = NEWS
    assert tasks.state(born) == PLAIN


def test_threads_that_agree_again(task: Task, tasks: Tasks) -> None:
    """glibc has every thread make the call, one after the other."""
    everyone = [task.tid, task.do("thread"), task.do("thread")]
    for index, tid in enumerate(everyone):
        tasks.set(tid, MAIL)
        assert tasks.is_mixed(task.tid) == (index < 2)
    assert {tasks.state(tid) for tid in everyone} == {MAIL}
    number = prlimit(task.tid, RLIMIT_RTTIME)[0] - tasks.tag
    assert tasks.numbered(number) == MAIL


def test_dumpable_is_the_whole_process(task: Task, tasks: Tasks) -> None:
    thread = task.do("thread")
    tasks.set(thread, State(MAIL.creds, dumpable=0))
    assert tasks.state(task.tid) == State(ROOT, dumpable=0)


def test_new_thread_is_as_its_maker(task: Task, tasks: Tasks) -> None:
    first = task.do("thread")
    tasks.set(first, MAIL)
    tasks.cloning(first)
    second = task.do("thread", 0)
    tasks.cloning(task.tid)
    third = task.do("thread")
    assert [tasks.state(tid) for tid in (task.tid, first, second, third)] == [PLAIN, MAIL, MAIL, PLAIN]
    tasks.set(first, NEWS)
    assert [tasks.state(tid) for tid in (task.tid, first, second, third)] == [PLAIN, NEWS, MAIL, PLAIN]


def test_new_thread_of_a_process_that_agrees(task: Task, tasks: Tasks) -> None:
    tasks.set(task.tid, MAIL)
    thread = task.do("thread")
    assert tasks.state(thread) == MAIL


@pytest.mark.parametrize("slack", [DEFAULT_SLACK, 7_000_000], ids=["marked", "unmarked"])
@pytest.mark.parametrize("asked", [False, True], ids=["unseen", "seen"])
@pytest.mark.parametrize("how", ["child", "spawned"])
def test_child_is_as_the_thread_that_forked(
    task: Task, tasks: Tasks, how: str, slack: int, *, asked: bool
) -> None:
    task.do("set_slack", slack)
    thread = task.do("thread")
    tasks.set(thread, MAIL)
    assert (tasks.marked(thread) == MAIL) == (slack == DEFAULT_SLACK)
    tasks.cloning(thread)
    of_thread = task.do("by", 0, how)
    tasks.cloning(task.tid)
    of_leader = task.do(how)
    if asked:
        assert [tasks.state(of_thread), tasks.state(of_leader)] == [MAIL, PLAIN]
    # The threads go on to something else; the children stay what they were.
    tasks.set(thread, GAMES)
    tasks.set(task.tid, NEWS)
    assert [tasks.state(of_thread), tasks.state(of_leader)] == [MAIL, PLAIN]
    assert [tasks.state(thread), tasks.state(task.tid)] == [GAMES, NEWS]


def test_child_of_a_mixed_process_changes_alone(task: Task, tasks: Tasks) -> None:
    thread = task.do("thread")
    tasks.set(thread, MAIL)
    born = task.do("by", 0, "child")
    tasks.set(born, GAMES)
    assert [tasks.state(tid) for tid in (task.tid, thread, born)] == [PLAIN, MAIL, GAMES]
    assert not tasks.is_mixed(born)


@pytest.mark.parametrize("generations", [1, 3])
def test_orphan_of_a_thread(task: Task, tasks: Tasks, generations: int) -> None:
    thread = task.do("thread")
    tasks.set(thread, MAIL)
    tasks.cloning(thread)
    line = task.do("by", 0, "orphan", generations)
    try:
        assert tasks.state(line[-1]) == MAIL
        tasks.set(task.tid, NEWS)
        assert tasks.state(line[-1]) == MAIL
    finally:
        bury(line)


def test_marks_are_taken_away(task: Task, tasks: Tasks) -> None:
    thread = task.do("thread")
    tasks.set(thread, MAIL)
    born = task.do("by", 0, "child")
    assert slack_of(born) == slack_of(thread) != slack_of(task.tid) != DEFAULT_SLACK
    assert tasks.state(born) == MAIL
    tasks.set(task.tid, MAIL)
    assert [slack_of(tid) for tid in (task.tid, thread, born)] == [DEFAULT_SLACK] * 3


def test_slack_of_its_own_is_left_alone(task: Task, tasks: Tasks) -> None:
    thread = task.do("thread")
    task.do("by", 0, "set_slack", 1)
    tasks.set(thread, MAIL)
    tasks.set(task.tid, MAIL)
    assert slack_of(thread) == 1
    assert slack_of(0) == 0, "nobody"


def test_exec_by_a_thread_ends_the_difference(task: Task, tasks: Tasks) -> None:
    thread = task.do("thread")
    tasks.set(thread, MAIL)
    tasks.set_process(thread, NEWS)
    assert tasks.state(task.tid) == NEWS
    assert not tasks.is_mixed(task.tid)


# ---------------------------------------------------------------- nothing is left over


def test_same_states_share_a_number(task: Task, tasks: Tasks) -> None:
    tasks.set(task.tid, State(user(8, 8, (8,))))
    count = tasks.count
    for _ in range(50):
        tasks.set(task.tid, State(user(8, 8, (8,))))
        tasks.set(task.tid, State(ROOT))
    assert tasks.count == count


def test_nothing_is_kept_of_processes(tasks: Tasks) -> None:
    """A thousand that come and go leave no more behind than one: the table holds states, not tasks."""
    counts = set()
    for _ in range(5):
        with Task() as process:
            tasks.set(process.tid, MAIL)
            born = [process.do("child") for _ in range(20)]
            for pid in born:
                tasks.set(pid, NEWS)
            counts.add(tasks.count)
    assert len(counts) == 1


def test_our_own_limit_is_not_touched(task: Task, tasks: Tasks) -> None:
    before = prlimit(0, RLIMIT_RTTIME)
    tasks.set(task.tid, MAIL)
    assert prlimit(0, RLIMIT_RTTIME) == before


def test_vfork_parent_shares_dumpable(task: Task, tasks: Tasks) -> None:
    """A child that still has its parent's memory changes what the memory has."""
    born = task.do("child")
    assert not kernel.same_memory(task.tid, born)
    tasks.set(born, State(MAIL.creds, dumpable=0))
    assert tasks.state(task.tid) == PLAIN
    until(lambda: parent_of(born) == task.tid)


# ---------------------------------------------------------------- State


def test_state_changes_dumpable_with_its_ids() -> None:
    assert PLAIN.with_creds(ROOT.setgroups((1, 2))).dumpable == 1
    assert PLAIN.with_creds(ROOT.setresuid(33, 0xFFFF_FFFF, 0xFFFF_FFFF)).dumpable == 1
    assert PLAIN.with_creds(ROOT.setresuid(0xFFFF_FFFF, 33, 0xFFFF_FFFF)).dumpable == 0
    assert PLAIN.with_creds(ROOT.setfsgid(33)).dumpable == 0


def test_states_are_values() -> None:
    assert State(ROOT) == PLAIN
    assert hash(State(ROOT)) == hash(PLAIN)
    assert PLAIN.replace(confined=True) != PLAIN
    assert PLAIN.replace(rttime=(1, 2)).rttime == (1, 2)
    assert PLAIN.replace(creds=MAIL.creds).replace(dumpable=0) == State(MAIL.creds, 0)
    assert PLAIN != "plain"
