# SPDX-License-Identifier: GPL-2.0-or-later
"""`remainroot doctor`: what this machine and container allow, why, and what to change to get more.

Whatever can be tried is tried, in a child that is as CMD would be; a version is never taken for an answer.
"""

from __future__ import annotations

import os
import sys

from remainroot import abi as abis
from remainroot.containers import cgroup as limits
from remainroot.containers import mounts, namespaces
from remainroot.errors import RemainrootError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    Fact = dict[str, str]
    """`name`; `state` ("ok", "no" or "note"); `detail`, why; `advice`, what to change ("" for nothing)."""

_USAGE: Final = """\
usage: remainroot doctor [--json]

Show what this machine and container allow, why, and what to change to get more.
The exit status is 0 if remainroot can run here, 1 if it cannot.
"""
_CAPABILITIES: Final = {
    0: "CHOWN", 1: "DAC_OVERRIDE", 3: "FOWNER", 4: "FSETID", 5: "KILL", 6: "SETGID", 7: "SETUID", 18: "SYS_CHROOT",
    19: "SYS_PTRACE", 21: "SYS_ADMIN", 31: "SETFCAP",
}  # fmt: skip
"""Those that make a difference to what is fake here."""
_CAP_SETFCAP: Final = 31
_WHOLE: Final = [0, 0, 4294967295]


def fact(name: str, state: str, detail: str, advice: str = "") -> Fact:
    """One line of the table."""
    return {"name": name, "state": state, "detail": detail, "advice": advice}


def _text(path: str) -> str:
    """What the file says, "" where there is none."""
    try:
        with open(path, "rb") as file:
            return file.read(65536).decode(errors="replace").strip()
    except OSError:
        return ""


def _status() -> dict[str, str]:
    """The fields of /proc/self/status."""
    lines = (line.partition(":") for line in _text("/proc/self/status").splitlines())
    return {name: value.strip() for name, _, value in lines}


def in_child(work: Callable[[], str]) -> str:
    """What `work` returns in a child process of its own; "exception: ..." where it fails there."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            try:
                text = work()
            except OSError as error:
                text = f"exception: {error.strerror}"
            except RemainrootError as error:
                text = f"exception: {error}"
            os.write(writer, text.encode(errors="replace"))
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        text = file.read().decode(errors="replace")
    os.waitpid(pid, 0)
    return text or "exception: the trial was killed"


def _refusal(text: str) -> str:
    """Why the trial with this result failed; "" if it did not."""
    return text.removeprefix("exception: ") if text.startswith("exception: ") else ""


def _is_real_root() -> bool:
    words = _text("/proc/self/uid_map").split()
    return os.geteuid() == 0 and [int(word) for word in words] == _WHOLE


# ---------------------------------------------------------------- who and where


def identity(*, inside: bool) -> Fact:
    """Who runs this, and how much the user namespace maps; `inside` another remainroot, as that one shows it."""
    uid, gid = os.geteuid(), os.getegid()
    if inside:
        return fact("identity", "note", f"{uid}:{gid}, as the outer remainroot shows it")
    count = sum(int(line.split()[2]) for line in _text("/proc/self/uid_map").splitlines())
    if _is_real_root():
        return fact(
            "identity", "note", "real root, every id mapped: nothing to fake, remainroot -- CMD refuses to run",
            "run as a plain user or in a rootless container; `remainroot box` works, too",
        )  # fmt: skip
    if uid == 0:
        return fact("identity", "ok", f"root of a user namespace that maps {count} uid{'s' if count != 1 else ''}")
    return fact("identity", "ok", f"plain user {uid}:{gid}; remainroot makes a user namespace with one mapping")


def kernel() -> Fact:
    """The kernel, for reports; nothing depends on its number."""
    system = os.uname()
    return fact("kernel", "ok", f"{system.sysname} {system.release} {system.machine}")


def outer_remainroot(*, inside: bool) -> Fact:
    """Whether a remainroot already answers."""
    if not inside:
        return fact("outer remainroot", "ok", "none")
    detail = "an outer remainroot answers: another one inside joins it; no box, no enter --shim"
    return fact("outer remainroot", "note", detail, "run doctor outside to see what the place itself allows")


def proc() -> Fact:
    """Whether /proc is there and numbers tasks as we do."""
    try:
        number = os.readlink("/proc/self")
    except OSError as error:
        return fact("/proc", "no", f"not usable ({error.strerror})", "mount procfs on /proc")
    if int(number) != os.getpid():
        return fact(
            "/proc", "no", f"it is another pid namespace's: it calls us {number}, we are {os.getpid()}",
            "mount a procfs of this pid namespace (mount -t proc proc /proc)",
        )  # fmt: skip
    return fact("/proc", "ok", "of this pid namespace")


# ---------------------------------------------------------------- engines


def _as_cmd() -> None:
    """Make this process root of the namespace that CMD would be root of."""
    if os.geteuid() != 0:
        from remainroot.launch import enter_namespace
        from remainroot.settings import Settings

        enter_namespace(Settings(), anyway=True)


def _try_engine(name: str) -> str:
    from remainroot.supervisor import engine_class

    _as_cmd()
    return engine_class(name).unavailable() or "works"


def _try_kernel() -> str:
    from remainroot.engines import kernel_only

    _as_cmd()
    kernel_only.load()
    return "works"


def engines(*, inside: bool) -> list[Fact]:
    """Every engine, tried on a real child; the last fact is what `auto` would choose."""
    import remainroot.handlers  # noqa: F401  # declares every syscall
    from remainroot.supervisor import ENGINES

    facts = []
    chosen = ""
    for name in ENGINES:
        text = in_child(lambda name=name: _try_engine(name))  # type: ignore[misc]
        works = text == "works"
        reason = _refusal(text) or text
        facts.append(fact(f"engine {name}", "ok" if works else "no", reason, "" if works else _engine_advice(reason)))
        if works and not chosen:
            chosen = name
    refused = _refusal(in_child(_try_kernel))
    advice = _engine_advice("seccomp") if refused else ""
    facts.append(fact("engine kernel", "no" if refused else "ok", refused or "works; auto never takes it", advice))
    if inside:
        facts.append(fact("auto", "ok", "would choose none"))
    elif chosen:
        facts.append(fact("auto", "ok", f"would choose {chosen}"))
    else:
        facts.append(fact("auto", "no", "no engine works here", "allow seccomp filters or ptrace in this container"))
    return facts


def _engine_advice(reason: str) -> str:
    if "already listens" in reason:
        return "an outer supervisor holds the listener: use --engine trace"
    if "ptrace" in reason.lower() or "yama" in reason:
        return "allow ptrace: kernel.yama.ptrace_scope=0 or 1, or --cap-add SYS_PTRACE"
    if "profile" in reason or "seccomp" in reason:
        return "allow seccomp(2) in the container's profile (--security-opt seccomp=unconfined)"
    return ""


def compiled() -> Fact:
    """Whether the compiled half is there."""
    from remainroot import kernel as ours

    if ours.compiled is not None:
        return fact("compiled half", "ok", "in use")
    why = "REMAINROOT_PURE is set" if ours.PURE else "it was not built"
    return fact("compiled half", "note", f"not in use: {why}; everything works, slower", "install with a C compiler")


# ---------------------------------------------------------------- what the kernel and the container allow


def _libseccomp() -> Any:
    """libseccomp's Python binding: Debian's module, or PyPI's with the same interface; None without either."""
    try:
        import seccomp
    except ImportError:
        try:
            import pyseccomp as seccomp
        except (ImportError, RuntimeError):
            return None
    return seccomp


def numbers() -> Fact:
    """Whether our tables of syscall numbers are libseccomp's, for every ABI that this kernel serves."""
    library = _libseccomp()
    if library is None:
        advice = "install python3-seccomp (Debian) or pyseccomp (PyPI) to have them compared"
        return fact("syscall numbers", "note", "not compared: libseccomp's Python binding is not installed", advice)
    wrong, known = [], 0
    for abi in abis.native():
        arch = getattr(library.Arch, abi.seccomp_arch)
        for name, nr in abi.numbers.items():
            theirs = library.resolve_syscall(arch, name)
            if theirs < 0:
                continue  # newer than this libseccomp
            known += 1
            if theirs != nr:
                wrong.append(f"{name} of {abi.name} is {nr} here, {theirs} there")
    if wrong:
        return fact("syscall numbers", "no", "; ".join(wrong[:3]), "report it: calls would be taken for others")
    return fact("syscall numbers", "ok", f"the {known} that libseccomp knows are the same there")


def user_namespaces(status: dict[str, str]) -> Fact:
    """Whether another user namespace can be made here."""

    def work() -> str:
        namespaces.new_user()
        return "works"

    refused = _refusal(in_child(work))
    if not refused:
        return fact("user namespaces", "ok", "can be made, with a mapping of one's own id")
    knobs = {
        "user.max_user_namespaces is 0": _text("/proc/sys/user/max_user_namespaces") == "0",
        "kernel.unprivileged_userns_clone is 0": _text("/proc/sys/kernel/unprivileged_userns_clone") == "0",
        "kernel.apparmor_restrict_unprivileged_userns is 1": (
            _text("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1"
        ),
        "this process is in a chroot": _is_chrooted(),
        "mapping root into another takes CAP_SETFCAP, which is lacking": (
            os.geteuid() == 0 and not int(status.get("CapEff", "0"), 16) >> _CAP_SETFCAP & 1
        ),
    }
    why = [name for name, true in knobs.items() if true]
    detail = f"refused ({refused}): {', '.join(why) or 'the surrounding seccomp profile or security module forbids it'}"
    advice = "a plain user gets the whole identity faked instead; box needs one"
    return fact("user namespaces", "note" if os.geteuid() else "no", detail, advice)


def _is_chrooted() -> bool:
    """Whether our root is no mount: the kernel then refuses user namespaces."""
    return all(line.split()[4] != "/" for line in _text("/proc/self/mountinfo").splitlines())


def yama() -> Fact:
    """Who may trace whom."""
    scope = _text("/proc/sys/kernel/yama/ptrace_scope")
    meanings = {
        "": ("ok", "not restricted (no yama)", ""),
        "0": ("ok", "not restricted", ""),
        "1": ("ok", "descendants only, which is all that is needed", ""),
        "2": ("note", "only with CAP_SYS_PTRACE", "sysctl kernel.yama.ptrace_scope=1"),
        "3": ("no", "nobody may trace", "kernel.yama.ptrace_scope=1 at boot (3 cannot be undone)"),
    }
    state, detail, advice = meanings.get(scope, ("note", f"kernel.yama.ptrace_scope is {scope}, unknown", ""))
    return fact("yama", state, detail, advice)


def no_new_privs(status: dict[str, str]) -> Fact:
    """Whether it is set on us."""
    if status.get("NoNewPrivs") == "1":
        return fact("no_new_privs", "ok", "set; CMD is shown that it is not")
    return fact("no_new_privs", "ok", "not set")


def capabilities(status: dict[str, str], *, inside: bool) -> Fact:
    """Which of the capabilities that matter we lack; a plain user gets all in the namespace that is made for it."""
    if inside:
        return fact("capabilities", "note", "shown by the outer remainroot, whatever they are in truth")
    if os.geteuid():
        return fact("capabilities", "ok", "none now, all of them in the user namespace that remainroot makes")
    have = int(status.get("CapEff", "0"), 16)
    lacking = [name for number, name in _CAPABILITIES.items() if not have >> number & 1]
    if not lacking:
        return fact("capabilities", "ok", "all that matter")
    detail = f"lacking: {', '.join(lacking)}"
    advice = "start the container with " + " ".join(f"--cap-add {name}" for name in lacking)
    return fact("capabilities", "note", detail + "; what they allow in truth stays forbidden", advice)


def surrounding_seccomp(status: dict[str, str]) -> Fact:
    """Whether a filter is on us already."""
    mode = status.get("Seccomp", "0")
    if mode == "0":
        return fact("surrounding seccomp", "ok", "none")
    count = status.get("Seccomp_filters", "some")
    return fact(
        "surrounding seccomp", "note", f"{count} filter{'' if count == '1' else 's'}: calls it refuses fail for CMD",
        "--security-opt seccomp=unconfined, if something in CMD fails with ENOSYS or EPERM",
    )  # fmt: skip


def overlayfs() -> Fact:
    """Whether overlayfs can be mounted by root of a user namespace."""

    def work() -> str:
        try:
            namespaces.new_user()
        except OSError:
            if os.geteuid():
                raise
        namespaces.unshare(namespaces.NEWNS)
        mounts.make_private()
        mounts.mount("tmpfs", "/tmp", "tmpfs", 0, "mode=700")  # noqa: S108
        fds = []
        for name in ("lower", "upper", "work", "target"):
            os.mkdir(f"/tmp/{name}")  # noqa: S108
            fds.append(os.open(f"/tmp/{name}", mounts.O_PATH))  # noqa: S108
        mounts.overlay(fds[0], fds[1], fds[2], "/tmp/target")  # noqa: S108
        return "works"

    refused = _refusal(in_child(work))
    if refused:
        return fact(
            "overlayfs", "note", f"not in a user namespace ({refused}): no box --overlay, no enter --host-exe",
            "Linux 5.11 or later, and a user namespace that may mount",
        )  # fmt: skip
    return fact("overlayfs", "ok", "in a user namespace")


def user_attributes() -> Fact:
    """Whether files here can carry their owners."""
    where = os.getcwd()
    try:
        fd = os.open(where, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
        try:
            os.setxattr(fd, "user.remainroot.doctor", b"")
        finally:
            os.close(fd)
    except PermissionError:
        advice = "run doctor where you may write"
        return fact("user attributes", "note", f"cannot be tried: nothing may be written to {where}", advice)
    except OSError as error:
        return fact(
            "user attributes", "note", f"not on the file system of {where} ({error.strerror})",
            "owners go to a database instead; use a file system with user xattrs (ext4, xfs, btrfs, tmpfs from 6.6)",
        )  # fmt: skip
    return fact("user attributes", "ok", f"on the file system of {where}")


def subordinate_ids() -> Fact:
    """Whether the user has more ids to map than one."""
    uid = str(os.getuid())
    names = {uid}
    for line in _text("/etc/passwd").splitlines():
        words = line.split(":")
        if len(words) > 2 and words[2] == uid:
            names.add(words[0])
    given = [line.split(":") for line in _text("/etc/subuid").splitlines()]
    counts = [int(words[2]) for words in given if len(words) == 3 and words[0] in names and words[2].isdigit()]
    helper = any(os.access(f"{path}/newuidmap", os.X_OK) for path in os.environ.get("PATH", "").split(":"))
    if counts and helper:
        return fact("subordinate ids", "note", f"{sum(counts)}: a container could map them and need no faking at all")
    if counts:
        return fact("subordinate ids", "ok", f"{sum(counts)}, of no use without newuidmap; not needed here")
    return fact("subordinate ids", "ok", "none; not needed here")


def rttime() -> Fact:
    """Whether the limit that carries credentials is free."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_RTTIME)[1]
    if hard == resource.RLIM_INFINITY:
        return fact("RLIMIT_RTTIME", "ok", "hard limit unlimited")
    return fact(
        "RLIMIT_RTTIME", "no", f"hard limit {hard} µs: it must be unlimited, for it carries a task's credentials",
        "remove the rttime limit (limits.conf, LimitRTTIME= in systemd)",
    )  # fmt: skip


def cgroup() -> Fact:
    """Whether cgroup v2 limits could be set for a box."""
    wanted = set(limits.OPTIONS.values())
    place, offered = limits.place_for(wanted)
    if offered == wanted:
        return fact("cgroup v2", "ok", f"a box can be limited, below {place}")
    options = ", ".join(option for option, name in limits.OPTIONS.items() if name not in offered)
    detail = f"no {options} for a box: {limits.lack(place, wanted - offered)}"
    return fact("cgroup v2", "note", detail, "" if place else "systemd-run --user --scope -p Delegate=yes ...")


# ---------------------------------------------------------------- all of it


def examine() -> list[Fact]:
    """Every fact, in the order of the table."""
    from remainroot.supervisor import joined

    status = _status()
    inside = joined()
    return [
        kernel(), identity(inside=inside), outer_remainroot(inside=inside), proc(), *engines(inside=inside), compiled(),
        numbers(), user_namespaces(status), yama(), no_new_privs(status), capabilities(status, inside=inside),
        surrounding_seccomp(status), rttime(), user_attributes(), overlayfs(), subordinate_ids(), cgroup(),
    ]  # fmt: skip


def table(facts: list[Fact]) -> str:
    """The facts as lines for people."""
    width = max(len(one["name"]) for one in facts)
    lines = []
    for one in facts:
        lines.append(f"{one['state']:<4} {one['name']:<{width}}  {one['detail']}")
        if one["advice"]:
            lines.append(f"{'':<{width + 5}}  -> {one['advice']}")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Run the subcommand."""
    if arguments in (["-h"], ["--help"]):
        sys.stdout.write(_USAGE)
        return 0
    unknown = [word for word in arguments if word != "--json"]
    if unknown:
        raise RemainrootError(f"doctor: unknown argument {unknown[0]} (see remainroot doctor --help)")
    facts = examine()
    auto = next(one for one in facts if one["name"] == "auto")
    needed = ("auto", "/proc", "RLIMIT_RTTIME")
    usable = all(one["state"] == "ok" for one in facts if one["name"] in needed)
    if arguments:
        import json

        word = auto["detail"].rpartition(" ")[2]
        chosen = word if auto["state"] == "ok" and word != "none" else None
        json.dump({"usable": usable, "auto": chosen, "facts": facts}, sys.stdout, indent=1, ensure_ascii=False)
        sys.stdout.write("\n")
    else:
        sys.stdout.write(table(facts))
    return 0 if usable else 1
