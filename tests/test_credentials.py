# SPDX-License-Identifier: GPL-2.0-or-later
"""Each rule of `remainroot.credentials` by example, from the manual pages; needs no privilege."""

from __future__ import annotations

import copy
import errno
import os
import pickle
import struct
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from remainroot import credentials as c
from remainroot.credentials import ALL_CAPS, KEEP, ROOT, Credentials, root, user
from remainroot.execution import execute
from remainroot.file_caps import FileCaps, parse_file_caps

if TYPE_CHECKING:
    from collections.abc import Callable

CHOWN, KILL, SETPCAP, NET_RAW = (1 << cap for cap in (c.CAP_CHOWN, c.CAP_KILL, c.CAP_SETPCAP, c.CAP_NET_RAW))
WWW = user(33, 33, (33, 4))
# An unprivileged task with three different user ids and group ids, as set-id programs have them.
MIXED = WWW.replace(uid=1, euid=2, suid=3, fsuid=2, gid=11, egid=12, sgid=13, fsgid=12)


def uids(creds: Credentials) -> tuple[int, int, int, int]:
    return creds.uid, creds.euid, creds.suid, creds.fsuid


def gids(creds: Credentials) -> tuple[int, int, int, int]:
    return creds.gid, creds.egid, creds.sgid, creds.fsgid


def refused(work: Callable[..., object], *args: Any) -> int:
    with pytest.raises(OSError, match=r"not permitted|Invalid") as caught:
        work(*args)
    assert caught.value.errno is not None
    return caught.value.errno


# The value


def test_it_does_not_change() -> None:
    with pytest.raises(AttributeError):
        WWW.uid = 0
    with pytest.raises(AttributeError):
        WWW.other = 0
    with pytest.raises(AttributeError):
        del WWW.uid


def test_equality_is_by_value() -> None:
    assert user(33, 33, (4, 33)) == WWW
    assert hash(user(33, 33, (4, 33))) == hash(WWW)
    assert WWW != ROOT
    assert object() != WWW
    assert len({WWW, user(33, 33, (33, 4)), ROOT, root()}) == 2
    assert copy.deepcopy(WWW) == WWW == pickle.loads(pickle.dumps(WWW))


def test_what_changes_nothing_is_the_same_object() -> None:
    assert ROOT.replace(uid=0) is ROOT
    assert ROOT.setresuid(0, KEEP, 0) is ROOT
    assert ROOT.setuid(0) is ROOT
    assert ROOT.capset(ALL_CAPS, ALL_CAPS, 0) is ROOT
    assert execute(ROOT).creds is ROOT


def test_replace_knows_its_fields() -> None:
    with pytest.raises(TypeError, match="colour"):
        ROOT.replace(colour=1)  # type: ignore[call-arg]


def test_repr_names_every_field() -> None:
    assert "euid=33" in repr(WWW)
    assert "groups=(4, 33)" in repr(WWW)
    assert eval(repr(WWW).replace("Credentials(", "dict(")) == {
        name: getattr(WWW, name) for name in WWW.FIELDS
    }


def test_capability_numbers() -> None:
    assert (c.CAP_SETGID, c.CAP_SETUID, c.CAP_SETPCAP) == (6, 7, 8)
    assert (c.CAP_SYS_ADMIN, c.CAP_SYS_RESOURCE, c.CAP_MKNOD, c.CAP_SETFCAP) == (21, 24, 27, 31)
    assert c.CAP_LAST == c.CAP_CHECKPOINT_RESTORE == 40
    named = [value for name, value in vars(c).items() if name.startswith("CAP_") and name != "CAP_LAST"]
    assert sorted(named) == list(range(41))


def test_securebits_names_agree() -> None:
    bits = {name: value for name, value in vars(c).items() if name.startswith("SECBIT_")}
    assert len(bits) == 12
    for name, value in bits.items():
        assert value == 1 << getattr(c, name.replace("SECBIT_", "SECURE_"))
    assert sum(bits.values()) == c.SECURE_ALL_BITS | c.SECURE_ALL_LOCKS


def test_root_and_user() -> None:
    assert (uids(ROOT), gids(ROOT), ROOT.groups) == ((0,) * 4, (0,) * 4, ())
    assert (ROOT.permitted, ROOT.effective, ROOT.bounding) == (ALL_CAPS,) * 3
    assert (ROOT.inheritable, ROOT.ambient, ROOT.securebits, ROOT.no_new_privs) == (0, 0, 0, False)
    assert root((7, 3)).groups == (3, 7)
    assert (uids(WWW), gids(WWW), WWW.groups) == ((33,) * 4, (33,) * 4, (4, 33))
    assert (WWW.permitted, WWW.effective, WWW.ambient, WWW.bounding) == (0, 0, 0, ALL_CAPS)
    assert user(0, 5).effective == ALL_CAPS


# Ids


@pytest.mark.parametrize(
    ("method", "args", "left"),
    [
        ("setuid", (1,), (1, 1, 3, 1)),
        ("setuid", (3,), (1, 3, 3, 3)),
        ("setuid", (2,), None),  # neither real nor saved
        ("setuid", (9,), None),
        ("setreuid", (KEEP, KEEP), (1, 2, 3, 2)),
        ("setreuid", (2, KEEP), (2, 2, 2, 2)),  # the real id was set: saved follows
        ("setreuid", (3, KEEP), None),  # real from saved is not allowed
        ("setreuid", (KEEP, 1), (1, 1, 3, 1)),  # effective equals the old real id: saved stays
        ("setreuid", (KEEP, 2), (1, 2, 2, 2)),  # no change, but not the real id: saved follows
        ("setreuid", (KEEP, 3), (1, 3, 3, 3)),
        ("setreuid", (2, 1), (2, 1, 1, 1)),  # the swap
        ("setreuid", (KEEP, 9), None),
        ("setresuid", (3, 1, 2), (3, 1, 2, 1)),
        ("setresuid", (KEEP, KEEP, 1), (1, 2, 1, 2)),
        ("setresuid", (9, KEEP, KEEP), None),
        ("setresuid", (KEEP, 9, KEEP), None),
        ("setresuid", (KEEP, KEEP, 9), None),
        ("setfsuid", (3,), (1, 2, 3, 3)),
        ("setfsuid", (9,), (1, 2, 3, 2)),
        ("setfsuid", (KEEP,), (1, 2, 3, 2)),
    ],
)
def test_unprivileged_ids(method: str, args: tuple[int, ...], left: tuple[int, ...] | None) -> None:
    group_method = method.replace("uid", "gid")
    group_args = [arg if arg == KEEP else arg + 10 for arg in args]
    if left is None:
        assert refused(getattr(MIXED, method), *args) == errno.EPERM
        assert refused(getattr(MIXED, group_method), *group_args) == errno.EPERM
    else:
        assert uids(getattr(MIXED, method)(*args)) == left
        assert gids(getattr(MIXED, group_method)(*group_args)) == tuple(each + 10 for each in left)


def test_privileged_ids() -> None:
    assert uids(ROOT.setuid(5)) == (5, 5, 5, 5)
    assert uids(ROOT.setreuid(5, 6)) == (5, 6, 6, 6)
    assert uids(ROOT.setresuid(5, 6, 7)) == (5, 6, 7, 6)
    assert uids(ROOT.setfsuid(5)) == (0, 0, 0, 5)
    assert gids(ROOT.setgid(5)) == (5, 5, 5, 5)
    assert gids(ROOT.setregid(5, 6)) == (5, 6, 6, 6)
    assert gids(ROOT.setresgid(5, 6, 7)) == (5, 6, 7, 6)
    assert gids(ROOT.setfsgid(5)) == (0, 0, 0, 5)


@pytest.mark.parametrize("creds", [ROOT, WWW])
def test_no_id_is_invalid_before_it_is_refused(creds: Credentials) -> None:
    assert refused(creds.setuid, KEEP) == errno.EINVAL
    assert refused(creds.setgid, KEEP) == errno.EINVAL
    assert creds.setfsuid(KEEP) is creds
    assert creds.setfsgid(KEEP) is creds


def test_a_file_system_id_that_differs_survives_only_a_call_that_asks_for_nothing() -> None:
    apart = ROOT.setfsuid(5).setfsgid(6)
    assert apart.setresuid(KEEP, KEEP, KEEP) is apart
    assert apart.setresuid(0, KEEP, 0) is apart
    assert uids(apart.setresuid(KEEP, 0, KEEP)) == (0, 0, 0, 0)
    assert uids(apart.setreuid(KEEP, KEEP)) == (0, 0, 0, 0)
    assert apart.setresgid(0, KEEP, 0) is apart
    assert gids(apart.setresgid(KEEP, 0, KEEP)) == (0, 0, 0, 0)


def test_setgroups() -> None:
    assert ROOT.setgroups([7, 3, 7]).groups == (3, 7, 7)
    assert ROOT.setgroups(range(c.NGROUPS_MAX)).groups[-1] == c.NGROUPS_MAX - 1
    assert refused(ROOT.setgroups, range(c.NGROUPS_MAX + 1)) == errno.EINVAL
    assert refused(ROOT.setgroups, [1, KEEP]) == errno.EINVAL
    assert refused(WWW.setgroups, [KEEP]) == errno.EPERM
    assert refused(WWW.setgroups, []) == errno.EPERM


# Capabilities follow user ids: capabilities(7), effect of user ID changes


def test_root_that_leaves_for_good_loses_its_capabilities() -> None:
    gone = ROOT.capset(ALL_CAPS, ALL_CAPS, CHOWN).raise_ambient(c.CAP_CHOWN).setuid(33)
    assert (gone.permitted, gone.effective, gone.ambient, gone.inheritable) == (0, 0, 0, CHOWN)


def test_root_that_leaves_for_a_while_gets_them_back() -> None:
    away = ROOT.setresuid(KEEP, 33, KEEP)
    assert (away.permitted, away.effective) == (ALL_CAPS, 0)
    assert away.setresuid(KEEP, 0, KEEP).effective == ALL_CAPS


def test_keep_capabilities_keeps_what_is_permitted() -> None:
    kept = ROOT.capset(ALL_CAPS, ALL_CAPS, CHOWN).raise_ambient(c.CAP_CHOWN).set_keepcaps(1).setuid(33)
    assert (kept.permitted, kept.effective, kept.ambient) == (ALL_CAPS, 0, 0)


def test_no_fixup_lets_ids_and_capabilities_go_apart() -> None:
    fixed = ROOT.set_securebits(c.SECBIT_NO_SETUID_FIXUP)
    assert fixed.setuid(33).effective == ALL_CAPS
    assert fixed.setfsuid(33).effective == ALL_CAPS
    assert fixed.setuid(33).capset(0, ALL_CAPS, 0).replace(suid=0).setresuid(KEEP, 0, KEEP).effective == 0


def test_file_system_capabilities_follow_the_file_system_id() -> None:
    away = ROOT.setfsuid(33)
    assert away.effective == ALL_CAPS & ~sum(1 << cap for cap in (0, 1, 2, 3, 4, 9, 27, 32))
    assert not away.capable(c.CAP_DAC_OVERRIDE)
    assert away.capable(c.CAP_SETUID)
    assert away.setfsuid(0) == ROOT
    assert away.capset(0, CHOWN, 0).replace(suid=0).setfsuid(0).effective == CHOWN


# Capability sets and securebits


def test_capset() -> None:
    some = CHOWN | KILL
    less = ROOT.capset(CHOWN, some, some)
    assert (less.effective, less.permitted, less.inheritable) == (CHOWN, some, some)
    assert less.capset(some, some, 0).effective == some
    assert refused(less.capset, NET_RAW, some, some) == errno.EPERM  # effective outside permitted
    assert refused(less.capset, some, some | NET_RAW, some) == errno.EPERM  # permitted grows
    assert refused(less.capset, 0, 0, some | NET_RAW) == errno.EPERM  # inheritable beyond permitted
    with_setpcap = ROOT.capset(SETPCAP, SETPCAP, 0)
    assert with_setpcap.capset(SETPCAP, SETPCAP, NET_RAW).inheritable == NET_RAW  # within the bounding set
    assert refused(with_setpcap.drop_bound(c.CAP_NET_RAW).capset, 0, 0, NET_RAW) == errno.EPERM
    assert ROOT.capset(1 << 63, 1 << 63, 1 << 41).permitted == 0  # unknown ones are dropped


def test_ambient() -> None:
    assert refused(ROOT.raise_ambient, c.CAP_CHOWN) == errno.EPERM  # not inheritable
    assert refused(ROOT.raise_ambient, 41) == errno.EINVAL
    assert refused(WWW.replace(inheritable=CHOWN).raise_ambient, c.CAP_CHOWN) == errno.EPERM  # not permitted
    base = ROOT.capset(ALL_CAPS, ALL_CAPS, CHOWN | KILL)
    raised = base.raise_ambient(c.CAP_CHOWN).raise_ambient(c.CAP_KILL)
    assert raised.has_ambient(c.CAP_CHOWN)
    assert not base.has_ambient(c.CAP_CHOWN)
    assert raised.lower_ambient(c.CAP_CHOWN).ambient == KILL
    assert raised.clear_ambient().ambient == 0
    assert raised.capset(ALL_CAPS, ALL_CAPS, KILL).ambient == KILL
    assert raised.capset(0, CHOWN, CHOWN | KILL).ambient == CHOWN
    assert refused(raised.lower_ambient, 41) == errno.EINVAL
    assert refused(raised.has_ambient, -1) == errno.EINVAL
    forbidden = base.set_securebits(c.SECBIT_NO_CAP_AMBIENT_RAISE)
    assert refused(forbidden.raise_ambient, c.CAP_CHOWN) == errno.EPERM


def test_bounding() -> None:
    assert ROOT.has_bound(40)
    assert not ROOT.drop_bound(40).has_bound(40)
    assert refused(ROOT.has_bound, 41) == errno.EINVAL
    assert refused(ROOT.drop_bound, 41) == errno.EINVAL
    assert refused(WWW.drop_bound, 41) == errno.EPERM  # permission is asked first
    assert ROOT.drop_bound(c.CAP_CHOWN).capable(c.CAP_CHOWN)  # takes effect at execve


def test_keepcaps() -> None:
    assert WWW.set_keepcaps(1).securebits == c.SECBIT_KEEP_CAPS
    assert WWW.set_keepcaps(1).set_keepcaps(0) == WWW
    assert refused(WWW.set_keepcaps, 2) == errno.EINVAL
    locked = ROOT.set_securebits(c.SECBIT_KEEP_CAPS_LOCKED)
    assert refused(locked.set_keepcaps, 0) == errno.EPERM
    assert refused(locked.set_keepcaps, 2) == errno.EINVAL


def test_securebits() -> None:
    locked = ROOT.set_securebits(c.SECBIT_NOROOT | c.SECBIT_NOROOT_LOCKED)
    assert refused(locked.set_securebits, c.SECBIT_NOROOT_LOCKED) == errno.EPERM  # changes a locked flag
    assert refused(locked.set_securebits, c.SECBIT_NOROOT) == errno.EPERM  # opens a lock
    assert locked.set_securebits(locked.securebits | c.SECBIT_KEEP_CAPS).securebits == 0b10011
    assert refused(ROOT.set_securebits, 1 << 12) == errno.EPERM  # no such flag
    assert refused(WWW.set_securebits, 0) == errno.EPERM  # nothing, without CAP_SETPCAP
    assert refused(WWW.set_securebits, c.SECBIT_NOROOT) == errno.EPERM
    assert WWW.set_securebits(c.SECBIT_EXEC_RESTRICT_FILE).securebits == c.SECBIT_EXEC_RESTRICT_FILE


def test_no_new_privs() -> None:
    assert WWW.set_no_new_privs().no_new_privs
    assert WWW.set_no_new_privs().set_no_new_privs() == WWW.set_no_new_privs()


# Questions


def test_membership() -> None:
    creds = MIXED.replace(fsgid=14)
    assert [gid for gid in range(40) if creds.in_group(gid)] == [4, 14, 33]
    assert [gid for gid in range(40) if creds.in_egroup(gid)] == [4, 12, 33]


def test_may_signal() -> None:
    assert WWW.may_signal(WWW)
    assert ROOT.may_signal(WWW)
    assert not WWW.may_signal(ROOT)
    assert not ROOT.capset(0, 0, 0).may_signal(WWW)
    target = user(9, 9)
    for sender, allowed in [
        ({"uid": 9}, True),
        ({"euid": 9}, True),
        ({"suid": 9}, False),
        ({"fsuid": 9}, False),
    ]:
        assert WWW.replace(**sender).may_signal(target) == allowed  # type: ignore[arg-type]
    for seen, allowed in [({"uid": 33}, True), ({"suid": 33}, True), ({"euid": 33}, False)]:
        assert WWW.may_signal(target.replace(**seen)) == allowed  # type: ignore[arg-type]


def test_may_set_scheduling() -> None:
    target = user(9, 9)
    assert ROOT.may_set_scheduling(target)
    assert not WWW.may_set_scheduling(target)
    assert WWW.replace(euid=9).may_set_scheduling(target)
    assert not WWW.replace(uid=9).may_set_scheduling(target)
    assert WWW.may_set_scheduling(target.replace(uid=33))
    assert WWW.may_set_scheduling(target.replace(euid=33))
    assert not WWW.may_set_scheduling(target.replace(suid=33))
    assert not WWW.may_set_scheduling(WWW.replace(permitted=CHOWN))  # it can do more than we can


def test_may_set_limits() -> None:
    assert ROOT.may_set_limits(WWW)
    assert WWW.may_set_limits(WWW.replace(groups=(), fsuid=5))
    for name in ("uid", "euid", "suid", "gid", "egid", "sgid"):
        assert not WWW.may_set_limits(WWW.replace(**{name: 5}))  # type: ignore[arg-type]
    assert WWW.replace(euid=5, egid=5).may_set_limits(WWW)  # the caller's real ids count


# Programs


def test_plain_program_of_a_user() -> None:
    result = execute(WWW.set_keepcaps(1))
    assert result.creds == WWW
    assert result.secure is False
    assert result == (WWW, False)


def test_set_user_id_root() -> None:
    creds, secure = execute(WWW, uid=0)
    assert uids(creds) == (33, 0, 0, 0)
    assert (creds.permitted, creds.effective) == (ALL_CAPS, ALL_CAPS)
    assert secure


def test_set_ids_of_others() -> None:
    creds, secure = execute(WWW, uid=5, gid=6)
    assert (uids(creds), gids(creds), creds.permitted, secure) == ((33, 5, 5, 5), (33, 6, 6, 6), 0, True)
    dropped = execute(ROOT, uid=5).creds
    assert (uids(dropped), dropped.permitted, dropped.effective) == ((0, 5, 5, 5), ALL_CAPS, 0)


def test_set_group_id_of_a_group_one_is_in_is_secure_too() -> None:
    assert execute(WWW, gid=4).secure


def test_a_weak_tracer_lets_a_program_give_nothing() -> None:
    """execve(2), ptrace(2): as under no_new_privs, but for ids with CAP_SETUID."""
    assert execute(WWW, uid=0, watched=True).creds == WWW
    assert not execute(WWW, uid=0, watched=True).creds.permitted
    assert execute(WWW, watched=True) == execute(WWW)
    able = WWW.replace(effective=1 << c.CAP_SETUID, permitted=1 << c.CAP_SETUID)
    creds = execute(able, uid=0, watched=True).creds
    assert (uids(creds), creds.permitted) == ((33, 0, 0, 0), 1 << c.CAP_SETUID)
    both = execute(able.set_no_new_privs(), uid=0, watched=True).creds
    assert (uids(both), both.permitted) == ((33, 33, 33, 33), 0)


def test_saved_and_file_system_ids_follow_the_effective_ones() -> None:
    creds, secure = execute(MIXED.replace(fsuid=3))
    assert (uids(creds), gids(creds), secure) == ((1, 2, 2, 2), (11, 12, 12, 12), True)


def test_bounding_and_inheritable_limit_root() -> None:
    creds = execute(ROOT.drop_bound(c.CAP_CHOWN)).creds
    assert creds.effective == creds.permitted == ALL_CAPS & ~CHOWN
    lent = ROOT.capset(ALL_CAPS, ALL_CAPS, CHOWN).drop_bound(c.CAP_CHOWN)
    assert execute(lent).creds.permitted == ALL_CAPS


def test_root_gets_back_at_execve_what_it_dropped() -> None:
    assert execute(ROOT.capset(0, 0, 0)) == (ROOT, False)


def test_noroot_makes_root_a_user() -> None:
    creds, secure = execute(ROOT.set_securebits(c.SECBIT_NOROOT))
    assert (creds.permitted, creds.effective, secure) == (0, 0, False)
    assert execute(WWW.replace(securebits=c.SECBIT_NOROOT), uid=0).creds.permitted == 0


def test_keep_capabilities_does_not_outlive_execve() -> None:
    assert execute(ROOT.set_keepcaps(1)).creds == ROOT
    kept = execute(ROOT.set_keepcaps(1).setuid(33)).creds
    assert (kept.permitted, kept.securebits) == (0, 0)


def test_ambient_outlives_execve_of_a_plain_program_only() -> None:
    creds = ROOT.set_keepcaps(1).setuid(33).capset(CHOWN, CHOWN, CHOWN).raise_ambient(c.CAP_CHOWN)
    plain = execute(creds)
    assert (plain.creds.permitted, plain.creds.effective, plain.creds.ambient) == (CHOWN, CHOWN, CHOWN)
    assert not plain.secure
    for special in (execute(creds, uid=5), execute(creds, gid=5), execute(creds, file_caps=FileCaps(0))):
        assert (special.creds.permitted, special.creds.ambient) == (0, 0)


def test_file_capabilities() -> None:
    creds, secure = execute(WWW, file_caps=FileCaps(NET_RAW, effective=True))
    assert (creds.permitted, creds.effective, creds.inheritable, secure) == (NET_RAW, NET_RAW, 0, True)
    assert execute(WWW, file_caps=FileCaps(0, effective=True)) == (WWW, True)
    dormant = execute(WWW, file_caps=FileCaps(NET_RAW))
    assert (dormant.creds.permitted, dormant.creds.effective, dormant.secure) == (NET_RAW, 0, True)
    assert execute(WWW, file_caps=FileCaps(0, NET_RAW)).creds.permitted == 0
    assert execute(WWW.replace(inheritable=NET_RAW), file_caps=FileCaps(0, NET_RAW)).creds.permitted == NET_RAW


def test_file_capabilities_outside_the_bounding_set() -> None:
    bounded = WWW.replace(bounding=ALL_CAPS & ~NET_RAW)
    assert refused(lambda: execute(bounded, file_caps=FileCaps(NET_RAW | CHOWN, effective=True))) == errno.EPERM
    assert execute(bounded, file_caps=FileCaps(NET_RAW | CHOWN)).creds.permitted == CHOWN


def test_file_capabilities_beat_set_user_id_root_but_not_root() -> None:
    creds = execute(WWW, uid=0, file_caps=FileCaps(NET_RAW, effective=True)).creds
    assert (creds.euid, creds.effective) == (0, NET_RAW)
    assert execute(ROOT, file_caps=FileCaps(NET_RAW, effective=True)).creds.effective == ALL_CAPS


def test_file_capabilities_of_another_namespace_do_not_count() -> None:
    assert execute(WWW, file_caps=FileCaps(NET_RAW, effective=True, rootid=1000)) == (WWW, False)


def test_no_new_privs_gives_nothing() -> None:
    bound = WWW.set_no_new_privs()
    assert execute(bound, uid=0, gid=0) == (bound, False)
    creds, _secure = execute(bound, file_caps=FileCaps(NET_RAW, effective=True))
    assert (creds.permitted, creds.effective) == (0, 0)
    assert execute(bound.replace(euid=5)).creds.euid == 5  # what one has one keeps
    half_root = WWW.replace(euid=0, suid=0, fsuid=0, no_new_privs=True)
    creds, secure = execute(half_root)  # would gain capabilities, so that it falls back to its real ids
    assert (uids(creds), creds.permitted, secure) == ((33, 33, 33, 33), 0, True)
    stranger = WWW.replace(egid=7, sgid=7, no_new_privs=True)  # its effective group is not one of its groups
    creds, secure = execute(stranger)
    assert (gids(creds), secure) == ((33, 33, 33, 33), True)
    poor = ROOT.set_no_new_privs().capset(CHOWN, CHOWN, 0)
    assert execute(poor).creds.permitted == CHOWN  # nor does root get back what it dropped


# security.capability


def test_parse_file_caps() -> None:
    second = struct.pack("<5I", 0x02000001, 1 << c.CAP_NET_RAW, 1 << c.CAP_CHOWN, 1 << 8, 1 << 7)
    assert parse_file_caps(second) == FileCaps(NET_RAW | 1 << 40, CHOWN | 1 << 39, effective=True)
    third = parse_file_caps(struct.pack("<6I", 0x03000000, 1, 2, 0, 0, 100000))
    assert third is not None
    assert (third.permitted, third.inheritable, third.effective, third.rootid) == (1, 2, False, 100000)
    assert parse_file_caps(struct.pack("<3I", 0x01000001, 4, 8)) == (4, 8, True, 0)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0" * 3,
        b"\0" * 20,
        b"\0\0\0\2",
        struct.pack("<6I", 0x02000000, *[0] * 5),
        b"\0\0\0\4" + b"\0" * 20,
    ],
)
def test_parse_file_caps_of_something_else(raw: bytes) -> None:
    assert parse_file_caps(raw) is None


def test_import_is_cheap() -> None:
    heavy = {"collections", "dataclasses", "enum", "functools", "re", "typing"}
    code = "import sys; sys.path.insert(0, sys.argv[1]); import remainroot.credentials; print(*sys.modules)"
    source = os.path.dirname(os.path.dirname(c.__file__))
    loaded = subprocess.run(
        [sys.executable, "-ISc", code, source], check=True, capture_output=True, text=True
    ).stdout.split()
    assert "remainroot.credentials" in loaded
    assert not heavy.intersection(loaded)
