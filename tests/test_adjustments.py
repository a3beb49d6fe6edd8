# SPDX-License-Identifier: GPL-2.0-or-later
"""What is made of what tasks write to oom_score_adj."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remainroot.adjustments import LEAST, MOST, Adjustments, number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WRITE, BOTH = os.O_WRONLY, os.O_RDWR


@pytest.mark.parametrize(
    ("word", "number"),
    [
        (b"0", 0), (b"-0", 0), (b"+17", 17), (b"0x1F", 31), (b"-0X1f", -31), (b"010", 8), (b"-1000", -1000),
        (b"", None), (b"-", None), (b"--1", None), (b"1_0", None), (b"0x", None), (b"08", None), (b"0b1", None),
        (b"1.", None), (b"0o7", None), (b"00", 0), (b"x", None), (b"\xff", None), (b"+-1", None),
    ],
)  # fmt: skip
def test_numbers_are_those_of_kstrtoint(word: bytes, number: int | None) -> None:
    assert number_of(word) == number


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Callable[[], int]]:
    """A stand-in for the real file: gives descriptors of it, as many as are asked for."""
    path = tmp_path / "real"
    path.touch()
    yield lambda: os.open(path, os.O_WRONLY | os.O_APPEND)
    assert path.exists()


@pytest.fixture(scope="module")
def adjustments() -> Adjustments:
    """One for all: a user may have few inotify instances."""
    return Adjustments()


def anywhere() -> int:
    """A real file that takes everything."""
    return os.open("/dev/null", WRITE)


@given(values=st.lists(st.integers(-1200, 1200), min_size=1, max_size=4), lines=st.booleans())
def test_the_last_that_is_one_counts(adjustments: Adjustments, values: list[int], *, lines: bool) -> None:
    given_fd, number = adjustments.add(anywhere(), 17, LEAST, WRITE)
    expected = 17
    for value in values:
        os.write(given_fd, b"%d" % value + (b"\n" if lines else b" "))
        if LEAST <= value <= MOST:
            expected = value
        assert adjustments.value(number) == expected
    os.close(given_fd)
    assert adjustments.value(number) == expected


@given(before=st.integers(LEAST, MOST), value=st.integers(LEAST, MOST), rewind=st.booleans(), end=st.booleans())
def test_a_file_that_is_read_first(
    adjustments: Adjustments, before: int, value: int, *, rewind: bool, end: bool
) -> None:
    given_fd, number = adjustments.add(anywhere(), before, LEAST, BOTH)
    assert int(os.read(given_fd, 99)) == before
    assert adjustments.value(number) == before
    if rewind:
        os.lseek(given_fd, 0, os.SEEK_SET)
    os.write(given_fd, b"%d" % value + (b"\n" if end else b""))
    assert adjustments.value(number) == value
    os.close(given_fd)


def test_it_is_known_when_nobody_can_write_any_more(adjustments: Adjustments, real: Callable[[], int]) -> None:
    """Then nothing is kept open, and the kernel has been told without anybody asking."""
    path = os.readlink(f"/proc/self/fd/{(fd := real())}")
    os.close(fd)
    before = len(os.listdir("/proc/self/fd"))
    number = -1
    for value in range(20):
        given_fd, number = adjustments.add(real(), 0, LEAST, WRITE)
        os.write(given_fd, b"%d\n" % (value + 1))
        os.close(given_fd)
    until = time.monotonic() + 10
    while len(os.listdir("/proc/self/fd")) > before and time.monotonic() < until:
        time.sleep(0.01)
    assert len(os.listdir("/proc/self/fd")) == before
    with open(path, encoding="ascii") as file:
        assert file.read() == "".join(str(value + 1) for value in range(20))
    assert adjustments.value(number) == 20


def test_who_has_not_the_capability_may_not_go_below(adjustments: Adjustments) -> None:
    """What one that has it wrote; however high it has been raised since."""
    given_fd, first = adjustments.add(anywhere(), 0, LEAST, WRITE)
    os.write(given_fd, b"-500")
    assert adjustments.floor(first) == -500
    given_fd, second = adjustments.add(anywhere(), -500, adjustments.floor(first), WRITE)
    os.write(given_fd, b"-501\n-300\n")
    assert (adjustments.value(second), adjustments.floor(second)) == (-300, -500)
    os.write(given_fd, b"-600\n")
    assert adjustments.value(second) == -300
    given_fd, third = adjustments.add(anywhere(), -300, LEAST, WRITE)
    os.write(given_fd, b"-100\n")
    assert adjustments.floor(third) == -100


def test_where_nobody_tells_of_writes_the_oldest_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written until then counts, as always when it is asked for."""

    def refuse() -> int:
        raise OSError(24, "")

    monkeypatch.setattr("remainroot.adjustments.inotify", refuse)
    adjustments = Adjustments()
    files = [adjustments.add(anywhere(), 0, LEAST, WRITE) for _ in range(64)]
    for place, (given_fd, _) in enumerate(files):
        os.write(given_fd, b"%d" % place)
    before = len(os.listdir("/proc/self/fd"))
    given_fd, _ = adjustments.add(anywhere(), 0, LEAST, WRITE)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    os.write(files[0][0], b"\n9")
    assert [adjustments.value(number) for _, number in files] == list(range(64))
    for fd, _ in files:
        os.close(fd)
    os.close(given_fd)
