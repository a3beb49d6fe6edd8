# SPDX-License-Identifier: GPL-2.0-or-later
"""prctl(2): the attributes that belong to credentials, and the one that we use."""

from __future__ import annotations

from errno import EINVAL, EPERM

from remainroot.credentials import SECBIT_EXEC_RESTRICT_FILE, SECURE_ALL_UNPRIVILEGED
from remainroot.dispatch import CONTINUE, DONE, INT, Fail, Instead, Return, When, equals, handles
from remainroot.kernel import PR_REMAINROOT, REMAINROOT_ANSWER
from remainroot.kernel import prctl as our_prctl
from remainroot.tasks import DEFAULT_SLACK, thread_group
from remainroot.tracee import status_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from remainroot.dispatch import Call, Outcome

PR_SET_PDEATHSIG: Final = 1
PR_GET_DUMPABLE, PR_SET_DUMPABLE = 3, 4
PR_GET_KEEPCAPS, PR_SET_KEEPCAPS = 7, 8
PR_GET_SECCOMP: Final = 21
PR_CAPBSET_READ, PR_CAPBSET_DROP = 23, 24
PR_GET_SECUREBITS, PR_SET_SECUREBITS = 27, 28
PR_GET_TIMERSLACK: Final = 30
PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS = 38, 39
PR_CAP_AMBIENT: Final = 47
_AMBIENT_IS_SET, _AMBIENT_RAISE, _AMBIENT_LOWER, _AMBIENT_CLEAR_ALL = 1, 2, 3, 4
_EXEC_BITS: Final = SECURE_ALL_UNPRIVILEGED | SECURE_ALL_UNPRIVILEGED << 1

_PRCTL_OPTIONS: Final = (
    PR_GET_DUMPABLE, PR_SET_DUMPABLE, PR_GET_KEEPCAPS, PR_SET_KEEPCAPS, PR_GET_SECCOMP, PR_CAPBSET_READ,
    PR_CAPBSET_DROP,
    PR_GET_SECUREBITS, PR_SET_SECUREBITS, PR_GET_TIMERSLACK, PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS, PR_CAP_AMBIENT,
    PR_REMAINROOT,
)  # fmt: skip


_SETS_PDEATHSIG: Final = When(0, "eq", PR_SET_PDEATHSIG, INT, nonzero=1)
"""To end it is not caught: that is what the task is made to do (`end_pdeathsig`)."""


@handles("prctl", when=(*equals(0, *_PRCTL_OPTIONS), _SETS_PDEATHSIG))
def prctl(call: Call) -> Outcome:
    """prctl(2) of the options that ask for or change credentials."""
    option = call.signed(0)
    handler = _OPTIONS.get(option)
    return CONTINUE if handler is None else handler(call)


def _set_pdeathsig(call: Call) -> Outcome:
    """Set by the kernel; who has set one is made to clear it when it acts as another: prctl(2)."""
    world = call.world
    if world.pdeathsigs is None:
        world.pdeathsigs = {}
    # As which the thread goes on that executes a program.
    world.pdeathsigs.setdefault(thread_group(call.tid), False)
    world.pdeathsigs[call.tid] = False
    return CONTINUE


def end_pdeathsig(call: Call, outcome: Outcome) -> Outcome:
    """The outcome of a change of credentials that ends the caller's parent-death signal, which only it can."""
    pdeathsigs = call.world.pdeathsigs
    if not pdeathsigs or not pdeathsigs.get(call.tid) or not isinstance(outcome, Return):
        return outcome
    del pdeathsigs[call.tid]
    return Instead(call.abi.numbers["prctl"], (PR_SET_PDEATHSIG, 0, 0, 0, 0), outcome.value)


def _get_dumpable(call: Call) -> Outcome:
    return Return(call.state.dumpable)


def _set_dumpable(call: Call) -> Outcome:
    """Remembered only: a task that really is not dumpable hides its memory from us."""
    value = call.ptr(1)
    if value not in (0, 1):
        return Fail(EINVAL)
    call.state = call.state.replace(dumpable=value)
    return DONE


def _get_keepcaps(call: Call) -> Outcome:
    return Return(call.creds.securebits >> 4 & 1)


def _set_keepcaps(call: Call) -> Outcome:
    call.creds = call.creds.set_keepcaps(call.ptr(1))
    return DONE


def _get_seccomp(call: Call) -> Outcome:
    """0 if all filters are ours, as in /proc/PID/status."""
    filters = call.world.filters
    try:
        count = int(status_field(call.tid, b"Seccomp_filters")) if filters else 1
    except OSError:  # before Linux 5.9
        return CONTINUE
    return Return(0) if count <= filters else CONTINUE


def _bounding_read(call: Call) -> Outcome:
    return Return(int(call.creds.has_bound(call.ptr(1))))


def _bounding_drop(call: Call) -> Outcome:
    call.creds = call.creds.drop_bound(call.ptr(1))
    return DONE


def _get_securebits(call: Call) -> Outcome:
    return Return(call.creds.securebits)


_exec_bits: Final[list[bool]] = []


def has_exec_bits() -> bool:
    """Whether the kernel has SECBIT_EXEC_RESTRICT_FILE and its kin (Linux 6.14); a thread of ours tries it."""
    if not _exec_bits:
        from remainroot.elsewhere import weakly

        bits = our_prctl(PR_GET_SECUREBITS)
        try:
            _exec_bits.append(
                bool(bits & SECBIT_EXEC_RESTRICT_FILE)
                or weakly(0, lambda: our_prctl(PR_SET_SECUREBITS, bits | SECBIT_EXEC_RESTRICT_FILE)) == 0
            )
        except OSError:
            _exec_bits.append(False)
    return _exec_bits[0]


def _set_securebits(call: Call) -> Outcome:
    if call.ptr(1) & _EXEC_BITS and not has_exec_bits():
        return Fail(EPERM)
    call.creds = call.creds.set_securebits(call.ptr(1))
    return DONE


def _get_timerslack(call: Call) -> Outcome:
    """Without the mark that a thread bears while the threads of its process differ."""
    tasks = call.world.tasks
    return Return(DEFAULT_SLACK) if tasks.mixed and tasks.marked(call.tid) else CONTINUE


def _set_no_new_privs(call: Call) -> Outcome:
    """Remembered, and really set too: a task sets it to be allowed a seccomp filter of its own."""
    if call.ptr(1) != 1 or call.ptr(2) or call.ptr(3) or call.ptr(4):
        return Fail(EINVAL)
    call.creds = call.creds.set_no_new_privs()
    return CONTINUE


def _get_no_new_privs(call: Call) -> Outcome:
    if call.ptr(1) or call.ptr(2) or call.ptr(3) or call.ptr(4):
        return Fail(EINVAL)
    return Return(int(call.creds.no_new_privs))


def _ambient(call: Call) -> Outcome:
    action, cap = call.ptr(1), call.ptr(2)
    creds = call.creds
    if action == _AMBIENT_CLEAR_ALL:
        if cap or call.ptr(3) or call.ptr(4):
            return Fail(EINVAL)
        call.creds = creds.clear_ambient()
        return DONE
    if call.ptr(3) or call.ptr(4):
        return Fail(EINVAL)
    if action == _AMBIENT_IS_SET:
        return Return(int(creds.has_ambient(cap)))
    if action == _AMBIENT_RAISE:
        call.creds = creds.raise_ambient(cap)
    elif action == _AMBIENT_LOWER:
        call.creds = creds.lower_ambient(cap)
    else:
        creds.has_ambient(cap)  # EINVAL for a capability there is none of, before the action is looked at
        return Fail(EINVAL)
    return DONE


def _are_you_there(call: Call) -> Outcome:
    del call
    return Return(REMAINROOT_ANSWER)


_OPTIONS: Final = {
    PR_SET_PDEATHSIG: _set_pdeathsig,
    PR_GET_DUMPABLE: _get_dumpable,
    PR_SET_DUMPABLE: _set_dumpable,
    PR_GET_KEEPCAPS: _get_keepcaps,
    PR_SET_KEEPCAPS: _set_keepcaps,
    PR_GET_SECCOMP: _get_seccomp,
    PR_CAPBSET_READ: _bounding_read,
    PR_CAPBSET_DROP: _bounding_drop,
    PR_GET_SECUREBITS: _get_securebits,
    PR_SET_SECUREBITS: _set_securebits,
    PR_GET_TIMERSLACK: _get_timerslack,
    PR_SET_NO_NEW_PRIVS: _set_no_new_privs,
    PR_GET_NO_NEW_PRIVS: _get_no_new_privs,
    PR_CAP_AMBIENT: _ambient,
    PR_REMAINROOT: _are_you_there,
}
