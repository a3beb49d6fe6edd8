# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers of all ABIs against two independent sources; struct stat byte for byte against the kernel."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
from pathlib import Path
from struct import unpack_from
from typing import TYPE_CHECKING

import pyseccomp
import pytest
import system_calls

from remainroot import abi as abis
from remainroot.abi import stat as layouts
from remainroot.kernel import raw_statx
from remainroot.store.base import Owner
from tests.compiling import FIXTURES, program
from tests.compiling import abis as compiled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from remainroot.abi import Abi

ABIS = {abi.name: abi for abi in abis.ALL}
SYSTEM_CALLS = system_calls.syscalls()
THEIR_NAMES = {"x86_64": "x86_64", "x32": "x32", "i386": "i386", "aarch64": "arm64", "arm": "arm"}


# ---------------------------------------------------------------- numbers


def by_libseccomp(abi: Abi, name: str) -> int | None:
    """libseccomp's number; None for a call it does not know, or knows only as part of socketcall and ipc."""
    number: int = pyseccomp.resolve_syscall(getattr(pyseccomp.Arch, abi.seccomp_arch), name)
    return number if number >= 0 else None


def by_system_calls(abi: Abi, name: str) -> int | None:
    """The number in the package system-calls, which is made from the kernel's own tables."""
    try:
        number: int = SYSTEM_CALLS.get(name, THEIR_NAMES[abi.name])
    except (system_calls.NotSupportedSystemCall, system_calls.NoSuchSystemCall):
        return None
    return number | abis.X32_BIT if abi.name == "x32" else number


@pytest.mark.parametrize("name", ABIS)
def test_numbers_are_those_of_two_other_tables(name: str) -> None:
    abi = ABIS[name]
    unchecked = []
    for call, number in abi.numbers.items():
        told = [by_libseccomp(abi, call), by_system_calls(abi, call)]
        assert all(other == number for other in told if other is not None), (call, number, told)
        if told == [None, None]:
            unchecked.append(call)
    assert unchecked == []


@pytest.mark.parametrize("name", ABIS)
def test_no_call_is_left_out(name: str) -> None:
    """A call named for any ABI is named for every other that has it too: a variant must not slip past the filter."""
    abi = ABIS[name]
    named = {call for other in abis.ALL for call in other.numbers}
    missing = {call: by_system_calls(abi, call) for call in named - abi.numbers.keys()}
    assert {call for call, number in missing.items() if number is not None} == set()


@pytest.mark.parametrize("name", ABIS)
def test_numbers_are_distinct(name: str) -> None:
    numbers = list(ABIS[name].numbers.values())
    assert len(numbers) == len(set(numbers))


def test_audit_architectures_are_the_kernels() -> None:
    """The AUDIT_ARCH_* of linux/audit.h: the ELF machine, with bits for 64-bit and little-endian."""
    machine = {"x86_64": 62, "x32": 62, "i386": 3, "aarch64": 183, "arm": 40}
    for abi in abis.ALL:
        wide = 0x8000_0000 if abi.bits == 64 else 0
        assert abi.audit_arch == machine[abi.name] | wide | 0x4000_0000


def test_short_ids_are_those_of_calls_with_a_32_bit_sister() -> None:
    for abi in abis.ALL:
        sisters = {call for call in abi.numbers if call + "32" in abi.numbers}
        assert abi.short_ids == sisters


def test_own_abi_comes_first() -> None:
    assert abis.native()[0].name == os.uname().machine
    assert all(abi in abis.ALL for abi in abis.native())


# ---------------------------------------------------------------- struct stat

SIZES = {
    layouts.stat_x86_64: 144,
    layouts.stat_generic: 128,
    layouts.stat64_i386: 96,
    layouts.stat64_arm: 104,
    layouts.stat_i386: 64,
    layouts.oldstat: 32,
}


def true_owner(st: os.stat_result) -> Owner:
    return Owner(st.st_uid, st.st_gid, st.st_mode, st.st_rdev)


def test_layouts_have_the_kernels_sizes() -> None:
    st = os.stat("/dev/null")
    assert {layout: len(layout(st, true_owner(st))) for layout in SIZES} == SIZES


def test_every_stat_call_has_a_layout() -> None:
    calls = {
        "stat", "lstat", "fstat", "newfstatat", "stat64", "lstat64", "fstat64", "fstatat64", "oldstat", "oldlstat",
        "oldfstat",
    }  # fmt: skip
    for abi in abis.ALL:
        assert calls & abi.numbers.keys() <= abi.stat_layouts.keys(), abi.name
        assert set(abi.stat_layouts.values()) <= SIZES.keys()


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """Files that differ in what a stat shows; on tmpfs too, where inode numbers fit into 16 bits."""
    made: list[Path] = []
    with_small_numbers = Path("/dev/shm") / f"remainroot-test-{os.getpid()}"
    with_small_numbers.mkdir()
    for directory in (tmp_path_factory.mktemp("stat"), with_small_numbers):
        regular = directory / "regular"
        regular.write_bytes(b"x" * 5000)
        os.utime(regular, ns=(1_234_567_890_123_456_789, 987_654_321))
        linked = directory / "linked"
        linked.hardlink_to(regular)
        far = directory / "far"
        far.touch()
        os.chown(far, 70000, 0xFFFF)
        far.chmod(0o6751)
        os.utime(far, ns=(-5_000_000_001, 4_000_000_000_000_000_001))
        large = directory / "large"
        large.touch()
        os.truncate(large, 1 << 32)
        fifo = directory / "fifo"
        os.mkfifo(fifo)
        device = directory / "device"
        os.mknod(device, 0o20600, os.makedev(0x1, 0x3))
        made += [regular, linked, far, large, fifo, device, directory]
    yield [*made, Path("/dev/zero")]
    for path in with_small_numbers.iterdir():
        path.unlink()
    with_small_numbers.rmdir()


@pytest.mark.parametrize("name", compiled())
def test_layouts_are_what_the_kernel_writes(name: str, samples: list[Path]) -> None:
    abi = ABIS[name]
    written, refused = set(), set()
    for path in samples:
        st = path.stat()
        shown = subprocess.run(
            [program(FIXTURES / "show_stat.c", name), path], capture_output=True, text=True, check=True
        ).stdout
        calls = [line.split() for line in shown.splitlines()]
        assert {call for call, _, _ in calls} == abi.stat_layouts.keys()
        for call, number, data in calls:
            layout = abi.stat_layouts[call]
            if int(number):
                with pytest.raises(OSError, match="large") as caught:
                    layout(st, true_owner(st))
                assert caught.value.errno == int(number) == errno.EOVERFLOW
                refused.add(call)
                continue
            # Eight bytes more than the kernel wrote, still as they were.
            assert bytes.fromhex(data) == layout(st, true_owner(st)) + b"\xa5" * 8, (call, path)
            written.add(call)
    assert written == abi.stat_layouts.keys()
    narrow = {call for call in written if abi.bits == 32 and "64" not in call}
    if not any(path.stat().st_ino > 0xFFFF for path in samples):
        narrow = {call for call in narrow if not call.startswith("old")}  # they refuse only inode numbers
    assert refused == narrow


def test_narrow_ids_are_shown_as_the_overflow_id() -> None:
    st = os.stat("/dev/null")
    owner = Owner(0x1_0000, 0xFFFF, 0o100644)
    assert unpack_from("=HH", layouts.stat_i386(st, owner), 12) == (65534, 0xFFFF)
    assert unpack_from("=HH", layouts.oldstat(st, owner), 8) == (65534, 0xFFFF)
    assert unpack_from("=II", layouts.stat64_i386(st, owner), 24) == (0x1_0000, 0xFFFF)


def test_statx_changes_owner_mode_and_device_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("data", encoding="ascii")
    fd = os.open(path, os.O_PATH)
    try:
        raw = raw_statx(fd, 0, 0x17FF)
        st = os.fstat(fd)
    finally:
        os.close(fd)
    assert len(raw) == 256
    assert layouts.patch_statx(raw, true_owner(st)) == raw
    owner = Owner(70000, 80000, 0o060640, os.makedev(259, 70000))
    patched = layouts.patch_statx(raw, owner)
    assert unpack_from("=IIH", patched, 20) == (70000, 80000, 0o060640)
    assert unpack_from("=II", patched, 128) == (259, 70000)
    changed = {index for index in range(256) if raw[index] != patched[index]}
    assert changed <= {*range(20, 30), *range(128, 136)}


def test_statx_offsets_are_the_kernels() -> None:
    """Where patch_statx writes is where the kernel has the fields: struct statx of linux/stat.h."""
    fd = os.open("/dev/null", os.O_PATH)
    try:
        raw = raw_statx(fd, 0, 0x7FF)
        st = os.fstat(fd)
    finally:
        os.close(fd)
    assert unpack_from("=IIH", raw, 20) == (st.st_uid, st.st_gid, st.st_mode)
    assert unpack_from("=II", raw, 128) == (os.major(st.st_rdev), os.minor(st.st_rdev))


def test_word_mask_cuts_pointers() -> None:
    assert abis.I386.word_mask == ctypes.c_uint32(-1).value
    assert abis.X86_64.word_mask == ctypes.c_uint64(-1).value
