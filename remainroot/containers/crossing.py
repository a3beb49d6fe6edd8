# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs of the container that are started from among the host's files: `remainroot enter --with-host-root`.

Such a program must see the container's root and environment and nothing of the host's, as if started inside. A filter
sends every execve here (seccomp_unotify(2)). That of a host's program goes on at once. For a file of the container the
task is seized with ptrace(2), changes its root and working directory, and makes the call again with the file's path
inside and the container's environment: the kernel then finds interpreter, loader and all else in the container. If
that fails the task is put back as it was, with the errno, and nothing has happened.

Whoever has the container's root already is left alone: its programs start each other as ever. A task that somebody
traces cannot be seized, and one that has seccomp filters of its own might be killed for the calls: EPERM.
"""

from __future__ import annotations

import os
from errno import ENOSYS, EPERM
from struct import pack

from remainroot import abi as abis
from remainroot.containers import mounts
from remainroot.dispatch import CONTINUE, Fail, differs
from remainroot.engines import ptracing as pt
from remainroot.engines.filter import RET_USER_NOTIF, assemble
from remainroot.engines.inject import LostError, Puppet
from remainroot.engines.notify import NotifyEngine
from remainroot.errors import RemainrootError
from remainroot.kernel import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_SYMLINK_NOFOLLOW,
    O_CLOEXEC,
    O_PATH,
    PAGE,
    Seize,
    read_memory,
    read_string,
    same_memory,
    write_memory,
)
from remainroot.store.memory import MemoryStore
from remainroot.tracee import Walk, status_field
from remainroot.world import World

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import Any, Final, NoReturn

    from remainroot.abi import Abi
    from remainroot.engines.base import Watcher
    from remainroot.settings import Settings
else:
    import _signal as signal

_COOKIE: Final = int.from_bytes(os.urandom(4), "little")
"""What a task in our hands has for a sixth argument, of which execve(2) takes no notice: the filter lets it pass."""

_NAMES: Final = ("chdir", "chroot", "close", "execve", "fchdir", "mmap", "munmap", "openat")
_NUMBERS: Final = {
    pt.X86_64: dict(zip(_NAMES, (80, 161, 3, 59, 81, 9, 11, 257), strict=True)),
    pt.I386: dict(zip(_NAMES, (12, 61, 6, 11, 133, 192, 91, 295), strict=True)),
    pt.AARCH64: dict(zip(_NAMES, (49, 51, 57, 221, 50, 222, 215, 56), strict=True)),
    pt.ARM: dict(zip(_NAMES, (12, 61, 6, 11, 133, 192, 91, 322), strict=True)),
}
_READ_WRITE: Final = 3
_PRIVATE_ANONYMOUS: Final = 0x22
_TOKEN: Final = os.urandom(16)


def _name(fd: int) -> bytes:
    """The path of what `fd` names, as its own mount namespace has it."""
    return os.readlink(b"/proc/self/fd/%d" % fd)


class Container:
    """What a program finds that is started in it."""

    def __init__(self, directory: str, environment: dict[str, str], cwd: str) -> None:
        """At `directory` of the host's root; a program starts in its `cwd` unless it is in the container already."""
        self.directory = os.fsencode(directory)
        self.environment = [os.fsencode(f"{name}={value}") for name, value in environment.items()]
        self.cwd = os.fsencode(cwd)

    def has(self, path: bytes) -> bool:
        """Whether this path of the host's root is of a file in the container."""
        return path == self.directory or path.startswith(self.directory + b"/")


class _Route(Walk):
    """The way to a program; a symbolic link of the container means what it means there."""

    def __init__(self, engine: Crossing, tid: int) -> None:
        super().__init__(engine.world.files, tid)
        self.container = engine.container
        self.entry = b""
        """The link of the container that ends the path, if one does."""

    def following(self, here: int, link: int, *, last: bool) -> None:
        """From here on the container's root is the root."""
        if self.entry or not self.container.has(_name(here)):
            return
        if last:
            self.entry = _name(link)
        if not self.container.has(_name(self.root)):
            inner = mounts.open_in(self.root, os.fsdecode(self.container.directory), O_PATH | os.O_DIRECTORY)
            os.close(self.root)
            self.root = inner
            st = os.fstat(inner)
            self.root_key = (st.st_dev, st.st_ino)


class _Traveller(Puppet):
    """The task that crosses over. It is let go by detaching, so a stop takes effect then unless SIGCONT came since."""

    def signal(self) -> int:
        """The stop that has just come."""
        signo = signal.SIGSTOP if self.to_stop else 0
        self.to_stop = False
        return signo


class _Order:
    """An execve to be made again in the container."""

    __slots__ = ("abi", "argv", "path")

    def __init__(self, abi: Abi, path: bytes, argv: int) -> None:
        self.abi = abi
        self.path = path
        self.argv = argv


class _Block:
    """What the call needs of the task's memory: the environment, then strings."""

    def __init__(self, bits: int, environment: list[bytes], strings: tuple[bytes, ...]) -> None:
        self.word = bits // 8
        self.offsets = {}
        self.pointers: list[int] = []
        text = b""
        first = len(_TOKEN) + self.word * (len(environment) + 1)
        for one in environment:
            self.pointers.append(first + len(text))
            text += one + b"\0"
        for one in strings:
            self.offsets[one] = first + len(text)
            text += one + b"\0"
        self.text = text
        self.size = -(-(first + len(text)) // PAGE) * PAGE
        self.address = 0

    def at(self, string: bytes) -> int:
        """Where one of the strings is."""
        return self.address + self.offsets[string]

    @property
    def environment(self) -> int:
        """Where the array of pointers is."""
        return self.address + len(_TOKEN)

    def data(self) -> bytes:
        """All of it, for `address`."""
        pointers = [self.address + offset for offset in self.pointers] + [0]
        return _TOKEN + pack(f"={len(pointers)}{'Q' if self.word == 8 else 'I'}", *pointers) + self.text


class Crossing(NotifyEngine):
    """Watches each execve of a tree whose root is the host's, and does what the module says."""

    uses_quick = False

    def __init__(self, settings: Settings, watcher: Watcher, container: Container) -> None:
        super().__init__(settings)
        self.equip(World(settings, MemoryStore()), self._decide, watcher)
        self.container = container
        self._kinds = {
            (abi.audit_arch, abi.numbers[name]): (abi, name)
            for abi in abis.native() for name in ("execve", "execveat")
        }  # fmt: skip
        self._areas: dict[int, tuple[int, int]] = {}
        """Memory that a process has been given for its vforked children: address and size."""

    def _filter(self) -> bytes:
        rules: dict[int, dict[int, Any]] = {}
        for arch, nr in self._kinds:
            rules.setdefault(arch, {})[nr] = differs(5, _COOKIE)
        return assemble(rules, RET_USER_NOTIF)

    # -- whether

    def _decide(self, tid: int, arch: int, nr: int, args: tuple[int, ...]) -> Any:
        """The outcome of an execve: CONTINUE, Fail, or an _Order, to which `_special` sees."""
        abi, name = self._kinds[arch, nr]
        dirfd, path, argv, flags = AT_FDCWD, args[0], args[1], 0
        if name == "execveat":
            dirfd, path, argv, flags = _signed(args[0]), args[1], args[2], args[4]
        try:
            if self.container.has(os.readlink(b"/proc/%d/root" % tid)):
                return CONTINUE
            text = read_string(tid, path & abi.word_mask)
        except OSError:
            return CONTINUE  # the kernel will say what is wrong
        try:
            inside = self._path_inside(tid, dirfd, text, flags)
        except OSError as error:
            return Fail(error.errno or EPERM)
        if not inside:
            return CONTINUE
        if abi is abis.X32:
            return Fail(ENOSYS)
        return _Order(abi, inside, argv)

    def _path_inside(self, tid: int, dirfd: int, path: bytes, flags: int) -> bytes:
        """The path in the container of the program that is meant, b"" if it is none of the container's.

        OSError if it would be in the container, and is not.
        """
        route = None
        try:
            if path:
                route = _Route(self, tid)
                found = route.resolve(dirfd, path, follow=not flags & AT_SYMLINK_NOFOLLOW)
            elif flags & AT_EMPTY_PATH:
                found = self.world.files.descriptor(tid, dirfd)
            else:
                return b""
        except OSError:
            if route is not None and route.entry:
                raise
            return b""
        name = (route.entry if route is not None else b"") or _name(found)
        os.close(found)
        return name[len(self.container.directory) :] if self.container.has(name) else b""

    # -- how

    def _special(self, tid: int, arch: int, outcome: object) -> None:
        if not isinstance(outcome, _Order):
            super()._special(tid, arch, outcome)
        elif not self._hold(tid, lambda seize, tgid: self._conduct(tid, tgid, seize, outcome)):
            self._send(0, -EPERM, 0)

    def _conduct(self, tid: int, tgid: int, seize: Seize, order: _Order) -> None:
        """Have the task, which has stopped, cross over, and let it go."""
        puppet = _Traveller(tid, order.abi.audit_arch, self._status_of_held, entered=False)
        try:
            try:
                result = self._cross(puppet, order)
            except OSError as error:
                result = -(error.errno or EPERM)
            puppet.release(result)
            seize.detach(tid)
        except LostError as lost:
            if lost.status >> 16 == pt.EVENT_EXEC:
                pt.set_signal_mask(tgid, puppet.mask)
                seize.detach(tgid)

    def _cross(self, puppet: Puppet, order: _Order) -> int:
        """The execve in the container; a negative errno if it fails, and LostError when it has succeeded."""
        tid, container = puppet.tid, self.container
        calls = _NUMBERS[order.abi.audit_arch]
        strings = (b"/", b".", container.directory, container.cwd, order.path)
        block = _Block(order.abi.bits, container.environment, strings)
        shared = self._borrow(puppet, calls, block)
        if block.address < 0:
            return block.address
        write_memory(tid, block.address, block.data())
        old = []
        result = 0
        for name in (b"/", b"."):
            result = puppet.call(calls["openat"], AT_FDCWD, block.at(name), O_PATH | O_CLOEXEC, 0)
            if result >= 0:
                old.append(result)
        if len(old) == 2:
            stays = container.has(os.readlink(b"/proc/%d/cwd" % tid))
            result = puppet.call(calls["chroot"], block.at(container.directory))
            if result == 0:
                if not stays and puppet.call(calls["chdir"], block.at(container.cwd)):
                    puppet.call(calls["chdir"], block.at(b"/"))
                result = puppet.call(
                    calls["execve"], block.at(order.path), order.argv, block.environment, 0, 0, _COOKIE
                )
                puppet.call(calls["fchdir"], old[0])
                puppet.call(calls["chroot"], block.at(b"."))
                puppet.call(calls["fchdir"], old[1])
        for fd in old:
            puppet.call(calls["close"], fd)
        if not shared:
            puppet.call(calls["munmap"], block.address, block.size)
        return result

    def _borrow(self, puppet: Puppet, calls: dict[str, int], block: _Block) -> bool:
        """Find the block a place in the task's memory (a negative errno if there is none).

        True if it stays: a vforked child has its parent's memory, where each exec would leave a block behind. So the
        parent's is used again.
        """
        tid = puppet.tid
        parent = int(status_field(tid, b"PPid"))
        shared = same_memory(tid, parent)
        if shared and parent in self._areas:
            address, size = self._areas[parent]
            try:
                if size >= block.size and read_memory(tid, address, len(_TOKEN)) == _TOKEN:
                    block.address = address
                    return True
            except OSError:
                pass  # another process by now, or another program
        block.address = puppet.call(calls["mmap"], 0, block.size, _READ_WRITE, _PRIVATE_ANONYMOUS, -1, 0)
        if shared and block.address > 0:
            self._areas[parent] = (block.address, block.size)
        return shared


def _signed(value: int) -> int:
    value &= 0xFFFF_FFFF
    return value - (1 << 32) if value >> 31 else value


def serve(
    settings: Settings, watcher: Watcher, become: Callable[[], NoReturn], started: Callable[[int], None],
    fork: Callable[[], int], container: Container,
) -> None:  # fmt: skip
    """As `supervise`, for a command that is not under the shim and has the host's root, with `container` in it."""
    engine = Crossing(settings, watcher, container)
    engine.fork = fork
    try:
        pid = engine.spawn(become)
        engine.catch()
    except OSError as error:
        raise RemainrootError(f"enter: --with-host-root does not work here: {error.strerror}") from None
    started(pid)
    engine.run()
