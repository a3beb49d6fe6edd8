# SPDX-License-Identifier: GPL-2.0-or-later
"""What credentials may do to files and tasks: the kernel's discretionary access control, as pure functions.

Only access(2) and `--strict` ask them. The rules are those of path_resolution(7), acl(5), capabilities(7) and proc(5);
an `Owner` here has its whole mode. What they cannot know (a read-only mount) the kernel refuses by itself.
"""

from __future__ import annotations

from stat import S_IFMT, S_IFREG, S_ISDIR, S_ISFIFO, S_ISGID, S_ISREG, S_ISUID, S_ISVTX, S_IWOTH, S_IXGRP

from remainroot import acl
from remainroot.credentials import (
    CAP_CHECKPOINT_RESTORE,
    CAP_DAC_OVERRIDE,
    CAP_DAC_READ_SEARCH,
    CAP_FOWNER,
    CAP_LEASE,
    CAP_NET_BIND_SERVICE,
    CAP_NET_RAW,
    CAP_PERFMON,
    CAP_SYS_ADMIN,
    CAP_SYS_BOOT,
    CAP_SYS_CHROOT,
    CAP_SYS_PTRACE,
    SECBIT_NO_SETUID_FIXUP,
)
from remainroot.namespaces import INITIAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.credentials import Credentials
    from remainroot.namespaces import Namespace
    from remainroot.store.base import Owner

READ: Final = 4
WRITE: Final = 2
EXECUTE: Final = 1
"""What is wanted of a file, to be added up; EXECUTE of a directory is to search it."""

_POWER: Final = (
    1 << CAP_DAC_OVERRIDE | 1 << CAP_DAC_READ_SEARCH | 1 << CAP_FOWNER
    | 1 << CAP_SYS_PTRACE | 1 << CAP_SYS_ADMIN | 1 << CAP_SYS_CHROOT | 1 << CAP_LEASE
    | 1 << CAP_NET_BIND_SERVICE | 1 << CAP_NET_RAW | 1 << CAP_SYS_BOOT | 1 << CAP_CHECKPOINT_RESTORE
)  # fmt: skip
_ANY_EXECUTE: Final = 0o111
_GROUP: Final = 0o070


def is_powerful(creds: Credentials) -> bool:
    """Whether neither the rules below nor a guard can refuse anything, also when real ids count, as in access(2)."""
    return creds.effective & _POWER == _POWER and creds.uid == 0 and creds.namespace is INITIAL


def of_real_ids(creds: Credentials) -> Credentials:
    """Whom access(2) answers for: the real ids, with the capabilities that the real user would start a program with."""
    real = creds.replace(fsuid=creds.uid, fsgid=creds.gid)
    if creds.securebits & SECBIT_NO_SETUID_FIXUP:
        return real
    return real.replace(effective=creds.permitted if creds.uid == creds.namespace.root else 0)


def needs_list(creds: Credentials, owner: Owner) -> bool:
    """Whether an access list, if the file has one, would have a say."""
    return creds.fsuid != owner.uid and bool(owner.mode & _GROUP)


def may_access(creds: Credentials, owner: Owner, entries: list[acl.Entry] | None, want: int) -> bool:
    """Whether `creds` may do all that is `want`ed with a file of `owner` that has the access list `entries`, or none.

    The owner's permissions, the list's or the group's, or everybody's count, and nothing of the next class when those
    refuse. Then capabilities: CAP_DAC_OVERRIDE, though not to execute what nobody may; CAP_DAC_READ_SEARCH.
    """
    mode = owner.mode
    if creds.fsuid == owner.uid:
        allowed = mode >> 6 & want == want
    elif entries is not None and mode & _GROUP:
        allowed = _listed(creds, owner, entries, want)
    else:
        allowed = (mode >> 3 if creds.in_group(owner.gid) else mode) & want == want
    if allowed:
        return True
    reads = want == READ or (S_ISDIR(mode) and not want & WRITE)
    if reads and creds.capable_of(CAP_DAC_READ_SEARCH, *owner.ids):
        return True
    executable = not want & EXECUTE or S_ISDIR(mode) or bool(mode & _ANY_EXECUTE)
    return executable and creds.capable_of(CAP_DAC_OVERRIDE, *owner.ids)


def _listed(creds: Credentials, owner: Owner, entries: list[acl.Entry], want: int) -> bool:
    """acl(5), the access check algorithm, for anybody but the owner."""
    mask = next((perm for tag, perm, _ in entries if tag == acl.MASK), 7)
    in_a_group = False
    for tag, perm, number in entries:
        if tag == acl.USER and number == creds.fsuid:
            return perm & mask & want == want
        if tag == acl.GROUP_OBJ or tag == acl.GROUP:
            if creds.in_group(owner.gid if tag == acl.GROUP_OBJ else number):
                in_a_group = True
                if perm & want == want:
                    return mask & want == want
        elif tag == acl.OTHER:
            return not in_a_group and perm & want == want
    return False


def is_kept_by_sticky(creds: Credentials, directory: Owner, file: Owner) -> bool:
    """Whether the sticky bit of `directory` keeps `creds` from removing or renaming the file: unlink(2), EPERM."""
    if not directory.mode & S_ISVTX:
        return False
    return creds.fsuid not in (file.uid, directory.uid) and not creds.capable_of(CAP_FOWNER, *file.ids)


def may_link(creds: Credentials, owner: Owner, *, accessible: bool, protected: bool) -> bool:
    """link(2) of this file, which is `accessible` if it may be read and written: proc(5), protected_hardlinks."""
    if not protected or creds.owns(owner.uid):
        return True
    mode = owner.mode
    program = mode & S_ISUID or mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP
    return S_IFMT(mode) == S_IFREG and not program and accessible


def may_follow(creds: Credentials, directory: Owner, link: Owner, *, protected: bool) -> bool:
    """Whether a symbolic link that ends a path may be followed: proc(5), protected_symlinks."""
    everybodys = directory.mode & (S_ISVTX | S_IWOTH) == S_ISVTX | S_IWOTH
    return not protected or not everybodys or link.uid in (creds.fsuid, directory.uid)


def may_reuse(creds: Credentials, directory: Owner, file: Owner, *, fifos: int, regular: int) -> bool:
    """Whether open(2) with O_CREAT may open what is there: proc(5), protected_fifos and protected_regular."""
    if not directory.mode & S_ISVTX or file.uid in (directory.uid, creds.fsuid):
        return True
    is_fifo, is_regular = S_ISFIFO(file.mode), S_ISREG(file.mode)
    if (is_fifo and not fifos) or (is_regular and not regular):
        return True
    if directory.mode & S_IWOTH:
        return False
    strictly = (is_fifo and fifos > 1) or (is_regular and regular > 1)
    return not (directory.mode & 0o020 and strictly)


def may_trace(
    creds: Credentials, target: Credentials, *, dumpable: bool, memory: Namespace = INITIAL, by_fs_ids: bool
) -> bool:
    """Access to another process: ptrace(2), ptrace access mode checking.

    `memory` is the user namespace in which the target's program was executed. `by_fs_ids`: PTRACE_MODE_FSCREDS, which
    following the links of /proc/PID takes; else PTRACE_MODE_REALCREDS.
    """
    capable = creds.capable_in(CAP_SYS_PTRACE, target.namespace)
    uid, gid = (creds.fsuid, creds.fsgid) if by_fs_ids else (creds.uid, creds.gid)
    same = uid == target.euid == target.suid == target.uid and gid == target.egid == target.sgid == target.gid
    if not (same or capable) or not (dumpable or creds.capable_in(CAP_SYS_PTRACE, memory)):
        return False
    capabilities = creds.effective if by_fs_ids else creds.permitted
    return capable or (creds.namespace is target.namespace and not target.permitted & ~capabilities)


def may_profile(creds: Credentials) -> bool:
    """Whether these may see any process' memory map without tracing it: CAP_PERFMON, since Linux 6.15."""
    return creds.capable(CAP_PERFMON) or creds.capable(CAP_SYS_ADMIN)
