# SPDX-License-Identifier: GPL-2.0-or-later
"""Which calls need no knowledge of ours, so that the compiled loop (`remainroot._fast`) may answer them by itself.

A declaration (`@handles`) may carry a `Quick`: when the handler would do nothing but let the kernel answer, or tell the
task an id. It is data, and the loop knows no more of a syscall than it says; whatever it cannot decide with certainty
goes to the handler, which needs no `Quick` to be right. Without a compiler, with REMAINROOT_PURE=1, or where every call
is to be observed, there is no loop, and the handlers answer all of it.

What a task may do is a set of powers, bits that a state has or has not. The loop reads a task's state from the same
resource limit as `remainroot.tasks` does, and `Quick` names the powers that let a call through:

- `surely`: with one of these, at once;
- `likely`: with one of these, if the file that the call names is one that everybody sees as it is. Of a file that is
  seen otherwise the loop may say so itself (`buffer`, `form`), and it may change its owner (`give`), where the store
  keeps owners in a table that the loop can read, or on the files.

Conditions of the whole world (an override of a directory's group exists, a file is about to be born) take powers away
from everybody.
"""

from __future__ import annotations

from _struct import Struct
from stat import S_ISGID

from remainroot.kernel import AT_EACCESS, AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW
from remainroot.store.base import SET_ID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Row

# What a task may have the kernel do for it, unseen by us.
SEES: Final = 1 << 0
"""Look at a file without an override."""
CHOWNS: Final = 1 << 1
"""Give root's files to root."""
TRUNCATES: Final = 1 << 2
"""Cut any file short (while there is no placeholder, and no flag that forbids it)."""
CHMODS: Final = 1 << 3
"""Change the mode of a file that is the user's own."""
CREATES_ANYWHERE: Final = 1 << 4
CREATES: Final = 1 << 5
"""Create files that are root's, and write to any (ANYWHERE: while no directory passes a group on)."""
MAKES: Final = 1 << 6
"""Make pipes that are root's."""
SCHEDULES: Final = 1 << 7
EXECUTES: Final = 1 << 8
"""Stay plain root over an exec of a program without set-id bits."""
FORKS: Final = 1 << 9
"""Make threads and processes (while no process has threads that differ)."""
SEES_ATTRIBUTES: Final = 1 << 10
"""Look at the extended attributes of a file without an override."""

UNGUARDED: Final = 1 << 11
"""Be left alone by the guards of `--strict`."""
GIVES: Final = 1 << 12
GIVES_DIRECTORIES: Final = 1 << 13
"""Give files away, with nothing to heed but the table of owners (DIRECTORIES: since one may have a fake group)."""
REACHES_ANYWHERE: Final = 1 << 20
REACHES: Final = 1 << 14
"""Be told by the kernel what may be done with any file (ANYWHERE: while there are no `World.readable_nodes`)."""
LIMITED: Final = 1 << 15
"""Be told by the kernel what its resource limits are."""
WRITES: Final = 1 << 16
"""Write to any file that is there, and leave its set-id bits as they are."""
PLAIN_PEER: Final = 1 << 17
"""Connect sockets as what the other side takes everybody for."""
NODES: Final = 1 << 18
"""Make device nodes, with nothing to heed but the table of owners."""
LISTS: Final = 1 << 19
"""Be told by the kernel what is in a directory (while there is no placeholder)."""
GOES: Final = 1 << 21
"""Have the kernel do what might be refused to a user alone, where that would certainly not be."""

NOTHING, STAT, STATX = range(3)

SIGNALS: Final = 1 << 22
"""Signal its own threads, unseen: as what the kernel takes everybody for, it may, and is told rightly."""

FREE, CLOSED, SEARCH, ENTER, READ, OPEN, ASK = range(7)
"""What a guard asks about those whom it does not leave alone (`Quick.way`): nothing; what is not known here; that they
may search the directories on the way to the file; that they may search it, too; that they may read it; the same of an
open, whose flags are the argument of `clear`. ASK is the call's own question, guard or not: whether they may do what
the argument of `clear` says."""

_NONE: Final = -1
_AT_NO_AUTOMOUNT: Final = 0x800
_AT_STATX_SYNC_TYPE: Final = 0x6000
_AT: Final = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH
_STAT_FLAGS: Final = _AT | _AT_NO_AUTOMOUNT | _AT_STATX_SYNC_TYPE


class Quick:
    """When a syscall may be answered without its handler. Arguments are meant by index, -1 meaning none.

    `id`: the call asks for one of (uid, euid, gid, egid), and this is its index. `surely`, `likely`: see the module.
    `clear`: (argument, bits), `indirect` if the argument points to the value, and `clear_too`, another: where one of
    the bits is set, the call is the handler's; `unless`: (argument, value), where the argument, an int, has the value.

    The file: `path`, `dirfd`, `flags` are arguments (AT_*; others than `known` are the handler's), `fixed` the flags
    of a call that takes none; `parent`: what counts is the directory the file is in. What makes a file the handler's:
    one of the bits `modes` in its mode; with `owner`, an override; with `uid` and `gid`, arguments, that it is not
    root's to begin with or not root's to become. `name` is an argument too, the name of an extended attribute: one
    that begins with SPECIAL_NAME is the handler's.

    A call that shows a file, perhaps with other ids than it has, writes a `form` (STAT, STATX) to the address in the
    argument `buffer`; `mask` is statx's.
    `give`: with one of these powers the file gets the ids of the arguments `uid` and `gid`, `give_directory` of a
    directory.

    A call that does nothing but change the task's state, by its first `changes` arguments (ids; or their number, and
    `list_of_ids` is the argument with the address of the list), does to equal states the same each time: the loop
    remembers what the handler made of it.

    `results`: the call ends a signal handler, and at the stack pointer and so much, by the ABI's name, lies what the
    call that the signal interrupted is to return; while that is not EINTR, the call is the kernel's.

    `real`: a file that is not really the supervisor's own is the handler's.

    Of an ASK, with one of `looks` it is the kernel's to say what may be done.

    An open whose argument `open_flags` does not ask for a new file: with one of the powers `opens`, at once, or where
    there are device nodes, if it is none; with one of `looks`, if the store keeps no set-id bits of the file, either.
    One to read is a reader's (`remainroot.readers`), and the handler's if the file is a task's, on procfs, or a device
    node. One to write is the handler's if the path ends in one of WRITTEN_NAMES.

    A call that makes a file whose mode is the argument `node`, and its device number the next: where that is a device,
    it is made with one of the powers `give`.

    `group`: the argument must be the number of the caller's process.

    `way`: what the call's guard asks, if it has one. Whoever is not UNGUARDED is let through where the loop has gone
    the way, and finds that everybody, or the caller as the owner, may do what is asked; else it is the guard's to say.

    `arguments` is the argument with the address of a program's arguments: an exec of a reader is the handler's. Where
    there are nodes to read from that is each program that can be marked.
    """

    __slots__ = ("_answer", "_fields", "_others", "_results", "_way")

    def __init__(
        self,
        *,
        id: int = _NONE,  # noqa: A002
        surely: int = 0,
        likely: int = 0,
        clear: tuple[int, int] = (_NONE, 0),
        indirect: bool = False,
        clear_too: tuple[int, int] = (_NONE, 0),
        unless: tuple[int, int] = (_NONE, 0),
        path: int = _NONE,
        dirfd: int = _NONE,
        flags: int = _NONE,
        known: int = 0,
        fixed: int = 0,
        parent: bool = False,
        modes: int = 0,
        owner: bool = False,
        uid: int = _NONE,
        gid: int = _NONE,
        name: int = _NONE,
        buffer: int = _NONE,
        form: int = NOTHING,
        mask: int = _NONE,
        give: int = 0,
        give_directory: int = 0,
        changes: int = 0,
        list_of_ids: int = _NONE,
        results: dict[str, int] | None = None,
        open_flags: int = _NONE,
        looks: int = 0,
        opens: int = 0,
        node: int = _NONE,
        arguments: int = _NONE,
        real: bool = False,
        way: int = CLOSED,
        group: int = _NONE,
    ) -> None:
        self._fields = (
            *(id, surely, likely, *clear, indirect, *clear_too, *unless),
            *(path, dirfd, flags, known, fixed, parent, modes, owner, uid, gid, name),
        )
        self._answer = (buffer, form, mask, give, give_directory, changes, list_of_ids)
        self._results = results or {}
        self._others = (open_flags, looks, opens, node, arguments, real, group)
        self._way = way

    def pack(self, row: Row) -> bytes:
        """As `struct rule` of the loop, for the syscall as one ABI has it."""
        buffer, form, *rest = self._answer
        if form == STAT and row.abi.bits != 64:
            form = NOTHING  # the loop knows the machine's own struct stat alone
        return _RULE.pack(row.abi.audit_arch, row.nr, row.abi.word_mask - (1 << 64 if row.abi.bits == 64 else 0),
                          row.short_ids, *self._fields, buffer, form, *rest,
                          self._results.get(row.abi.name, _NONE), *self._others,
                          self._way if row.guarded or self._way == ASK else FREE)  # fmt: skip


_RULE: Final = Struct("=41q")


def stat(
    buffer: int, path: int = _NONE, dirfd: int = _NONE, flags: int = _NONE, fixed: int = 0, mask: int = _NONE
) -> Quick:
    """A call that shows a file: one without an override is the kernel's. With a `mask` it is statx(2)."""
    return Quick(
        likely=SEES, owner=True, path=path, dirfd=dirfd, flags=flags, known=_STAT_FLAGS, fixed=fixed,
        buffer=buffer, form=STAT if mask == _NONE else STATX, mask=mask, way=SEARCH,
    )  # fmt: skip


def chown(ids: int, path: int = _NONE, dirfd: int = _NONE, flags: int = _NONE, fixed: int = 0) -> Quick:
    """A change of owner; `ids` is the first of the two arguments with the new ones."""
    return Quick(
        likely=CHOWNS, owner=True, uid=ids, gid=ids + 1, path=path, dirfd=dirfd, flags=flags, known=_AT, fixed=fixed,
        give=GIVES, give_directory=GIVES_DIRECTORIES,
    )  # fmt: skip


def chmod(mode: int, path: int = _NONE, dirfd: int = _NONE, flags: int = _NONE) -> Quick:
    """A change of mode to one without set-id bits; `mode` is the argument."""
    return Quick(
        likely=CHMODS, owner=True, real=True, clear=(mode, SET_ID),
        path=path, dirfd=dirfd, flags=flags, known=_AT,
    )  # fmt: skip


def times(path: int, dirfd: int = _NONE, flags: int = _NONE) -> Quick:
    """A change of the times of what a path names, of which an owner may change the mode, too."""
    return Quick(likely=CHMODS, owner=True, real=True, unless=(path, 0), path=path, dirfd=dirfd, flags=flags, known=_AT)


def create(
    path: int,
    dirfd: int = _NONE,
    clear: tuple[int, int] = (_NONE, 0),
    clear_too: tuple[int, int] = (_NONE, 0),
    open_flags: int = _NONE,
    node: int = _NONE,
) -> Quick:
    """A call that may make a file, in a directory without the set-gid bit.

    With `open_flags` it may open one, with `node` it may make a device.
    """
    return Quick(
        surely=CREATES_ANYWHERE, likely=CREATES, clear=clear, clear_too=clear_too,
        path=path, dirfd=dirfd, parent=True, modes=S_ISGID, owner=True, open_flags=open_flags, looks=SEES, opens=WRITES,
        give=0 if node == _NONE else NODES, node=node,
    )  # fmt: skip


SPECIAL_NAME: Final = b"trusted."
OOM_SCORE_ADJ: Final = b"oom_score_adj"
NAMES_OF_MAPS: Final = (b"uid_map", b"gid_map", b"setgroups")
LOGIN_UID: Final = b"loginuid"
TIMER_SLACK: Final = b"timerslack_ns"
WRITTEN_NAMES: Final = (OOM_SCORE_ADJ, LOGIN_UID, TIMER_SLACK, *NAMES_OF_MAPS)
"""Files of a task's directory in procfs whose opens to write are the handlers'."""


def attributes(
    path: int = _NONE, dirfd: int = _NONE, flags: int = _NONE, fixed: int = 0, name: int = _NONE
) -> Quick:
    """A look at a file's extended attributes: the kernel's, if it has neither an override nor any kept here."""
    return Quick(
        likely=SEES_ATTRIBUTES, owner=True, name=name, path=path, dirfd=dirfd, flags=flags, known=_AT, fixed=fixed,
        way=SEARCH if name == _NONE else READ,
    )  # fmt: skip


def unguarded() -> Quick:
    """A call that only `--strict` catches."""
    return Quick(surely=UNGUARDED)


def looking(way: int, path: int, dirfd: int = _NONE, fixed: int = 0) -> Quick:
    """As `unguarded`, where a path says what it is about."""
    return Quick(surely=UNGUARDED, likely=GOES, path=path, dirfd=dirfd, known=_AT, fixed=fixed, way=way)


def open_to_read(flags: int, bits: int, path: int, dirfd: int = _NONE) -> Quick:
    """An open that only `--strict` catches, but a handler's if one of `bits` is set in the argument `flags`.

    It is the handler's, too, if the path names a file on procfs.
    """
    if path == _NONE:
        return Quick(surely=UNGUARDED, clear=(flags, bits))
    return Quick(likely=UNGUARDED | GOES, clear=(flags, bits), path=path, dirfd=dirfd, way=OPEN)


CREATE_SOMEWHERE: Final = Quick(surely=CREATES_ANYWHERE)
"""As `create`, of a call whose arguments do not tell so easily where."""
MAKE: Final = Quick(surely=MAKES)
TRUNCATE: Final = Quick(surely=TRUNCATES)
"""A call that may take set-id bits away, which with TRUNCATES nobody's are ours to keep."""
SCHEDULE: Final = Quick(surely=SCHEDULES)
OWN_SIGNAL: Final = Quick(surely=SIGNALS, group=0)
MEET: Final = Quick(surely=PLAIN_PEER)
LIST: Final = Quick(surely=LISTS)


def reach(want: int, path: int, dirfd: int = _NONE, flags: int = _NONE) -> Quick:
    """A question what the caller may do with a file; `want` is the argument that says what."""
    return Quick(
        surely=REACHES_ANYWHERE, likely=REACHES | GOES, looks=REACHES, owner=True, clear=(want, ~7),
        path=path, dirfd=dirfd, flags=flags, known=_AT | AT_EACCESS, way=ASK,
    )  # fmt: skip


_ALL_BITS: Final = -1


def own_limits(new: int, resource: int, hidden: int, pid: int = _NONE) -> Quick:
    """A call that asks for a limit of the task itself, and not for the one that is `hidden`; all are arguments."""
    return Quick(surely=LIMITED, clear=(new, _ALL_BITS), clear_too=(pid, _ALL_BITS), unless=(resource, hidden))


def fork(flags: int = _NONE, bits: int = 0, *, indirect: bool = False) -> Quick:
    """A call that makes a task; with one of `bits` in the argument `flags`, something else too."""
    return Quick(surely=FORKS, clear=(flags, bits), indirect=indirect)


def own_id(index: int) -> Quick:
    """A call that asks for one of (uid, euid, gid, egid)."""
    return Quick(id=index)


def change_ids(count: int, list_of_ids: int = _NONE) -> Quick:
    """A call whose outcome follows from the task's state and from `count` ids (or so many listed ones)."""
    return Quick(changes=count, list_of_ids=list_of_ids)


def end_of_handler(**results: int) -> Quick:
    """A return from a signal handler; `results`: see Quick."""
    return Quick(results=results)


def execute(path: int, arguments: int, dirfd: int = _NONE, flags: int = _NONE) -> Quick:
    """The execution of a file."""
    return Quick(
        likely=EXECUTES, path=path, dirfd=dirfd, flags=flags, known=_AT, modes=SET_ID, owner=True,
        arguments=arguments,
    )  # fmt: skip


def pack_rules(table: dict[int, dict[int, Row]]) -> bytes:
    """The rules of these rows, one after the other, for the loop."""
    return b"".join(
        row.quick.pack(row) for rows in table.values() for row in rows.values() if row.quick is not None
    )
