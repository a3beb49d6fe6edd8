# SPDX-License-Identifier: GPL-2.0-or-later
"""The primitives, compiled and by ctypes: the same results and the same errors, at every edge of memory."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from remainroot import _fast, libc
from remainroot.kernel import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS

if TYPE_CHECKING:
    from pathlib import Path

PAGE = mmap.PAGESIZE
PATH_MAX = 4096
US = os.getpid()
NONE, READ = 0, 1


@pytest.fixture(params=[libc, _fast], ids=["ctypes", "compiled"])
def primitives(request: pytest.FixtureRequest) -> Any:
    return request.param


class Pages:
    """Five pages of our own memory: three to write, one to read, and one that is not there."""

    def __init__(self, end: bytes = b"") -> None:
        self.memory = mmap.mmap(-1, 5 * PAGE)
        self.start = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.memory[3 * PAGE : 4 * PAGE] = b"r" * (PAGE - len(end)) + end
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        assert protect(self.start + 3 * PAGE, PAGE, READ) == 0
        assert protect(self.start + 4 * PAGE, PAGE, NONE) == 0

    def put(self, offset: int, data: bytes) -> int:
        """The address of `data`, put at `offset`."""
        self.memory[offset : offset + len(data)] = data
        return self.start + offset


@pytest.fixture
def pages() -> Pages:
    return Pages()


def refused(number: int, call: Any, *args: Any) -> None:
    with pytest.raises(OSError, match=os.strerror(number).split()[0]) as caught:
        call(*args)
    assert caught.value.errno == number


# ---------------------------------------------------------------- strings


@pytest.mark.parametrize("length", [0, 1, 100, 254, 255, 256, 4000, PATH_MAX - 1])
@pytest.mark.parametrize("offset", [0, 1, PAGE - 256, PAGE - 255, PAGE - 254, PAGE - 1])
def test_string(primitives: Any, pages: Pages, length: int, offset: int) -> None:
    text = bytes(1 + index % 255 for index in range(length))
    assert primitives.read_string(US, pages.put(offset, text + b"\0rest")) == text


@pytest.mark.parametrize("length", [0, 5, 254, 255, 256, 4000])
def test_string_that_ends_where_memory_does(primitives: Any, length: int) -> None:
    pages = Pages(end=b"y" * length + b"\0")
    assert primitives.read_string(US, pages.start + 4 * PAGE - length - 1) == b"y" * length


@pytest.mark.parametrize("before", [1, 254, 255, 256, 4000])
def test_string_without_an_end(primitives: Any, pages: Pages, before: int) -> None:
    refused(errno.EFAULT, primitives.read_string, US, pages.start + 4 * PAGE - before)


def test_string_that_is_too_long(primitives: Any, pages: Pages) -> None:
    refused(errno.ENAMETOOLONG, primitives.read_string, US, pages.put(0, b"x" * 2 * PAGE))
    assert len(primitives.read_string(US, pages.put(0, b"x" * (PATH_MAX - 1) + b"\0"))) == PATH_MAX - 1
    refused(errno.ENAMETOOLONG, primitives.read_string, US, pages.put(0, b"x" * PATH_MAX + b"\0"))


@pytest.mark.parametrize("address", [0, 8, 1 << 47, (1 << 64) - PAGE, (1 << 64) - 1])
def test_bad_address(primitives: Any, address: int) -> None:
    refused(errno.EFAULT, primitives.read_string, US, address)
    refused(errno.EFAULT, primitives.read_memory, US, address, 1)
    refused(errno.EFAULT, primitives.write_memory, US, address, b"x")


def test_task_that_is_gone(primitives: Any, pages: Pages) -> None:
    process = subprocess.Popen(["/bin/true"])
    process.wait()
    refused(errno.ESRCH, primitives.read_string, process.pid, pages.start)
    refused(errno.ESRCH, primitives.read_memory, process.pid, pages.start, 8)
    refused(errno.ESRCH, primitives.write_memory, process.pid, pages.start, b"x")


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize("size", [0, 1, 8, PAGE, 2 * PAGE])
def test_read_and_write(primitives: Any, pages: Pages, size: int) -> None:
    data = os.urandom(size)
    primitives.write_memory(US, pages.start, data)
    assert bytes(pages.memory[:size]) == data
    assert primitives.read_memory(US, pages.start, size) == data


def test_large_pieces(primitives: Any) -> None:
    size = (1 << 17) + 3
    buffer = ctypes.create_string_buffer(size)
    data = os.urandom(size)
    primitives.write_memory(US, ctypes.addressof(buffer), data)
    assert primitives.read_memory(US, ctypes.addressof(buffer), size) == data


def test_all_or_an_error(primitives: Any, pages: Pages) -> None:
    refused(errno.EFAULT, primitives.read_memory, US, pages.start + 4 * PAGE - 4, 5)
    refused(errno.EFAULT, primitives.write_memory, US, pages.start + 3 * PAGE - 4, b"12345")
    refused(errno.EFAULT, primitives.write_memory, US, pages.start + 3 * PAGE, b"1")


# ---------------------------------------------------------------- paths


def test_open_path(primitives: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("/file")
    directory = os.open(tmp_path, os.O_PATH)
    opened = [
        primitives.open_path(directory, b"file", RESOLVE_NO_MAGICLINKS),
        primitives.open_path(directory, b"/file", RESOLVE_IN_ROOT),
        primitives.open_path(directory, b"link", RESOLVE_IN_ROOT),
        primitives.open_path(directory, b"link", 0, follow=False),
    ]
    try:
        stats = [os.fstat(fd) for fd in opened]
        assert [st.st_ino for st in stats[:3]] == [(tmp_path / "file").stat().st_ino] * 3
        assert stats[3].st_ino == (tmp_path / "link").lstat().st_ino
        assert not any(os.get_inheritable(fd) for fd in opened)
        for fd in opened:
            refused(errno.EBADF, os.read, fd, 1)
        refused(errno.ENOENT, primitives.open_path, directory, b"nowhere", 0)
        refused(errno.ELOOP, primitives.open_path, directory, b"/proc/self/fd/0", RESOLVE_NO_MAGICLINKS)
    finally:
        for fd in [directory, *opened]:
            os.close(fd)


# ---------------------------------------------------------------- any call


def test_syscall(primitives: Any) -> None:
    getpid = {"x86_64": 39, "aarch64": 172}[os.uname().machine]
    close = {"x86_64": 3, "aarch64": 57}[os.uname().machine]
    assert primitives.syscall(getpid) == US
    refused(errno.EBADF, primitives.syscall, close, -1)


def test_address_of(primitives: Any) -> None:
    buffer = bytearray(b"some bytes")
    assert primitives.read_memory(US, primitives.address_of(buffer), 10) == b"some bytes"
    assert primitives.read_memory(US, primitives.address_of(b"others"), 6) == b"others"


def test_a_wait_that_a_signal_ends() -> None:
    former = signal.signal(signal.SIGALRM, lambda *_: None)
    waits, full = os.pipe()
    try:
        assert not libc.may_be_read(waits, 1)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        started = time.monotonic()
        assert not libc.may_be_read(waits, 20_000)
        assert time.monotonic() - started < 10
        os.write(full, b"x")
        assert libc.may_be_read(waits, 20_000)
    finally:
        signal.signal(signal.SIGALRM, former)
        os.close(waits)
        os.close(full)
