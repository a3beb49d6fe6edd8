# SPDX-License-Identifier: GPL-2.0-or-later
"""Paths are resolved as the task would: whatever a path means to it, told by its own stat, is what we find."""

from __future__ import annotations

import errno
import os
import stat
from functools import partial
from typing import TYPE_CHECKING

import pytest

from remainroot.kernel import AT_FDCWD
from remainroot.tracee import Files, status_field, umask_of
from tests.launching import children
from tests.tasking import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NEWNS = 0x0002_0000
BIND, PRIVATE, REC = 0x1000, 1 << 18, 0x4000
Seen = tuple[int, int, int] | str
"""Device, inode and mode; or the name of an errno."""


def described(error: OSError) -> str:
    return errno.errorcode[error.errno or 0]


def told(look: Callable[[], Seen]) -> Seen:
    """What `look` tells; of ELOOP it is asked again.

    The kernel counts a path's links on when it walks the path anew because somebody mounted something meanwhile
    (path_resolution(7) names 40): where other tests mount, 39 links are at times too many for it.
    """
    result = look()
    for _ in range(30):
        if result != "ELOOP":
            break
        result = look()
    return result


def found(files: Files, task: Task, dirfd: int, path: bytes, *, follow: bool) -> Seen:
    """What we find, as the handlers look for it."""
    before = set(os.listdir("/proc/self/fd"))
    try:
        fd = files.resolve(task.tid, dirfd, path, follow=follow)
        st = os.fstat(fd)
        if files.on_proc(st) and files.note_device(fd, st):
            os.close(fd)
            fd = files.resolve_again(task.tid, dirfd, path, follow=follow)
            st = os.fstat(fd)
        os.close(fd)
        result: Seen = (st.st_dev, st.st_ino, st.st_mode)
    except OSError as error:
        result = described(error)
    assert set(os.listdir("/proc/self/fd")) == before, f"{path!r} leaves a descriptor open"
    return result


def seen(task: Task, dirfd: int, path: bytes, *, follow: bool) -> Seen:
    """What the task finds itself."""
    try:
        device, inode, mode = task.do("look", os.fsdecode(path), None if dirfd == AT_FDCWD else dirfd, follow)
    except OSError as error:
        return described(error)
    return device, inode, mode


def agree(files: Files, task: Task, *paths: str, dirfd: int = AT_FDCWD) -> None:
    """Every one of `paths` means the same to the task and to us, links followed and not.

    Of what cannot be found only that is told here: which errno it is the kernel says.
    """
    differ = []
    for path in paths:
        for follow in (True, False):
            name = os.fsencode(path)
            ours = told(partial(found, files, task, dirfd, name, follow=follow))
            its = told(partial(seen, task, dirfd, name, follow=follow))
            if ours != its and not (isinstance(ours, str) and isinstance(its, str)):
                differ.append(f"{path[:60]!r}, follow={follow}: found {ours}, the task sees {its}")
    assert differ == []


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files, directories and links of all kinds."""
    top = tmp_path_factory.mktemp("tree").resolve()
    (top / "dir/sub").mkdir(parents=True)
    (top / "dir/sub/file").write_text("deep", encoding="ascii")
    (top / "file").write_text("shallow", encoding="ascii")
    os.mkfifo(top / "fifo")
    (top / "etc").mkdir()
    (top / "etc/only-here").touch()
    for name, target in {
        "link": "file", "dlink": "dir", "slash": "dir/", "fileslash": "file/", "absolute": f"{top}/dir", "root": "/",
        "etc-link": "/etc/only-here", "dangling": "nowhere", "loop": "loop", "one": "two", "two": "one", "up": "..",
        "out": "../../../../../../../../../..", "self": "/proc/self", "mine": "/proc/self/cwd/file",
        "fd0": "/proc/self/fd/0", "into": "dlink/sub/../sub/file", "dot": ".",
    }.items():  # fmt: skip
        (top / name).symlink_to(target)
    for length in (39, 40, 41, 45):
        for index in range(length):
            (top / f"chain{length}.{index}").symlink_to(f"chain{length}.{index + 1}" if index + 1 < length else "file")
    return top


@pytest.fixture
def task() -> Iterator[Task]:
    with Task() as made:
        yield made


@pytest.fixture(params=[False, True], ids=["same-root", "roots-differ"])
def files(request: pytest.FixtureRequest) -> Files:
    """With and without the knowledge that somebody may have another root: it must not change what is found."""
    made = Files()
    made.roots_differ = request.param
    return made


PATHS = [
    ".", "..", "/", "//", "/.", "/..", "/../..", "./.", "file", "./file", "dir", "dir/", "dir//", "dir/.", "dir/..",
    "dir/../file", "dir/sub/../../link", "file/", "file/.", "file/..", "file/x", "nowhere", "nowhere/", "nowhere/..",
    "fifo", "fifo/", "etc/only-here", "/etc", "//etc//passwd",
]  # fmt: skip
LINKS = [
    "link", "link/", "dlink", "dlink/", "dlink/.", "dlink/..", "dlink/sub/file", "slash", "slash/", "slash/sub",
    "fileslash", "fileslash/", "absolute", "absolute/", "absolute/sub", "absolute/..", "root", "root/", "root/etc",
    "etc-link", "dangling", "dangling/", "dangling/x", "loop", "loop/", "loop/x", "one", "two/", "up", "up/",
    "up/..", "out", "out/etc", "into", "dot", "dot/dot/dot/file",
    "chain39.0", "chain40.0", "chain41.0", "chain45.0", "chain40.0/",
]  # fmt: skip
PROC = [
    "/proc", "/proc/", "/proc/self", "/proc/self/", "/proc/self/.", "/proc/self/..", "/proc/thread-self",
    "/proc/thread-self/", "/proc/thread-self/comm", "/proc/self/status", "/proc/self/task", "/proc/self/exe",
    "/proc/self/cwd", "/proc/self/cwd/", "/proc/self/cwd/file", "/proc/self/cwd/link", "/proc/self/cwd/dlink/sub/..",
    "/proc/self/cwd/..", "/proc/self/root", "/proc/self/root/", "/proc/self/root/etc", "/proc/self/root/../etc",
    "/proc/self/fd", "/proc/self/nowhere", "/proc/self/cwd/nowhere", "/proc/mounts", "/proc/net", "/proc/net/dev",
    "/dev/fd", "/dev/fd/", "/dev/stdin", "self", "self/", "self/cwd", "self/cwd/file", "mine", "fd0", "/proc/1/stat",
    "self/../version", "/proc/self/../self/cwd/file", "/proc/self/cwd/file/.", "/proc/self/cwd/file/", "mine/.",
    "mine/..", "/proc/self/cwd/fifo/.", "/proc/self/cwd/link/.", "/proc/self/cwd/dir/./sub/.",
    "/proc/self/cwd/file/./x",
]  # fmt: skip


@pytest.mark.parametrize("paths", [PATHS, LINKS, PROC], ids=["plain", "links", "proc"])
def test_relative_to_the_working_directory(files: Files, task: Task, tree: Path, paths: list[str]) -> None:
    task.do("chdir", str(tree))
    agree(files, task, *paths)


@pytest.mark.parametrize("paths", [PATHS, LINKS], ids=["plain", "links"])
def test_relative_to_a_descriptor(files: Files, task: Task, tree: Path, paths: list[str]) -> None:
    task.do("chdir", "/")
    for flags in (os.O_RDONLY, os.O_PATH):
        dirfd = task.do("open", str(tree), flags)
        agree(files, task, *paths, dirfd=dirfd)


def test_descriptors_that_are_no_directory(files: Files, task: Task, tree: Path) -> None:
    regular = task.do("open", str(tree / "file"), os.O_RDONLY)
    agree(files, task, "file", ".", "/etc", dirfd=regular)
    for bad in (77, -1):
        for path in (b"file", b"."):
            assert found(files, task, bad, path, follow=True) in ("EBADF", "ENOENT")
            assert seen(task, bad, path, follow=True) == "EBADF"


def test_numbered_descriptors_by_way_of_proc(files: Files, task: Task, tree: Path) -> None:
    task.do("chdir", str(tree))
    numbers = [
        task.do("open", str(tree / "file"), os.O_RDONLY),
        task.do("open", str(tree / "dir"), os.O_RDONLY),
        task.do("open", str(tree / "link"), os.O_PATH | os.O_NOFOLLOW),
        task.do("open", str(tree / "fifo"), os.O_PATH),
        *task.do("pipe"),
        task.do("memfd_create", "nameless"),
    ]
    for number in [*numbers, 99]:
        for place in ("/proc/self", "/dev", f"/proc/{task.tid}", "/proc/thread-self", "self"):
            path = f"{place}/fd/{number}"
            agree(files, task, path, path + "/", path + "/sub", path + "/..")


def test_deleted_files(files: Files, task: Task, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    regular = tmp_path / "regular"
    regular.touch()
    number = task.do("open", str(regular), os.O_RDONLY)
    task.do("chdir", str(gone))
    gone.rmdir()
    regular.unlink()
    agree(files, task, ".", "..", "x", "./", str(gone), "/proc/self/cwd", "/proc/self/cwd/..")
    agree(files, task, f"/proc/self/fd/{number}")


def test_names_that_are_too_long(files: Files, task: Task, tree: Path) -> None:
    task.do("chdir", str(tree))
    agree(files, task, "x" * 255, "x" * 256, "dir/" + "x" * 256, "./" * 2040 + "file", "./" * 2046 + "xyz", "./" * 3000)
    agree(files, task, "/proc/self/cwd/" + "./" * 2030 + "file", "/proc/self/cwd/" + "x" * 256)


def test_empty_path_names_nothing(files: Files, task: Task) -> None:
    agree(files, task, "")


def test_fifo_is_not_waited_for(files: Files, task: Task, tree: Path) -> None:
    fd = files.resolve(task.tid, AT_FDCWD, os.fsencode(tree / "fifo"))
    try:
        assert stat.S_ISFIFO(os.fstat(fd).st_mode)
    finally:
        os.close(fd)


@pytest.mark.parametrize("bound", [False, True], ids=["bare", "with-proc"])
def test_another_root(task: Task, tree: Path, *, bound: bool) -> None:
    """chroot: absolute paths and links, and `..`, end at the task's root."""
    files = Files()
    files.roots_differ = True
    if bound:
        (tree / "proc").mkdir(exist_ok=True)
        (tree / "dev").mkdir(exist_ok=True)
        task.do("unshare", NEWNS)
        task.do("mount", "none", "/", "", REC | PRIVATE)
        task.do("mount", "/proc", str(tree / "proc"), "", BIND | REC)
        task.do("mount", "/dev", str(tree / "dev"), "", BIND | REC)
        (tree / "again/here").mkdir(parents=True, exist_ok=True)
        task.do("mount", str(tree), str(tree / "again/here"), "", BIND)
    outside = task.do("open", "/", os.O_RDONLY)
    inside = task.do("open", str(tree / "dir"), os.O_RDONLY)
    task.do("chroot", str(tree))
    task.do("chdir", "/")
    agree(files, task, *PATHS, *LINKS, *(PROC if bound else []))
    agree(files, task, "etc-link", "/etc/only-here", "/file", "/../file", "/dir/../../../file")
    if bound:  # the root's directory on another mount is not the root
        agree(files, task, *(f"/proc/self/cwd/again/here/{path}" for path in ("..", "../here/file", "../file", "file")))
    agree(files, task, *PATHS, *LINKS, dirfd=inside)
    task.do("chdir", "/dir/sub")
    agree(files, task, "file", "..", "../..", "../../..", "../../../file", "/file", "../../absolute")
    # A descriptor from before leads out of the root, and its `..` too.
    agree(files, task, ".", "..", "etc", "etc/passwd", "tmp/..", "/file", dirfd=outside)
    task.do("fchdir", outside)
    agree(files, task, ".", "..", "etc", "etc/passwd", "tmp/../etc", "/file", "/..")
    # It meets the root on its way, and `..` stays there.
    agree(files, task, *(f"{tree}/{path}"[1:] for path in ("..", "../file", "../../dir/../file", "dir/../../dlink")))


def test_another_mount_namespace(task: Task, tmp_path: Path) -> None:
    """What is mounted only for the task is found, and what is mounted over is not."""
    files = Files()
    files.roots_differ = True
    for name in ("mine", "over"):
        (tmp_path / name).mkdir()
    (tmp_path / "over/hidden").touch()
    task.do("unshare", NEWNS)
    task.do("mount", "none", "/", "", REC | PRIVATE)
    task.do("mount", "tmpfs", str(tmp_path / "over"), "tmpfs", 0)
    os.close(os.open(tmp_path / "mine" / "outside", os.O_CREAT | os.O_WRONLY))
    number = task.do("open", str(tmp_path / "over/inside"), os.O_CREAT | os.O_WRONLY)
    task.do("symlink", str(tmp_path / "over/inside"), str(tmp_path / "over/link"))
    task.do("chdir", str(tmp_path / "over"))
    agree(files, task, "inside", "hidden", "link", "..", "../mine", "../over", "../over/inside")
    agree(files, task, "/proc/self/cwd/inside", "/proc/self/cwd/hidden")
    agree(files, task, f"{tmp_path}/over", f"{tmp_path}/over/link", f"{tmp_path}/over/..", f"/proc/self/fd/{number}")


def test_another_pid_namespace() -> None:
    """In its own procfs /proc/self is the number that the task has there."""
    files = Files()
    files.roots_differ = True
    with Task("unshare", "--pid", "--fork", "--mount", "--mount-proc") as task:
        assert task.do("getpid") == 1
        (task.tid,) = children(task.tid)
        agree(files, task, "/proc/self", "/proc/self/status", "/proc/1/status", "/proc/self/cwd", "/proc/self/fd/0")


# ---------------------------------------------------------------- parents and descriptors


def test_parent_of_what_may_not_exist(task: Task, tree: Path) -> None:
    files = Files()
    task.do("chdir", str(tree))
    for path, directory, name in [
        ("new", ".", b"new"),
        ("dir/new", "dir", b"new"),
        ("dlink/sub/new", "dir/sub", b"new"),
        ("/new", "/", b"new"),
        ("dangling", ".", b"dangling"),
        ("dir//new", "dir", b"new"),
        ("/proc/self/cwd/new", ".", b"new"),
    ]:
        fd, last = files.parent(task.tid, AT_FDCWD, os.fsencode(path))
        try:
            assert last == name
            assert os.path.samestat(os.fstat(fd), (tree / directory).stat())
        finally:
            os.close(fd)
    # On procfs nothing is created: /proc/self is the task's, and its links lead to what exists.
    for path in ("", ".", "..", "dir/", "dir/..", "/", "nowhere/new", "/proc/self/fd/0", "/dev/fd/1", "/proc/new"):
        with pytest.raises(FileNotFoundError):
            files.parent(task.tid, AT_FDCWD, os.fsencode(path))


def test_parent_at_our_own_descriptor(task: Task, tree: Path) -> None:
    files = Files()
    at = os.open(tree / "dir", os.O_PATH)
    try:
        fd, name = files.parent(task.tid, AT_FDCWD, b"sub/new", at=at)
        assert name == b"new"
        assert os.path.samestat(os.fstat(fd), (tree / "dir/sub").stat())
        os.close(fd)
    finally:
        os.close(at)


def test_path_only_descriptors_are_told(task: Task, tree: Path) -> None:
    files = Files()
    assert not files.is_path_only(task.tid, task.do("open", str(tree / "file"), os.O_RDONLY))
    assert files.is_path_only(task.tid, task.do("open", str(tree / "file"), os.O_PATH))


def test_descriptor_of_a_nameless_file(task: Task) -> None:
    number = task.do("memfd_create", "nameless")
    fd = Files().descriptor(task.tid, number)
    try:
        assert os.fstat(fd).st_ino == task.do("look", f"/proc/self/fd/{number}")[1]
    finally:
        os.close(fd)
    with pytest.raises(FileNotFoundError):
        Files().descriptor(task.tid, 99)


def test_status(task: Task) -> None:
    task.do("umask", 0o137)
    assert umask_of(task.tid) == 0o137
    assert status_field(task.tid, b"Tgid") == str(task.tid).encode()
    with pytest.raises(FileNotFoundError):
        status_field(task.tid, b"Nothing")


def test_task_that_is_gone(tree: Path) -> None:
    with Task() as task:
        pass
    for path in (b"file", os.fsencode(tree / "file")):
        files = Files()
        files.roots_differ = True
        with pytest.raises((FileNotFoundError, ProcessLookupError)):
            files.resolve(task.tid, AT_FDCWD, path)
    with pytest.raises((FileNotFoundError, ProcessLookupError)):
        umask_of(task.tid)
