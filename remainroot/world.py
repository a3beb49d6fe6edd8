# SPDX-License-Identifier: GPL-2.0-or-later
"""What the handlers work on: the tasks, the files and their owners, and how the two ids of a mapping are shown."""

from __future__ import annotations

import os
from stat import S_IFDIR, S_ISCHR, S_ISREG

from remainroot.auxv import patch_identity
from remainroot.births import Births
from remainroot.connections import Connections
from remainroot.credentials import CAP_DAC_OVERRIDE
from remainroot.kernel import O_CLOEXEC, O_PATH, overwrite
from remainroot.namespaces import INITIAL, OVERFLOW
from remainroot.readers import known, unmark
from remainroot.store.base import SET_ID, Owner
from remainroot.store.codec import KEEP
from remainroot.tasks import Tasks
from remainroot.tracee import Files, status_field
from remainroot.unnamed import Unnamed, is_unnamed
from remainroot.waiters import Waiters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from remainroot.adjustments import Adjustments
    from remainroot.credentials import Credentials
    from remainroot.dates import Dates
    from remainroot.id_maps import IdMapFiles
    from remainroot.ipc import Objects
    from remainroot.mount_contexts import Context, WholeBind
    from remainroot.nodes import Nodes
    from remainroot.recipients import Chooser
    from remainroot.settings import Settings
    from remainroot.store.base import Store
    from remainroot.tasks import State
    from remainroot.written import Written

NULL: Final = os.makedev(1, 3)
DEVICES: Final = {
    NULL: "/dev/null", os.makedev(1, 5): "/dev/zero", os.makedev(1, 7): "/dev/full",
    os.makedev(1, 8): "/dev/random", os.makedev(1, 9): "/dev/urandom",
}  # fmt: skip
"""The character devices that are for everybody: null(4), full(4), random(4)."""
ON_DISK: Final = -1 << 64
"""No time of change: of the `loose_set_ids` of what is ours."""
_MOST_OWED: Final = 64

_PROC_TASK: Final = rb"(?s).*/proc/(\d+)(?:/task/(\d+))?(?:/.*)?$"
_OPEN_DIRECTORY: Final = S_IFDIR | 0o555


def _is_zombie(tid: int) -> bool:
    try:
        return status_field(tid, b"State").startswith(b"Z")
    except OSError:
        return False


def is_mapped(kind: str, number: int) -> bool:
    """Whether this user namespace maps the id `number`; `kind` is "uid" or "gid"."""
    with open(f"/proc/self/{kind}_map", "rb") as file:
        for line in file:
            first, _, count = map(int, line.split())
            if first <= number < first + count:
                return True
    return False


def _never() -> bool:
    return False


def _has_dac_override() -> bool:
    return bool(int(status_field(os.getpid(), b"CapEff"), 16) >> CAP_DAC_OVERRIDE & 1)


class World:
    """The supervisor's knowledge, for handlers to ask and change."""

    mount_contexts: dict[tuple[int, int], Context] | None = None
    """What is being mounted by fsopen(2) and cannot be (`remainroot.handlers.kernel_mounts`), by what stands for it:
    device and inode number. None while there was none."""
    pdeathsigs: dict[int, bool] | None = None
    """Tasks that have set a parent-death signal, by tid, and whether a change of ids has just ended it. A number that
    is another task's by now does no harm: that has none. None while there was none."""
    dates: Dates | None = None
    """The times that were set on files that really are another's; None while none were."""
    nodes: Nodes | None = None
    """The device nodes that were made here and of which something is open; None while there was none."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self.store = store
        self.unnamed = Unnamed(store, strict=settings.strict)
        self.tasks = Tasks()
        self.files = Files()
        self.births = Births(self)
        self.connections = Connections()
        self.waiters = Waiters()
        self.real_uid, self.real_gid = os.geteuid(), os.getegid()
        self._supervisor, self._front = os.getpid(), os.getppid()
        self.no_new_privs_forced = False
        """The filter needed no_new_privs: the real value says nothing about the task's."""
        self.names: dict[tuple[int, int], bytes] = {}
        """Host and domain names that were set where the kernel refused: by UTS namespace and field of uname(2)."""
        self.ipc: Objects | None = None
        """The System V IPC objects that are not the user's; None while no task has done anything with one."""
        self.written: Written | None = None
        """The login uids that were set; None while nobody has opened such a file to write."""
        self.mounts = 0
        """How many file systems have been mounted, as far as was seen."""
        self.readable_nodes = False
        """A device node other than null was made, or is in some task's /dev: programs executed from now on are to have
        their opens to read seen (`remainroot.readers`). Never again False."""
        self.loose_set_ids: dict[tuple[int, int], int] = {}
        """Regular files, by device and inode number, whose set-id bits are on disk alone, for a user gave them or may
        write to them: the kernel would take them away from root's writes, too. Those of another's file cannot be there:
        the store keeps them as long as st_mtime_ns is what stands here (else ON_DISK). Empty in nearly every run."""
        self.adjustments: Adjustments | None = None
        """What was written to oom_score_adj; None while nobody has opened such a file to write."""
        self.id_maps: IdMapFiles | None = None
        """What is being written to id maps; None while nobody has opened one to write."""
        self.file_owners: dict[tuple[int, int], Chooser] | None = None
        """Who chose whom a file's signals go to (`remainroot.handlers.file_owner`), by device and inode number."""
        self.persistent_keyrings: dict[int, int] = {}
        """The serial numbers of those that are ours, by user id (`remainroot.handlers.keys`)."""
        self.named_ids: dict[int, tuple[bytes, int, int]] = {}
        """By task, the kind of file system that it configures (fsopen(2)), and whose that is to be; KEEP: not said."""
        self.devpts: dict[int, tuple[int, int]] = {}
        """By device number, whose new terminals are where devpts was mounted with uid= or gid=; KEEP: not said."""
        self.whole_binds: dict[int, WholeBind] = {}
        """The mounts, by `kernel.mount_id`, that came with all below them (`remainroot.handlers.binds`)."""
        self.filters = 0
        """How many seccomp filters the engine put on CMD."""
        self._owed: dict[tuple[int, int], bytes] = {}
        self.vanished: Callable[[], bool] = _never
        """Whether the task whose call is being answered is gone.

        An engine whose tasks cannot go unseen leaves it alone.
        """
        self.marks_readers = known() and not settings.strict
        """Whether the filter can see which program an open to read comes from. With `--strict` all are caught."""
        self.weak = not _has_dac_override()
        self._hide_all = hide = settings.whole_identity
        self._unknown = settings.outer if settings.unknown_is_real else None
        self._hidden_uid = -1 if hide or is_mapped("uid", OVERFLOW) else OVERFLOW
        self._hidden_gid = -1 if hide or is_mapped("gid", OVERFLOW) else OVERFLOW

    @property
    def hidden_ids(self) -> tuple[int, int]:
        """The user id and the group id that are not shown as they are; -1: none."""
        return self._hidden_uid, self._hidden_gid

    @property
    def guardians(self) -> tuple[int, ...]:
        """The processes no task may signal, for CMD's world rests on them: the supervisor, and front while it lives."""
        return (self._supervisor, self._front) if os.getppid() == self._front else (self._supervisor,)

    # -- owners

    def override(self, fd: int, st: os.stat_result) -> Owner | None:
        """What the store knows of this file."""
        if self.births.pending:
            self.births.settle(0)
        if self.store.empty:
            return None
        found = self.keeper(fd, st).get(fd, st)
        if found is not None and found.mode & SET_ID and self.loose_set_ids:
            found = self._without_lost(fd, st, found)
        if found is not None and (found.uid == KEEP or found.gid == KEEP):
            default = self.default_owner(st)
            uid = default.uid if found.uid == KEEP else found.uid
            gid = default.gid if found.gid == KEEP else found.gid
            return Owner(uid, gid, found.mode, found.rdev)
        return found

    def _without_lost(self, fd: int, st: os.stat_result, found: Owner) -> Owner:
        """Without the set-id bits that a user's write to another's file has taken away: inode(7)."""
        if self.loose_set_ids.get((st.st_dev, st.st_ino), ON_DISK) in (ON_DISK, st.st_mtime_ns):
            return found
        del self.loose_set_ids[st.st_dev, st.st_ino]
        found = Owner(found.uid, found.gid, found.mode & ~SET_ID)
        self.store.put(fd, st, found)
        return found

    def keeper(self, fd: int, st: os.stat_result) -> Store:
        """Where this file's owner is kept."""
        return self.unnamed.store if is_unnamed(fd, st) else self.store

    def may_be_made_by(self, creds: Credentials, fd: int, st: os.stat_result) -> bool:
        """Whether it is a pipe or a socket without an override that such a task may have made, for all we know."""
        return is_unnamed(fd, st) and self.unnamed.may_be(st, creds.fsuid) and self.override(fd, st) is None

    def supposed_owner(self, fd: int, st: os.stat_result, creds: Credentials) -> Owner:
        """Who a file without an override belongs to, if `creds` are to be given the benefit of the doubt."""
        if self.may_be_made_by(creds, fd, st):
            return Owner(creds.fsuid, creds.fsgid, st.st_mode, st.st_rdev)
        return self.default_owner(st)

    def default_owner(self, st: os.stat_result) -> Owner:
        """Who a file without an override belongs to.

        As the kernel shows it, ids that are not mapped shown as root's.
        """
        uid, gid = st.st_uid, st.st_gid
        if self._unknown is not None:
            uid, gid = self._as_outside(uid, gid)
        elif self._hide_all:
            uid = gid = 0
        else:
            if uid == self._hidden_uid:
                uid = 0
            if gid == self._hidden_gid:
                gid = 0
        return Owner(uid, gid, st.st_mode, st.st_rdev)

    def _as_outside(self, uid: int, gid: int) -> tuple[int, int]:
        """The ids as the user would see them without us; one that is not mapped is taken for root's."""
        assert self._unknown is not None
        if not self.settings.whole_identity:
            uid = self._unknown[0] if uid == 0 else 0 if uid == self._hidden_uid else uid
            gid = self._unknown[1] if gid == 0 else 0 if gid == self._hidden_gid else gid
        return uid, gid

    def owner(self, fd: int, st: os.stat_result) -> Owner:
        """Who this file belongs to, with its mode and device number."""
        found = self.override(fd, st)
        return self.default_owner(st) if found is None else found.shown(st)

    def correction(self, fd: int, st: os.stat_result, asker: int) -> Owner | None:
        """The owner to show `asker` instead of what the kernel would, or None where the kernel's answer is right."""
        found = self.override(fd, st)
        if found is not None:
            return found.shown(st)
        if not self.tasks.untouched and self.files.lies_on_proc(fd, st):
            owner = self._proc_owner(fd, st, asker)
            if owner is not None:
                return owner
        hidden = st.st_uid == self._hidden_uid or st.st_gid == self._hidden_gid
        if hidden or self._hide_all or self._unknown is not None:
            owner = self.default_owner(st)
            if owner.uid != st.st_uid or owner.gid != st.st_gid:
                return owner
        return None

    def is_ours(self, st: os.stat_result) -> bool:
        """Whether the file really belongs to the user who runs this, so that the kernel lets us change it."""
        return st.st_uid == self.real_uid

    def _proc_owner(self, fd: int, st: os.stat_result, asker: int) -> Owner | None:
        """The owner of a task's files in procfs: its effective ids, root's if it is not dumpable (proc(5)).

        A zombie has no memory that could be. A directory that all may read and search has the task's ids all the same.
        A procfs of which that cannot be told is taken to number tasks as `asker` does.
        """
        import re  # rarely needed, and 4 ms of start-up

        match = re.match(_PROC_TASK, os.readlink(b"/proc/self/fd/%d" % fd))
        if match is None:
            return None
        tid = int(match[2] or match[1])
        depth = self.files.proc_depth(st, asker)
        if depth != 1:
            from remainroot.pids import thread_called  # rarely needed, too

            try:
                tid = thread_called(asker, int(match[1]), tid, depth)
            except OSError:
                tid = 0
            if not tid:
                return None
        state = self.tasks.state(tid)
        if st.st_mode != _OPEN_DIRECTORY and (state.dumpable != 1 or _is_zombie(tid)):
            return Owner(0, 0, st.st_mode, st.st_rdev)
        return Owner(state.creds.euid, state.creds.egid, st.st_mode, st.st_rdev)

    def workable(self, mode: int, *, directory: bool = False) -> int:
        """The mode to put on disk where a file is to have `mode`.

        Root may read and write what its mode forbids everybody (CAP_DAC_OVERRIDE). Where we have not that capability
        (bubblewrap takes all of them away), the owner's permissions stay on disk, and the store keeps the mode.
        """
        if not self.weak:
            return mode
        return mode | (0o700 if directory else 0o600)

    def workable_umask(self, mask: int) -> int:
        """The umask to create with where the task's is `mask`: one that leaves what `workable` adds."""
        return mask & ~0o700 if self.weak else mask

    def look_for_nodes(self, root: int) -> None:
        """Note (`readable_nodes`) whether dev/zero, or one of its kin, in the directory `root` is one made here."""
        if self.readable_nodes or not self.store.placeholders:
            return
        for number in DEVICES:
            if number == NULL:
                continue  # as empty as what stands for it
            try:
                fd = os.open(DEVICES[number][1:], O_PATH | O_CLOEXEC | os.O_NOFOLLOW, dir_fd=root)
            except OSError:
                continue
            try:
                st = os.fstat(fd)
                self.readable_nodes |= S_ISREG(st.st_mode) and self.owner(fd, st).rdev == number
            finally:
                os.close(fd)

    def open_for_node(self, placeholder: int, st: os.stat_result, path: str, flags: int) -> int:
        """Open the device at `path` for the node that `placeholder`, whose status is `st`, stands for."""
        if self.nodes is None:
            from remainroot.nodes import Nodes

            self.nodes = Nodes()
        fd = self.nodes.open(placeholder, st, path, flags)
        self.store.note_key(os.fstat(fd))
        return fd

    def behind(self, fd: int, st: os.stat_result) -> tuple[int, os.stat_result]:
        """This file; if it is a device that was opened for a node, what stands for that instead (`fd` is closed)."""
        if self.nodes is None or not S_ISCHR(st.st_mode):
            return fd, st
        placeholder = self.nodes.behind(fd)
        if placeholder < 0:
            return fd, st
        os.close(fd)
        fd = os.dup(placeholder)
        return fd, os.fstat(fd)

    def set_times(self, fd: int, st: os.stat_result, accessed: int | None, modified: int | None) -> None:
        """Remember these times (nanoseconds; None: the one it has) of a file that is not ours to change."""
        if self.dates is None:
            from remainroot.dates import Dates

            self.dates = Dates()
        self.dates.put(fd, st, (accessed, modified))
        self.store.note_key(st)

    def mounted(self) -> None:
        """A file system is being mounted, which may have the device number of one that is gone."""
        self.mounts += 1
        self.files.forget_devices()
        self.store.forget_devices()

    # -- tasks

    def told_uid(self, tid: int) -> int:
        """The user id that the kernel tells `tid` of every task of the tree."""
        return self.real_uid if self.tasks.state(tid).creds.namespace is INITIAL else 0

    def sender_uid(self, tid: int, pid: int, shown: int) -> int:
        """The real user id, as `tid` sees it, of who sent it a signal.

        The kernel tells it the sender's `pid` and the user id `shown`, which stands where in doubt: of who is none of
        ours, or has ended, and where pids are another namespace's; and where it is not what the kernel says of us.
        """
        try:
            if self.tasks.untouched or not self.tasks.supervises(pid) or b"\t" in status_field(tid, b"NSpid"):
                return shown
        except OSError:
            return shown
        return self.uid_for(tid, pid) if shown == self.told_uid(tid) else shown

    def uid_for(self, tid: int, pid: int) -> int:
        """The real user id of `pid` as `tid` sees it."""
        return self.tasks.state(tid).creds.namespace.uids.shown(self.tasks.state(pid).creds.uid)

    def executed(
        self, tid: int, state: State | None, *, secure: bool, stack: tuple[int, int] | None = None
    ) -> None:
        """The exec that a handler answered with `Exec` has succeeded; the new program has not run yet."""
        self.not_executed(tid, stack)
        if state is not None:
            self.tasks.set_process(tid, state)
            patch_identity(tid, state.creds, secure=secure)

    def owe(self, tid: int, kept: dict[int, bytes]) -> None:
        """Nobody will see when the call is over that a handler answered with `Lend`."""
        for address, data in kept.items():
            if len(self._owed) >= _MOST_OWED:
                del self._owed[next(iter(self._owed))]
            self._owed[tid, address] = data

    def owed(self, tid: int, address: int) -> bytes | None:
        """What the task's memory at `address` should hold since `owe`, if it still holds what was lent; asked once."""
        return self._owed.pop((tid, address), None) if self._owed else None

    @staticmethod
    def give_back(tid: int, kept: dict[int, bytes]) -> None:
        """The call that a handler answered with `Lend` is over: its memory is as the task left it."""
        try:
            for address, data in kept.items():
                overwrite(tid, address, data)
        except OSError:
            pass  # killed meanwhile

    @staticmethod
    def not_executed(tid: int, stack: tuple[int, int] | None) -> None:
        """It has failed, or nobody will see what becomes of it: the task has its limit back."""
        if stack is not None:
            unmark(tid, stack)
