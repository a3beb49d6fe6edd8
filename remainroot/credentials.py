# SPDX-License-Identifier: GPL-2.0-or-later
"""Credentials of one task, and the kernel's rules for changing them: pure values, no process needed.

A `Credentials` never changes. Each rule (`setuid`, `capset`, `exec`, ...) returns the credentials that the
kernel would leave, or raises `OSError` with the errno it would give, its checks in the kernel's order. A rule
that changes nothing returns the very same object. The rules are those of Linux 6.18; the manual pages named are
credentials(7), capabilities(7), user_namespaces(7) and the page of each call. What a rule cannot know (RLIMIT_NPROC, a
nosuid mount, a tracer, other security modules) is its caller's business.

Ids are unsigned 32-bit numbers as the first namespace has them, with `KEEP` for -1; capability sets are masks, bit N
for capability number N.
"""

from __future__ import annotations

import errno

from remainroot.namespaces import INITIAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NoReturn, TypedDict, Unpack

    from remainroot.namespaces import Namespace

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


class Credentials:
    """Who a task is: an immutable value, compared and hashed by its fields, in the order of `FIELDS`.

    Its capabilities are those in its user namespace.
    """

    FIELDS = (
        *("uid", "euid", "suid", "fsuid", "gid", "egid", "sgid", "fsgid", "groups"),
        *("inheritable", "permitted", "effective", "bounding", "ambient", "securebits", "no_new_privs"),
    )
    __slots__ = (*FIELDS, "_fields", "namespace")
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
    namespace: Namespace
    _fields: tuple[int | tuple[int, ...], ...]

    def __init__(self, *fields: int | tuple[int, ...], namespace: Namespace = INITIAL) -> None:
        put = object.__setattr__
        put(self, "_fields", fields)
        put(self, "namespace", namespace)
        for name, value in zip(self.FIELDS, fields, strict=True):
            put(self, name, value)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"credentials do not change: {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"credentials do not change: {name}")

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Credentials) and self._fields == other._fields and self.namespace is other.namespace
        )

    def __hash__(self) -> int:
        return hash(self._fields)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuilt, (self._fields, self.namespace)

    def __repr__(self) -> str:
        fields = [f"{name}={getattr(self, name)!r}" for name in self.FIELDS]
        if self.namespace is not INITIAL:
            fields.append(f"namespace={self.namespace!r}")
        return f"Credentials({', '.join(fields)})"

    def replace(self, **changes: Unpack[_Changes]) -> Credentials:
        """These credentials with the named fields as given, no rule applied; itself when nothing differs."""
        given: dict[str, object] = {**changes}
        fields = tuple([given.pop(name, old) for name, old in zip(self.FIELDS, self._fields, strict=True)])
        if given:
            raise TypeError(f"no such field: {', '.join(given)}")
        return self if fields == self._fields else Credentials(*fields, namespace=self.namespace)  # type: ignore[arg-type]

    def enter(self, namespace: Namespace) -> Credentials:
        """In a user namespace of one's own making, or another's that one has joined: unshare(2), clone(2), setns(2).

        The ids stay; there they may everything, and nothing of it outside.
        """
        same = self._fields[: self.FIELDS.index("inheritable")]
        return Credentials(*same, 0, ALL_CAPS, ALL_CAPS, ALL_CAPS, 0, 0, self.no_new_privs, namespace=namespace)

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
        root = self.namespace.root
        if not self.securebits & SECBIT_NO_SETUID_FIXUP:
            if root in (self.uid, self.euid, self.suid) and root not in (uid, euid, suid):
                # 1. The last id 0 goes: keep-capabilities saves the first two sets, nothing saves ambient.
                if not self.securebits & SECBIT_KEEP_CAPS:
                    permitted = effective = 0
                ambient = 0
            if self.euid == root != euid:
                effective = 0  # 2. the effective id leaves 0, whatever the keep-capabilities flag says
            elif self.euid != root == euid:
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
            if self.fsuid == self.namespace.root:
                effective &= ~FS_CAPS
            elif uid == self.namespace.root:
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
        if not self.may_set_groups():
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
        """Whether it has this capability in the first namespace, and so in all."""
        return bool(self.effective >> cap & 1) and self.namespace is INITIAL

    def capable_inside(self, cap: int) -> bool:
        """Whether it has this capability in its own namespace."""
        return bool(self.effective >> cap & 1)

    def capable_in(self, cap: int, namespace: Namespace) -> bool:
        """Whether it has this capability in another namespace, too.

        user_namespaces(7): in its own, in all that were made in that; and in its child who made it has them all.
        """
        space: Namespace | None = namespace
        while space is not None:
            if space is self.namespace:
                return bool(self.effective >> cap & 1)
            if space.parent is self.namespace and space.owner == self.euid:
                return True
            space = space.parent
        return False

    def capable_of(self, cap: int, uid: int, gid: int) -> bool:
        """Whether it has this capability over a file of these ids, which its namespace must have."""
        return bool(self.effective >> cap & 1) and (self.namespace is INITIAL or self.namespace.maps(uid, gid))

    def owns(self, uid: int) -> bool:
        """Whether what is `uid`'s is its own, or CAP_FOWNER makes it so: chmod(2), utimensat(2), O_NOATIME."""
        return self.fsuid == uid or (self.capable_inside(CAP_FOWNER) and self.namespace.uids.up(uid) != KEEP)

    def may_set_groups(self) -> bool:
        """setgroups(2): CAP_SETGID, and a namespace with groups that does not forbid it."""
        space = self.namespace
        return bool(self.effective & _SETGID) and space.setgroups and bool(space.gids.extents)

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
            or self.capable_in(CAP_KILL, target.namespace)
        )

    def may_set_scheduling(self, target: Credentials) -> bool:
        """setpriority(2), sched_setaffinity(2): an owner without more capabilities.

        Our effective id is the target's real or effective one and it is permitted nothing that we are not,
        or we have CAP_SYS_NICE.
        """
        owner = self.euid in (target.uid, target.euid) and not target.permitted & ~self.permitted
        return owner or self.capable_in(CAP_SYS_NICE, target.namespace)

    def may_set_limits(self, target: Credentials) -> bool:
        """prlimit(2) on another task: its ids are all equal to our real ones, or CAP_SYS_RESOURCE.

        On itself a task needs none of this: the caller's to know.
        """
        return (
            self.uid == target.uid == target.euid == target.suid
            and self.gid == target.gid == target.egid == target.sgid
        ) or self.capable_in(CAP_SYS_RESOURCE, target.namespace)


def _rebuilt(fields: tuple[int | tuple[int, ...], ...], namespace: Namespace) -> Credentials:
    """What a copy is made with."""
    return Credentials(*fields, namespace=namespace)


def root(groups: Iterable[int] = ()) -> Credentials:
    """Root as a login leaves it: ids 0, every capability permitted, effective and bounding, no other."""
    ids = (0,) * 8
    return Credentials(*ids, tuple(sorted(groups)), 0, ALL_CAPS, ALL_CAPS, ALL_CAPS, 0, 0, False)


def user(uid: int, gid: int, groups: Iterable[int] = ()) -> Credentials:
    """A user as root makes one, with setgroups(2), setgid(2) and setuid(2) in this order."""
    return ROOT.setgroups(groups).setgid(gid).setuid(uid)


ROOT: Credentials = root()
