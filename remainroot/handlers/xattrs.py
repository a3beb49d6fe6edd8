# SPDX-License-Identifier: GPL-2.0-or-later
"""Extended attributes (xattr(7)): what only real root may set is kept by the store; the store's own are not seen.

- `trusted.*` and `security.*`: kept, under the rules that the kernel has for real root.
- `security.capability`: on the file where the kernel lets us, else kept.
- `system.posix_acl_*`: on the file; where a list names ids that are not mapped, the rest of it, and the names are kept.
- The names that the store itself uses: kept like the first, so that CMD may use them without anything coming of it.

Everything else is the kernel's to answer.
"""

from __future__ import annotations

import functools
import os
from errno import E2BIG, EEXIST, EINVAL, ENODATA, EOVERFLOW, EPERM, ERANGE
from stat import S_ISDIR, S_ISREG
from struct import Struct

from remainroot import acl, quick
from remainroot.credentials import CAP_SETFCAP, CAP_SYS_ADMIN
from remainroot.dispatch import CONTINUE, DONE, Fail, Return, handles
from remainroot.file_caps import for_root, parse_file_caps
from remainroot.handlers.attributes import File, acl_as_told, remove_acl, set_acl
from remainroot.handlers.paths import Unresolved, find, find_fd
from remainroot.kernel import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, descriptor_may_be_cwd
from remainroot.namespaces import INITIAL, NO_ID
from remainroot.store.base import FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from remainroot.dispatch import Call, Outcome

    Locate = Callable[[], tuple[int, os.stat_result]]

_NAME_MAX: Final = 255
_SIZE_MAX: Final = 65536
_LIST_MAX: Final = 65536
_CREATE: Final = 1
_REPLACE: Final = 2
_CAPABILITY: Final = "security.capability"
_WITH_64_BITS: Final = 20
"""The size of a value that holds 64 capabilities; one of 32 is of old."""
_BARE: Final = ("trusted.", "security.")
"""Prefixes with no name behind them."""
_ARGS: Final = Struct("=QII")
_PAGE: Final = 4096


def _kind(call: Call, name: str) -> str:
    """What the rules below go by: one of the words used here; "own" is the store's, "" is the kernel's."""
    if call.world.store.hides(name):
        return "own"
    if name.startswith("trusted."):
        return "trusted"
    if name == _CAPABILITY:
        return "capability"
    if name.startswith("security."):
        return "security"
    if name in acl.NAMES:
        return "acl"
    store = call.world.store
    return "user" if name.startswith("user.") and (store.placeholders or not store.no_attributes) else ""


# ---------------------------------------------------------------- which file, which name


def _by_path(call: Call, flags: int) -> tuple[int, os.stat_result]:
    """The file of a call whose first argument is a path."""
    try:
        path = call.path(0)
    except OSError:
        raise Unresolved from None
    return find(call, AT_FDCWD, path, flags)


@functools.cache
def _descriptor_may_be_cwd() -> bool:
    return descriptor_may_be_cwd()


def _by_fd_or_cwd(call: Call) -> tuple[int, os.stat_result]:
    """As `_by_fd`, of a call that takes AT_FDCWD too, if the kernel lets it."""
    if call.signed(0) == AT_FDCWD and _descriptor_may_be_cwd():
        return find(call, AT_FDCWD, b"", AT_EMPTY_PATH)
    return _by_fd(call)


def _by_fd(call: Call, index: int = 0) -> tuple[int, os.stat_result]:
    """The file of an open descriptor; one opened with O_PATH is the kernel's to refuse."""
    if call.world.files.is_path_only(call.tid, call.signed(index)):
        raise Unresolved
    return find_fd(call, index)


def _at(call: Call) -> tuple[int, os.stat_result]:
    """The file of a call that begins with a directory descriptor, a path and AT_ flags."""
    flags = call.unsigned(2)
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        raise Unresolved
    try:
        path = call.path(1) if call.ptr(1) or not flags & AT_EMPTY_PATH else b""
    except OSError:
        raise Unresolved from None
    if not path and flags & AT_EMPTY_PATH and call.signed(0) != AT_FDCWD:
        return _by_fd(call)
    return find(call, call.signed(0), path, flags)


def _name(call: Call, index: int) -> str:
    """The attribute's name; Unresolved for one that the kernel refuses."""
    try:
        raw = call.path(index)
    except OSError:
        raise Unresolved from None
    if not 0 < len(raw) <= _NAME_MAX:
        raise Unresolved
    return os.fsdecode(raw)


def _run(call: Call, locate: Locate, name: int, act: Callable[[File, str, str], Outcome]) -> Outcome:
    """`act` on the file that `locate` finds, with the name in argument `name`, if that name is any of our business."""
    try:
        attribute = _name(call, name)
        kind = _kind(call, attribute)
        if not kind:
            return CONTINUE
        fd, st = locate()
    except (Unresolved, FileNotFoundError):
        return CONTINUE
    try:
        return act(File(call, fd, st), kind, attribute)
    finally:
        os.close(fd)


def _refusal(file: File, kind: str, name: str) -> Outcome | None:
    """The answer to a change of an attribute of this kind that the kernel would not make for real root; None: go on."""
    file.demand_unflagged()
    if kind in ("user", "own"):
        if file.placeholder or not (S_ISREG(file.st.st_mode) or S_ISDIR(file.st.st_mode)):
            return Fail(EPERM)
        return CONTINUE if kind == "user" else None
    may = _may_set_capability(file) if kind == "capability" else file.call.creds.capable(CAP_SYS_ADMIN)
    if not may:
        return Fail(EPERM)
    return Fail(EINVAL) if name in _BARE else None


# ---------------------------------------------------------------- set


def _set(call: Call, locate: Locate, name: int, rest: tuple[int, int, int]) -> Outcome:
    address, size, flags = rest
    if flags & ~(_CREATE | _REPLACE) or size > _SIZE_MAX:
        return CONTINUE  # EINVAL, E2BIG
    try:
        value = call.read(address, size) if size else b""
    except OSError:
        return CONTINUE  # EFAULT, if the path and the name are in order

    def act(file: File, kind: str, attribute: str) -> Outcome:
        if file.is_read_only:
            return CONTINUE  # EROFS
        if kind == "acl":
            return set_acl(file, attribute, value)
        if kind == "capability":
            return _set_capability(file, value, flags)
        refusal = _refusal(file, kind, attribute)
        if refusal is not None:
            return refusal
        file.keep(attribute, value, flags)
        return DONE

    return _run(call, locate, name, act)


def _set_capability(file: File, value: bytes, flags: int) -> Outcome:
    """On the file if the kernel lets us, else kept.

    It does not without CAP_SETFCAP (bubblewrap) or a user namespace, and those for another namespace's root, an id that
    ours does not map, it takes for malformed.
    """
    caps = parse_file_caps(value) if value else None
    if value and caps is None:
        return Fail(EINVAL)
    file.demand_unflagged()
    if value and not _may_set_capability(file):
        return Fail(EPERM)
    namespace = file.call.creds.namespace
    if caps is not None and (namespace is not INITIAL or caps.rootid):
        root = namespace.uids.down(caps.rootid)
        if root == NO_ID or len(value) < _WITH_64_BITS:
            return Fail(EINVAL)
        value, caps = for_root(value, root), caps.with_root(root)
    on_disk = not file.placeholder and _CAPABILITY in os.listxattr(file.path)
    present = on_disk or (bool(flags) and _CAPABILITY in file.kept())
    if flags & (_CREATE if present else _REPLACE):
        return Fail(EEXIST if present else ENODATA)
    if not file.placeholder:
        try:
            os.setxattr(file.path, _CAPABILITY, value)
        except OSError as error:
            for_others = caps is not None and caps.rootid and error.errno == EINVAL
            if error.errno != EPERM and not for_others:
                raise
            if on_disk:
                os.removexattr(file.path, _CAPABILITY)
        else:
            file.drop(_CAPABILITY)
            return DONE
    file.keep(_CAPABILITY, value, 0)
    return DONE


def _may_set_capability(file: File) -> bool:
    return file.call.creds.capable_of(CAP_SETFCAP, *file.owner.ids)


def _capability_as_told(file: File, value: bytes) -> bytes:
    """capabilities(7), "Namespaced file capabilities": for whose root, as the caller's namespace has it.

    OSError(EOVERFLOW) if that is nobody there, nor root around it.
    """
    caps = parse_file_caps(value)
    if caps is None:
        return value
    namespace = file.call.creds.namespace
    root = namespace.uids.up(caps.rootid)
    if root in (0, NO_ID) and not namespace.owns(caps.rootid):
        raise OSError(EOVERFLOW, os.strerror(EOVERFLOW))
    return for_root(value, 0 if root == NO_ID else root)


@handles("setxattr")
def setxattr(call: Call) -> Outcome:
    """Set an attribute of what a path names: setxattr(2)."""
    return _set(call, lambda: _by_path(call, 0), 1, (call.ptr(2), call.ptr(3), call.unsigned(4)))


@handles("lsetxattr")
def lsetxattr(call: Call) -> Outcome:
    """As setxattr, of a symbolic link itself."""
    return _set(call, lambda: _by_path(call, AT_SYMLINK_NOFOLLOW), 1, (call.ptr(2), call.ptr(3), call.unsigned(4)))


@handles("fsetxattr")
def fsetxattr(call: Call) -> Outcome:
    """As setxattr, of an open file."""
    return _set(call, lambda: _by_fd_or_cwd(call), 1, (call.ptr(2), call.ptr(3), call.unsigned(4)))


def _at_args(call: Call) -> tuple[int, int, int] | None:
    """The struct xattr_args of the *at calls: address, size and flags of the value. None: the kernel refuses it."""
    size = call.ptr(5)
    if not _ARGS.size <= size <= _PAGE:
        return None
    try:
        raw = call.read(call.ptr(4), size)
    except OSError:
        return None
    if any(raw[_ARGS.size :]):
        return None
    address, length, flags = _ARGS.unpack_from(raw)
    return address, length, flags


@handles("setxattrat")
def setxattrat(call: Call) -> Outcome:
    """setxattr relative to a directory descriptor, Linux 6.13."""
    rest = _at_args(call)
    return CONTINUE if rest is None else _set(call, lambda: _at(call), 3, rest)


# ---------------------------------------------------------------- get


def _give(call: Call, data: bytes, buffer: int, size: int) -> Outcome:
    """`data` for a buffer of `size` bytes; 0 asks for the length."""
    if not size:
        return Return(len(data))
    if size < len(data):
        return Fail(ERANGE)
    call.write(buffer, data)
    return Return(len(data))


def _get(call: Call, locate: Locate, name: int, buffer: int, size: int) -> Outcome:
    def act(file: File, kind: str, attribute: str) -> Outcome:
        if kind == "user":
            return Fail(ENODATA) if file.placeholder else CONTINUE
        if kind == "trusted" and not call.creds.capable(CAP_SYS_ADMIN):
            return Fail(ENODATA)
        if attribute in _BARE:
            return Fail(EINVAL)
        value = file.kept().get(attribute)
        if kind == "acl":
            value = acl_as_told(file, attribute, value)
        elif kind == "capability" and call.creds.namespace is not INITIAL:
            if value is None and not file.placeholder:
                value = os.getxattr(file.path, attribute)
            value = value and _capability_as_told(file, value)
        if value is None:
            if kind == "trusted":
                file.demand_attributes()
            return Fail(ENODATA) if kind == "own" or file.placeholder else CONTINUE
        if kind == "capability" and not value:
            return Fail(EINVAL)
        return _give(call, value, buffer, size)

    return _run(call, locate, name, act)


@handles("getxattr", quick=quick.attributes(path=0, name=1))
def getxattr(call: Call) -> Outcome:
    """An attribute of what a path names: getxattr(2)."""
    return _get(call, lambda: _by_path(call, 0), 1, call.ptr(2), call.ptr(3))


@handles("lgetxattr", quick=quick.attributes(path=0, name=1, fixed=AT_SYMLINK_NOFOLLOW))
def lgetxattr(call: Call) -> Outcome:
    """As getxattr, of a symbolic link itself."""
    return _get(call, lambda: _by_path(call, AT_SYMLINK_NOFOLLOW), 1, call.ptr(2), call.ptr(3))


@handles("fgetxattr", quick=quick.attributes(dirfd=0, name=1))
def fgetxattr(call: Call) -> Outcome:
    """As getxattr, of an open file."""
    return _get(call, lambda: _by_fd_or_cwd(call), 1, call.ptr(2), call.ptr(3))


@handles("getxattrat")
def getxattrat(call: Call) -> Outcome:
    """getxattr relative to a directory descriptor, Linux 6.13."""
    rest = _at_args(call)
    if rest is None or rest[2]:
        return CONTINUE
    return _get(call, lambda: _at(call), 3, rest[0], rest[1])


# ---------------------------------------------------------------- list


def _list(call: Call, locate: Locate, buffer: int, size: int) -> Outcome:
    store = call.world.store
    if store.no_attributes and not store.xattrs:
        return CONTINUE
    try:
        fd, st = locate()
    except (Unresolved, FileNotFoundError):
        return CONTINUE
    try:
        file = File(call, fd, st)
        names = os.listxattr(file.path)
        kept = file.kept()
    finally:
        os.close(fd)
    admin = call.creds.capable(CAP_SYS_ADMIN)
    shown = [name for name in names if not store.hides(name) and name not in kept and not file.placeholder]
    for name in kept:
        if name == FLAGS:
            continue
        if name in acl.NAMES and not file.placeholder:
            if name in names:
                shown.append(name)
        elif admin or not name.startswith("trusted."):
            shown.append(name)
    if len(shown) == len(names) and not kept.keys() - {FLAGS}:
        return CONTINUE
    raw = b"".join(os.fsencode(name) + b"\0" for name in _in_order(shown))
    if len(raw) > _LIST_MAX:
        return Fail(E2BIG)
    return _give(call, raw, buffer, size)


def _in_order(names: list[str]) -> list[str]:
    """Access lists first, the others from the last to the first, as in a tmpfs, which has an order of its own.

    Other file systems keep the order in which they were set, or that of a hash. Images are built of what is listed, and
    the same files are to make the same image, wherever we keep what.
    """
    return sorted(names, key=lambda name: (name == acl.ACCESS, name == acl.DEFAULT, os.fsencode(name)), reverse=True)


@handles("listxattr", quick=quick.attributes(path=0))
def listxattr(call: Call) -> Outcome:
    """The names of all attributes: listxattr(2)."""
    return _list(call, lambda: _by_path(call, 0), call.ptr(1), call.ptr(2))


@handles("llistxattr", quick=quick.attributes(path=0, fixed=AT_SYMLINK_NOFOLLOW))
def llistxattr(call: Call) -> Outcome:
    """As listxattr, of a symbolic link itself."""
    return _list(call, lambda: _by_path(call, AT_SYMLINK_NOFOLLOW), call.ptr(1), call.ptr(2))


@handles("flistxattr", quick=quick.attributes(dirfd=0))
def flistxattr(call: Call) -> Outcome:
    """As listxattr, of an open file."""
    return _list(call, lambda: _by_fd(call), call.ptr(1), call.ptr(2))


@handles("listxattrat")
def listxattrat(call: Call) -> Outcome:
    """listxattr relative to a directory descriptor, Linux 6.13."""
    return _list(call, lambda: _at(call), call.ptr(3), call.ptr(4))


# ---------------------------------------------------------------- remove


def _remove(call: Call, locate: Locate, name: int) -> Outcome:
    def act(file: File, kind: str, attribute: str) -> Outcome:
        if file.is_read_only:
            return CONTINUE  # EROFS
        if kind == "acl":
            return remove_acl(file, attribute)
        refusal = _refusal(file, kind, attribute)
        if refusal is not None:
            return refusal
        if file.drop(attribute):
            return DONE
        on_disk = kind == "capability" or (kind == "security" and attribute in os.listxattr(file.path))
        if on_disk and not file.placeholder:
            return CONTINUE
        file.writable()
        return Fail(ENODATA)

    return _run(call, locate, name, act)


@handles("removexattr")
def removexattr(call: Call) -> Outcome:
    """Remove an attribute of what a path names: removexattr(2)."""
    return _remove(call, lambda: _by_path(call, 0), 1)


@handles("lremovexattr")
def lremovexattr(call: Call) -> Outcome:
    """As removexattr, of a symbolic link itself."""
    return _remove(call, lambda: _by_path(call, AT_SYMLINK_NOFOLLOW), 1)


@handles("fremovexattr")
def fremovexattr(call: Call) -> Outcome:
    """As removexattr, of an open file."""
    return _remove(call, lambda: _by_fd(call), 1)


@handles("removexattrat")
def removexattrat(call: Call) -> Outcome:
    """removexattr relative to a directory descriptor, Linux 6.13."""
    return _remove(call, lambda: _at(call), 3)
