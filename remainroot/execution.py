# SPDX-License-Identifier: GPL-2.0-or-later
"""What execve(2) makes of credentials: credentials(7), capabilities(7). As in `remainroot.credentials`, pure."""

from __future__ import annotations

import errno

from remainroot.credentials import ALL_CAPS, CAP_SETUID, KEEP, SECBIT_KEEP_CAPS, SECBIT_NOROOT, Credentials

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from remainroot.file_caps import FileCaps


class ExecResult(tuple[Credentials, bool]):
    """What execve(2) makes of a task's credentials: (creds, secure); secure is AT_SECURE of getauxval(3)."""

    __slots__ = ()

    def __new__(cls, creds: Credentials, secure: bool) -> Self:
        """Pair them."""
        return super().__new__(cls, (creds, secure))

    @property
    def creds(self) -> Credentials:
        """What the new program starts with."""
        return self[0]

    @property
    def secure(self) -> bool:
        """Whether its dynamic linker must distrust the environment."""
        return self[1]


def execute(
    creds: Credentials,
    *,
    uid: int = KEEP,
    gid: int = KEEP,
    file_caps: FileCaps | None = None,
    watched: bool = False,
) -> ExecResult:
    """execve(2) by `creds` of a file set-user-id `uid`, set-group-id `gid` (group-executable too), with `file_caps`.

    Leave out what the file does not have, and all three on a nosuid mount. For a script they are those of
    the interpreter. `watched`: the task has a tracer without CAP_SYS_PTRACE. EPERM where the file insists on
    capabilities that cannot be granted.
    """
    # execve(2): the set-id bits are ignored under no_new_privs.
    euid = creds.euid if uid == KEEP or creds.no_new_privs else uid
    egid = creds.egid if gid == KEEP or creds.no_new_privs else gid

    permitted, all_effective = 0, False
    # File capabilities count where their root is root, or within; no_new_privs cuts them down below.
    has_file_caps = file_caps is not None and creds.namespace.owns(file_caps[3])
    root = creds.namespace.root
    if file_caps is not None and has_file_caps:
        forced, inherited, all_effective, _rootid = file_caps
        permitted = (creds.bounding & forced) | (creds.inheritable & inherited)
        if all_effective and forced & ALL_CAPS & ~permitted:
            # capabilities(7), safety checking for capability-dumb binaries
            raise OSError(errno.EPERM, "Operation not permitted")

    # capabilities(7), capabilities and execution of programs by root: it needs no file capabilities, but
    # they win over set-user-id root.
    file_caps_win = has_file_caps and euid == root != creds.uid
    if not creds.securebits & SECBIT_NOROOT and not file_caps_win:
        if root in (euid, creds.uid):
            permitted = creds.bounding | creds.inheritable
        if euid == root:
            all_effective = True

    # Before 2025 the kernel took an effective id unlike the real one for a changed one.
    id_changed = euid != creds.euid or not creds.in_group(egid)
    if (creds.no_new_privs or watched) and (id_changed or permitted & ~creds.permitted):
        # PR_SET_NO_NEW_PRIVS(2const): nothing that could not have been done without the execve.
        if creds.no_new_privs or not creds.effective & 1 << CAP_SETUID:
            euid, egid = creds.uid, creds.gid
        permitted &= creds.permitted

    # A set-id program, and one with file capabilities, starts without ambient ones.
    ambient = 0 if has_file_caps or id_changed else creds.ambient
    permitted |= ambient
    ids = creds.replace(euid=euid, suid=euid, fsuid=euid, egid=egid, sgid=egid, fsgid=egid)
    after = ids.replace(
        permitted=permitted,
        effective=permitted if all_effective else ambient,
        ambient=ambient,
        securebits=creds.securebits & ~SECBIT_KEEP_CAPS,  # the one flag that execve(2) clears
    )
    # getauxval(3), AT_SECURE: ids differ, or a task not of root came by capabilities other than ambient.
    secure = id_changed or euid != creds.uid or egid != creds.gid
    return ExecResult(after, secure or (creds.uid != root and (all_effective or bool(permitted & ~ambient))))
