# SPDX-License-Identifier: GPL-2.0-or-later
"""What was written to files that were handed out."""

from __future__ import annotations

import os

import pytest

from remainroot import written


def test_the_last_number_counts() -> None:
    files = written.Written()
    fd = os.memfd_create("file", os.MFD_CLOEXEC)
    number = files.add(fd, b"7")
    texts = {b"": b"7", b"33": b"33", b"33\n": b"33", b"7 33": b"33", b"\0\0\x0033": b"33", b"33\nx": b"33",
             b"-1": b"7", b"4294967295": b"4294967295", b"4294967296": b"7"}  # fmt: skip
    for text, expected in texts.items():
        os.ftruncate(fd, 0)
        os.pwrite(fd, text, 0)
        assert files.text(number) == expected


def test_old_files_are_closed_and_what_is_in_them_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written, "_MOST", 2)
    files = written.Written()
    fds = [os.memfd_create("file", os.MFD_CLOEXEC) for _ in range(4)]
    numbers = []
    for index, fd in enumerate(fds):
        numbers.append(files.add(fd, b"0"))
        os.write(fd, b"%d" % (100 + index))
    assert [files.text(number) for number in numbers] == [b"100", b"101", b"102", b"103"]
    for fd in fds[:2]:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
    for fd in fds[2:]:
        os.close(fd)
