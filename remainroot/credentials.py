# SPDX-License-Identifier: GPL-2.0-or-later
"""Credentials of one task, and the kernel's rules for changing them: pure values, no process needed.

A `Credentials` never changes. Each rule (`setuid`, `capset`, `exec`, ...) returns the credentials that the
kernel would leave, or raises `OSError` with the errno it would give, its checks in the kernel's order. A rule
that changes nothing returns the very same object. The rules are those of Linux 6.18 in the initial user
namespace, where every id but -1 exists and uid 0 is root; the manual pages named are credentials(7),
capabilities(7) and the page of each call. What a rule cannot know (RLIMIT_NPROC, a nosuid mount, a tracer,
other security modules) is its caller's business.

Ids are unsigned 32-bit numbers, with `KEEP` for -1; capability sets are masks, bit N for capability number N.
"""

from __future__ import annotations

import errno

from remainroot import file_caps as _file_caps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NoReturn, Self, TypedDict, Unpack

    class _Changes(TypedDict, total=False):
        uid: int
        euid: int
        suid: int
        fsuid: int
        gid: int
        egid: int
        sgid: int
        fsgid: int
        groups: tuple[int, ...]
        inheritable: int
        permitted: int
        effective: int
        bounding: int
        ambient: int
        securebits: int
        no_new_privs: bool


FileCaps = _file_caps.FileCaps
parse_file_caps = _file_caps.parse_file_caps

KEEP = 0xFFFFFFFF
"""-1 as uid_t or gid_t: keep that id (setresuid(2), chown(2)), or no id at all."""
NGROUPS_MAX = 65536
"""The most supplementary groups setgroups(2) takes."""

# capabilities(7): the numbers of linux/capability.h
CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID, CAP_KILL = range(6)
CAP_SETGID, CAP_SETUID, CAP_SETPCAP, CAP_LINUX_IMMUTABLE, CAP_NET_BIND_SERVICE = range(6, 11)
CAP_NET_BROADCAST, CAP_NET_ADMIN, CAP_NET_RAW, CAP_IPC_LOCK, CAP_IPC_OWNER = range(11, 16)
CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_CHROOT, CAP_SYS_PTRACE, CAP_SYS_PACCT = range(16, 21)
CAP_SYS_ADMIN, CAP_SYS_BOOT, CAP_SYS_NICE, CAP_SYS_RESOURCE, CAP_SYS_TIME = range(21, 26)
CAP_SYS_TTY_CONFIG, CAP_MKNOD, CAP_LEASE, CAP_AUDIT_WRITE, CAP_AUDIT_CONTROL = range(26, 31)
CAP_SETFCAP, CAP_MAC_OVERRIDE, CAP_MAC_ADMIN, CAP_SYSLOG, CAP_WAKE_ALARM = range(31, 36)
CAP_BLOCK_SUSPEND, CAP_AUDIT_READ, CAP_PERFMON, CAP_BPF, CAP_CHECKPOINT_RESTORE = range(36, 41)
CAP_LAST = CAP_CHECKPOINT_RESTORE
ALL_CAPS = (1 << (CAP_LAST + 1)) - 1
FS_CAPS = (
    1 << CAP_CHOWN
    | 1 << CAP_DAC_OVERRIDE
    | 1 << CAP_DAC_READ_SEARCH
    | 1 << CAP_FOWNER
    | 1 << CAP_FSETID
    | 1 << CAP_LINUX_IMMUTABLE
    | 1 << CAP_MKNOD
    | 1 << CAP_MAC_OVERRIDE
)
"""What comes and goes with a file-system uid of 0 (capabilities(7), effect of user ID changes)."""

# capabilities(7), the securebits: SECURE_* are bit numbers, SECBIT_* masks; a flag's lock is the next bit
SECURE_NOROOT, SECURE_NOROOT_LOCKED = 0, 1
SECURE_NO_SETUID_FIXUP, SECURE_NO_SETUID_FIXUP_LOCKED = 2, 3
SECURE_KEEP_CAPS, SECURE_KEEP_CAPS_LOCKED = 4, 5
SECURE_NO_CAP_AMBIENT_RAISE, SECURE_NO_CAP_AMBIENT_RAISE_LOCKED = 6, 7
SECURE_EXEC_RESTRICT_FILE, SECURE_EXEC_RESTRICT_FILE_LOCKED = 8, 9
SECURE_EXEC_DENY_INTERACTIVE, SECURE_EXEC_DENY_INTERACTIVE_LOCKED = 10, 11
SECBIT_NOROOT, SECBIT_NOROOT_LOCKED = 1 << 0, 1 << 1
SECBIT_NO_SETUID_FIXUP, SECBIT_NO_SETUID_FIXUP_LOCKED = 1 << 2, 1 << 3
SECBIT_KEEP_CAPS, SECBIT_KEEP_CAPS_LOCKED = 1 << 4, 1 << 5
SECBIT_NO_CAP_AMBIENT_RAISE, SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED = 1 << 6, 1 << 7
SECBIT_EXEC_RESTRICT_FILE, SECBIT_EXEC_RESTRICT_FILE_LOCKED = 1 << 8, 1 << 9
SECBIT_EXEC_DENY_INTERACTIVE, SECBIT_EXEC_DENY_INTERACTIVE_LOCKED = 1 << 10, 1 << 11
SECURE_ALL_BITS = 0x555
SECURE_ALL_LOCKS = SECURE_ALL_BITS << 1
SECURE_ALL_UNPRIVILEGED = SECBIT_EXEC_RESTRICT_FILE | SECBIT_EXEC_DENY_INTERACTIVE
"""The flags, Linux 6.14, that a task may set on itself without CAP_SETPCAP."""

_SETUID = 1 << CAP_SETUID
_SETGID = 1 << CAP_SETGID
_SETPCAP = 1 << CAP_SETPCAP


def _refuse() -> NoReturn:
    raise OSError(errno.EPERM, "Operation not permitted")


def _invalid() -> NoReturn:
    raise OSError(errno.EINVAL, "Invalid argument")


def _cap_bit(cap: int) -> int:
    """The mask of one capability; EINVAL when there is no such capability."""
    if not 0 <= cap <= CAP_LAST:
        _invalid()
    return 1 << cap


class ExecResult(tuple["Credentials", bool]):
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


class Credentials:
    """Who a task is: an immutable value, compared and hashed by its fields, in the order of `FIELDS`."""

    FIELDS = (
        *("uid", "euid", "suid", "fsuid", "gid", "egid", "sgid", "fsgid", "groups"),
        *("inheritable", "permitted", "effective", "bounding", "ambient", "securebits", "no_new_privs"),
    )
    __slots__ = (*FIELDS, "_fields")
    uid: int
    euid: int
    suid: int
    fsuid: int
    gid: int
    egid: int
    sgid: int
    fsgid: int
    groups: tuple[int, ...]
    """Supplementary groups, ascending, repeated where setgroups(2) was given repeats."""
    inheritable: int
    permitted: int
    effective: int
    bounding: int
    ambient: int
    securebits: int
    no_new_privs: bool
    _fields: tuple[int | tuple[int, ...], ...]

    def __init__(self, *fields: int | tuple[int, ...]) -> None:
        put = object.__setattr__
        put(self, "_fields", fields)
        for name, value in zip(self.FIELDS, fields, strict=True):
            put(self, name, value)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"credentials do not change: {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"credentials do not change: {name}")

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Credentials) and self._fields == other._fields)

    def __hash__(self) -> int:
        return hash(self._fields)

    def __reduce__(self) -> tuple[type[Credentials], tuple[int | tuple[int, ...], ...]]:
        return Credentials, self._fields

    def __repr__(self) -> str:
        return f"Credentials({', '.join(f'{name}={getattr(self, name)!r}' for name in self.FIELDS)})"

    def replace(self, **changes: Unpack[_Changes]) -> Credentials:
        """These credentials with the named fields as given, no rule applied; itself when nothing differs."""
        given: dict[str, object] = {**changes}
        fields = tuple([given.pop(name, old) for name, old in zip(self.FIELDS, self._fields, strict=True)])
        if given:
            raise TypeError(f"no such field: {', '.join(given)}")
        return self if fields == self._fields else Credentials(*fields)  # type: ignore[arg-type]

    # Setting user ids

    def setuid(self, uid: int) -> Credentials:
        """setuid(2): with CAP_SETUID all four ids, else the effective and file-system ids."""
        if uid == KEEP:
            _invalid()  # EINVAL, before any question of permission: no such id in this namespace
        if self.effective & _SETUID:
            return self._with_uids(uid, uid, uid)
        if uid not in (self.uid, self.suid):
            _refuse()  # EPERM: unprivileged, and neither the real nor the saved id
        return self._with_uids(self.uid, uid, self.suid)

    def setreuid(self, ruid: int, euid: int) -> Credentials:
        """setreuid(2): saved follows effective if real is set, or effective set to other than the real id."""
        if not self.effective & _SETUID:
            if ruid not in (KEEP, self.uid, self.euid):
                _refuse()  # EPERM: the real id may become the real or effective id only
            if euid not in (KEEP, self.uid, self.euid, self.suid):
                _refuse()  # EPERM: the effective id may become any of the three
        new_euid = self.euid if euid == KEEP else euid
        follows = ruid != KEEP or (euid not in (KEEP, self.uid))
        new_ruid = self.uid if ruid == KEEP else ruid
        return self._with_uids(new_ruid, new_euid, new_euid if follows else self.suid)

    def setresuid(self, ruid: int, euid: int, suid: int) -> Credentials:
        """setresuid(2): the file-system id follows the effective one, even where that is kept."""
        new = (
            self.uid if ruid == KEEP else ruid,
            self.euid if euid == KEEP else euid,
            self.suid if suid == KEEP else suid,
        )
        # Nothing asked for that is not so already: not even the file-system id moves.
        if new == (self.uid, self.euid, self.suid) and euid in (KEEP, self.fsuid):
            return self
        if not self.effective & _SETUID and not {self.uid, self.euid, self.suid}.issuperset(new):
            _refuse()  # EPERM: unprivileged, and an id that is none of the three
        return self._with_uids(*new)

    def _with_uids(self, uid: int, euid: int, suid: int) -> Credentials:
        """Commit user ids and what that does to capabilities (capabilities(7), effect of user ID changes)."""
        permitted, effective, ambient = self.permitted, self.effective, self.ambient
        if not self.securebits & SECBIT_NO_SETUID_FIXUP:
            if 0 in (self.uid, self.euid, self.suid) and 0 not in (uid, euid, suid):
                # 1. The last id 0 goes: keep-capabilities saves the first two sets, nothing saves ambient.
                if not self.securebits & SECBIT_KEEP_CAPS:
                    permitted = effective = 0
                ambient = 0
            if self.euid == 0 and euid != 0:
                effective = 0  # 2. the effective id leaves 0, whatever the keep-capabilities flag says
            elif self.euid != 0 and euid == 0:
                effective = permitted  # 3. the effective id becomes 0
        ids = self.replace(uid=uid, euid=euid, suid=suid, fsuid=euid)
        return ids.replace(permitted=permitted, effective=effective, ambient=ambient)

    def setfsuid(self, uid: int) -> Credentials:
        """setfsuid(2): never fails; unchanged where the id is not allowed."""
        allowed = uid in (self.uid, self.euid, self.suid, self.fsuid) or self.effective & _SETUID
        if uid in (KEEP, self.fsuid) or not allowed:
            return self
        effective = self.effective
        if not self.securebits & SECBIT_NO_SETUID_FIXUP:
            # 4. The file-system capabilities leave and return with a file-system id of 0.
            if self.fsuid == 0:
                effective &= ~FS_CAPS
            elif uid == 0:
                effective |= self.permitted & FS_CAPS
        return self.replace(fsuid=uid, effective=effective)

    # Setting group ids: the same rules under CAP_SETGID, and capabilities do not follow

    def setgid(self, gid: int) -> Credentials:
        """setgid(2)."""
        if gid == KEEP:
            _invalid()
        if self.effective & _SETGID:
            return self.replace(gid=gid, egid=gid, sgid=gid, fsgid=gid)
        if gid not in (self.gid, self.sgid):
            _refuse()
        return self.replace(egid=gid, fsgid=gid)

    def setregid(self, rgid: int, egid: int) -> Credentials:
        """setregid(2)."""
        if not self.effective & _SETGID:
            if rgid not in (KEEP, self.gid, self.egid):
                _refuse()
            if egid not in (KEEP, self.gid, self.egid, self.sgid):
                _refuse()
        new_egid = self.egid if egid == KEEP else egid
        follows = rgid != KEEP or (egid not in (KEEP, self.gid))
        new_rgid = self.gid if rgid == KEEP else rgid
        new_sgid = new_egid if follows else self.sgid
        return self.replace(gid=new_rgid, egid=new_egid, sgid=new_sgid, fsgid=new_egid)

    def setresgid(self, rgid: int, egid: int, sgid: int) -> Credentials:
        """setresgid(2)."""
        new = (
            self.gid if rgid == KEEP else rgid,
            self.egid if egid == KEEP else egid,
            self.sgid if sgid == KEEP else sgid,
        )
        if new == (self.gid, self.egid, self.sgid) and egid in (KEEP, self.fsgid):
            return self
        if not self.effective & _SETGID and not {self.gid, self.egid, self.sgid}.issuperset(new):
            _refuse()
        return self.replace(gid=new[0], egid=new[1], sgid=new[2], fsgid=new[1])

    def setfsgid(self, gid: int) -> Credentials:
        """setfsgid(2): never fails; unchanged where the id is not allowed."""
        if gid in (self.gid, self.egid, self.sgid) or self.effective & _SETGID:
            return self if gid == KEEP else self.replace(fsgid=gid)
        return self

    def setgroups(self, gids: Iterable[int]) -> Credentials:
        """setgroups(2): permission first (EPERM), then the count and each id (EINVAL); kept ascending."""
        if not self.effective & _SETGID:
            _refuse()
        groups = tuple(sorted(gids))
        if len(groups) > NGROUPS_MAX or KEEP in groups:
            _invalid()
        return self.replace(groups=groups)

    # Capabilities and the process attributes of prctl(2)

    def capset(self, effective: int, permitted: int, inheritable: int) -> Credentials:
        """capset(2): EPERM for each set that would gain what it may not; unknown capabilities are dropped."""
        effective &= ALL_CAPS
        permitted &= ALL_CAPS
        inheritable &= ALL_CAPS
        # What becomes inheritable must be within the bounding set and, without CAP_SETPCAP, be permitted.
        if not self.effective & _SETPCAP and inheritable & ~(self.inheritable | self.permitted):
            _refuse()
        if inheritable & ~(self.inheritable | self.bounding):
            _refuse()
        if permitted & ~self.permitted or effective & ~permitted:
            _refuse()  # a permitted set never grows, and bounds the effective one
        ambient = self.ambient & permitted & inheritable  # a capability leaves ambient with either of the two
        return self.replace(
            effective=effective, permitted=permitted, inheritable=inheritable, ambient=ambient
        )

    def drop_bound(self, cap: int) -> Credentials:
        """PR_CAPBSET_DROP(2const): EPERM without CAP_SETPCAP, then EINVAL for no capability."""
        if not self.effective & _SETPCAP:
            _refuse()
        return self.replace(bounding=self.bounding & ~_cap_bit(cap))

    def has_bound(self, cap: int) -> bool:
        """PR_CAPBSET_READ: whether the bounding set has it; EINVAL for no capability."""
        return bool(self.bounding & _cap_bit(cap))

    def raise_ambient(self, cap: int) -> Credentials:
        """PR_CAP_AMBIENT_RAISE: EPERM unless permitted and inheritable, and where securebits forbid it."""
        bit = _cap_bit(cap)
        if not self.permitted & self.inheritable & bit or self.securebits & SECBIT_NO_CAP_AMBIENT_RAISE:
            _refuse()
        return self.replace(ambient=self.ambient | bit)

    def lower_ambient(self, cap: int) -> Credentials:
        """PR_CAP_AMBIENT_LOWER: needs no permission; EINVAL for no capability."""
        return self.replace(ambient=self.ambient & ~_cap_bit(cap))

    def clear_ambient(self) -> Credentials:
        """PR_CAP_AMBIENT_CLEAR_ALL."""
        return self.replace(ambient=0)

    def has_ambient(self, cap: int) -> bool:
        """PR_CAP_AMBIENT_IS_SET; EINVAL for no capability."""
        return bool(self.ambient & _cap_bit(cap))

    def set_keepcaps(self, value: int) -> Credentials:
        """PR_SET_KEEPCAPS: EINVAL unless 0 or 1, EPERM where SECBIT_KEEP_CAPS_LOCKED is set."""
        if value not in (0, 1):
            _invalid()
        if self.securebits & SECBIT_KEEP_CAPS_LOCKED:
            _refuse()
        kept = self.securebits & ~SECBIT_KEEP_CAPS
        return self.replace(securebits=kept | SECBIT_KEEP_CAPS if value else kept)

    def set_securebits(self, value: int) -> Credentials:
        """PR_SET_SECUREBITS: every refusal is EPERM, even that of an unknown bit."""
        old = self.securebits
        changed = old ^ value
        if (old & SECURE_ALL_LOCKS) >> 1 & changed or old & SECURE_ALL_LOCKS & ~value:
            _refuse()  # a locked flag does not change, and a lock does not open
        if value & ~(SECURE_ALL_BITS | SECURE_ALL_LOCKS):
            _refuse()
        # Without CAP_SETPCAP only the flags that programs impose on themselves; no change is refused as well.
        others = changed & ~(SECURE_ALL_UNPRIVILEGED | SECURE_ALL_UNPRIVILEGED << 1)
        if not self.effective & _SETPCAP and (others or not changed):
            _refuse()
        return self.replace(securebits=value)

    def set_no_new_privs(self) -> Credentials:
        """PR_SET_NO_NEW_PRIVS: anybody may, nobody can undo it."""
        return self.replace(no_new_privs=True)

    # Questions

    def capable(self, cap: int) -> bool:
        """Whether the effective set has this capability."""
        return bool(self.effective >> cap & 1)

    def in_group(self, gid: int) -> bool:
        """Whether the task is a member for file permissions: by file-system id or supplementary group."""
        return gid == self.fsgid or gid in self.groups

    def in_egroup(self, gid: int) -> bool:
        """Whether the task is a member by its effective id or supplementary group."""
        return gid == self.egid or gid in self.groups

    def may_signal(self, target: Credentials) -> bool:
        """kill(2): real or effective id equals the target's real or saved one, or CAP_KILL.

        A task may always signal its own process, and its session with SIGCONT: the caller's to know.
        """
        return (
            self.euid in (target.suid, target.uid)
            or self.uid in (target.suid, target.uid)
            or self.capable(CAP_KILL)
        )

    def may_set_scheduling(self, target: Credentials) -> bool:
        """setpriority(2), sched_setaffinity(2): an owner without more capabilities.

        Our effective id is the target's real or effective one and it is permitted nothing that we are not,
        or we have CAP_SYS_NICE.
        """
        owner = self.euid in (target.uid, target.euid) and not target.permitted & ~self.permitted
        return owner or self.capable(CAP_SYS_NICE)

    def may_set_limits(self, target: Credentials) -> bool:
        """prlimit(2) on another task: its ids are all equal to our real ones, or CAP_SYS_RESOURCE.

        On itself a task needs none of this: the caller's to know.
        """
        return (
            self.uid == target.uid == target.euid == target.suid
            and self.gid == target.gid == target.egid == target.sgid
        ) or self.capable(CAP_SYS_RESOURCE)

    def exec(
        self, *, uid: int = KEEP, gid: int = KEEP, file_caps: FileCaps | None = None, watched: bool = False
    ) -> ExecResult:
        """execve(2) of a file set-user-id `uid`, set-group-id `gid` (group-executable too), with `file_caps`.

        Leave out what the file does not have, and all three on a nosuid mount. For a script they are those of
        the interpreter. `watched`: the task has a tracer without CAP_SYS_PTRACE. EPERM where the file insists on
        capabilities that cannot be granted.
        """
        # execve(2): the set-id bits are ignored under no_new_privs.
        euid = self.euid if uid == KEEP or self.no_new_privs else uid
        egid = self.egid if gid == KEEP or self.no_new_privs else gid

        permitted, all_effective = 0, False
        # File capabilities count for their own namespace's root only; no_new_privs cuts them down below.
        has_file_caps = file_caps is not None and file_caps[3] == 0
        if file_caps is not None and has_file_caps:
            forced, inherited, all_effective, _rootid = file_caps
            permitted = (self.bounding & forced) | (self.inheritable & inherited)
            if all_effective and forced & ALL_CAPS & ~permitted:
                _refuse()  # capabilities(7), safety checking for capability-dumb binaries

        # capabilities(7), capabilities and execution of programs by root: it needs no file capabilities, but
        # they win over set-user-id root.
        file_caps_win = has_file_caps and euid == 0 and self.uid != 0
        if not self.securebits & SECBIT_NOROOT and not file_caps_win:
            if euid == 0 or self.uid == 0:
                permitted = self.bounding | self.inheritable
            if euid == 0:
                all_effective = True

        # Before 2025 the kernel took an effective id unlike the real one for a changed one.
        id_changed = euid != self.euid or not self.in_group(egid)
        if (self.no_new_privs or watched) and (id_changed or permitted & ~self.permitted):
            # PR_SET_NO_NEW_PRIVS(2const): nothing that could not have been done without the execve.
            if self.no_new_privs or not self.effective & _SETUID:
                euid, egid = self.uid, self.gid
            permitted &= self.permitted

        # A set-id program, and one with file capabilities, starts without ambient ones.
        ambient = 0 if has_file_caps or id_changed else self.ambient
        permitted |= ambient
        ids = self.replace(euid=euid, suid=euid, fsuid=euid, egid=egid, sgid=egid, fsgid=egid)
        creds = ids.replace(
            permitted=permitted,
            effective=permitted if all_effective else ambient,
            ambient=ambient,
            securebits=self.securebits & ~SECBIT_KEEP_CAPS,  # the one flag that execve(2) clears
        )
        # getauxval(3), AT_SECURE: ids differ, or a task not of root came by capabilities other than ambient.
        secure = id_changed or euid != self.uid or egid != self.gid
        return ExecResult(creds, secure or (self.uid != 0 and (all_effective or bool(permitted & ~ambient))))


def root(groups: Iterable[int] = ()) -> Credentials:
    """Root as a login leaves it: ids 0, every capability permitted, effective and bounding, no other."""
    ids = (0,) * 8
    return Credentials(*ids, tuple(sorted(groups)), 0, ALL_CAPS, ALL_CAPS, ALL_CAPS, 0, 0, False)


def user(uid: int, gid: int, groups: Iterable[int] = ()) -> Credentials:
    """A user as root makes one, with setgroups(2), setgid(2) and setuid(2) in this order."""
    return ROOT.setgroups(groups).setgid(gid).setuid(uid)


ROOT: Credentials = root()
