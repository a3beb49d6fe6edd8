# SPDX-License-Identifier: GPL-2.0-or-later
"""`remainroot agent`: containers that runc makes, rootless and with a single mapping, with the shim on."""

from __future__ import annotations

import configparser
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.containers.roots import TIMEOUT, UID, Roots, as_user
from tests.launching import children, until

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).parents[2]
CAPABILITIES = [
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP",
    "CAP_SETPCAP", "CAP_SYS_CHROOT", "CAP_NET_BIND_SERVICE", "CAP_MKNOD",
]  # fmt: skip


class Place:
    """A directory of the user's with a running agent in it."""

    def __init__(self, roots: Roots) -> None:
        self.roots = roots
        self.top = roots.top / "agent"
        for path in (self.top, self.top / "home"):
            path.mkdir()
            os.chown(path, UID, UID)
        self.socket = self.top / "socket"
        self.log = self.top / "log"
        with self.log.open("wb") as log:
            self.agent = subprocess.Popen(
                [*as_user(), "agent", "--socket", str(self.socket)], stderr=log, cwd="/", env=self.environment()
            )
        until(self.socket.exists)

    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"] + ":/usr/sbin", "HOME": f"{self.top}/home", "XDG_RUNTIME_DIR": str(self.top)}

    def close(self) -> None:
        self.agent.terminate()
        assert self.agent.wait(20) == -signal.SIGTERM

    def profile(self, base: dict[str, Any] | None) -> dict[str, Any]:
        words = [*as_user(), "agent", "--print-profile", "--socket", str(self.socket)]
        if base is not None:
            file = self.top / "base.json"
            file.write_text(json.dumps(base))
            words += ["--base-profile", str(file)]
        text = subprocess.run(words, capture_output=True, text=True, check=True, cwd="/", timeout=TIMEOUT).stdout
        found: dict[str, Any] = json.loads(text)
        return found

    def start(self, name: str, script: str) -> subprocess.Popen[str]:
        """Start a container of the busybox root with runc."""
        bundle = self.top / name
        bundle.mkdir()
        os.chown(bundle, UID, UID)
        words = as_user()[:-2]
        environment = self.environment()
        subprocess.run([*words, "runc", "spec", "--rootless"], check=True, cwd=bundle, env=environment)
        config = json.loads((bundle / "config.json").read_text())
        config["process"] |= {"terminal": False, "noNewPrivileges": False, "args": ["/bin/sh", "-c", script]}
        config["process"]["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES)
        root = bundle / "root"
        shutil.copytree(self.roots.busybox, root, symlinks=True)
        subprocess.run(["chown", "-hR", f"{UID}:{UID}", str(root)], check=True)
        config["root"] = {"path": str(root), "readonly": False}
        profile = self.profile({"defaultAction": "SCMP_ACT_ALLOW"})
        config["linux"]["seccomp"] = profile | {"architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]}
        (bundle / "config.json").write_text(json.dumps(config))
        return subprocess.Popen(
            [*words, "runc", "--root", f"{self.top}/runc", "run", name], cwd=bundle, env=environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, name: str, script: str) -> str:
        """What the script prints in a container of its own."""
        with self.start(name, script) as process:
            output, _ = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0, output + self.log.read_text()
        return output


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with Roots() as roots:
        made = Place(roots)
        try:
            yield made
        finally:
            made.close()


def test_a_container_of_runc(place: Place) -> None:
    script = """
        id -u; echo x >/f; chown 33:44 /f; chmod 4750 /f; stat -c '%u:%g %a' /f; mknod /null2 c 1 3; stat -c %F /null2
        su web -c 'id -u; chown 0:0 /f' 2>/dev/null; grep -c '^Seccomp:.0' /proc/self/status
    """
    assert place.run("one", script).splitlines() == ["0", "33:44 4750", "character special file", "1007", "1"]


def test_containers_do_not_see_each_others_tasks(place: Place) -> None:
    first = place.start("first", "echo >/f; chown 5:5 /f; sleep 1; stat -c %u /f")
    second = place.start("second", "echo >/f; chown 6:6 /f; sleep 1; stat -c %u /f")
    for process, owner in ((first, "5"), (second, "6")):
        output, _ = process.communicate(timeout=TIMEOUT)
        assert (process.returncode, output) == (0, f"{owner}\n")


def test_a_containers_death_disturbs_nobody(place: Place) -> None:
    victim = place.start("victim", "echo up; while :; do chown 7:7 /bin/sh; done")
    survivor = place.start("survivor", "echo up; sleep 2; echo >/f; chown 9:9 /f; stat -c %u /f")
    for process in (victim, survivor):
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
    served = len(children(place.agent.pid))
    words = [*as_user()[:-2], "runc", "--root", f"{place.top}/runc", "kill", "victim", "KILL"]
    subprocess.run(words, check=True, env=place.environment(), cwd="/")
    output, _ = survivor.communicate(timeout=TIMEOUT)
    assert (survivor.returncode, output) == (0, "9\n")
    victim.communicate(timeout=TIMEOUT)
    assert victim.returncode == 128 + signal.SIGKILL
    until(lambda: len(children(place.agent.pid)) <= served - 2)


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (b"", "a message that no runtime sends"),
        (b"nonsense", "a message that no runtime sends"),
        (b"[1, 2]", "a message that no runtime sends"),
        (b'{"pid": 1}', "a message that no runtime sends"),
        (b'{"pid": 1, "fds": ["seccompFd"]}', "a message that no runtime sends"),
        (b'{"pid": 1, "fds": ["other"], "state": 5}', "a message that no runtime sends"),
    ],
)
def test_bad_messages_are_told_of_and_forgotten(place: Place, message: bytes, complaint: str) -> None:
    before = len(place.log.read_bytes())
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(place.socket))
        connection.sendall(message)
        connection.shutdown(socket.SHUT_WR)
        until(lambda: complaint in place.log.read_text()[before:])
    assert place.agent.poll() is None


def test_a_descriptor_that_is_none(place: Place) -> None:
    """A message in order, but for what the descriptor is."""
    message = json.dumps({"fds": ["seccompFd"], "pid": os.getpid(), "state": {"id": "liar"}}).encode()
    before = len(place.log.read_bytes())
    with socket.socket(socket.AF_UNIX) as connection, Path("/dev/null").open("rb") as null:
        connection.connect(str(place.socket))
        socket.send_fds(connection, [message], [null.fileno()])
        connection.shutdown(socket.SHUT_WR)
        until(lambda: "(container liar)" in place.log.read_text()[before:])
    assert place.agent.poll() is None


def test_somebody_who_says_nothing_keeps_nobody_waiting(place: Place) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(place.socket))
        start = time.monotonic()
        assert place.run("patient", "echo served") == "served\n"
        assert time.monotonic() - start < 9


def test_only_one_agent_listens(place: Place) -> None:
    result = subprocess.run(
        [*as_user(), "agent", "--socket", str(place.socket)], capture_output=True, text=True, check=False, cwd="/",
        timeout=TIMEOUT,
    )  # fmt: skip
    assert (result.returncode, result.stdout) == (125, "")
    assert f"another one listens at {place.socket}" in result.stderr
    assert place.socket.stat().st_mode & 0o777 == 0o600


def test_the_profile_keeps_what_it_was_made_of(place: Place) -> None:
    base = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [
            {"names": ["read", "chown", "socketcall", "rt_sigreturn"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["setuid"], "action": "SCMP_ACT_ERRNO"},
        ],
    }
    made = place.profile(base)
    assert made["defaultAction"] == "SCMP_ACT_ERRNO"
    assert made["listenerPath"] == str(place.socket)
    actions: dict[str, set[str]] = {}
    for entry in made["syscalls"]:
        for name in entry["names"]:
            actions.setdefault(name, set()).add(entry["action"])
    assert actions["read"] == actions["socketcall"] == actions["rt_sigreturn"] == {"SCMP_ACT_ALLOW"}
    assert actions["chown"] == actions["setuid"] == {"SCMP_ACT_NOTIFY"}
    assert actions["openat"] == {"SCMP_ACT_NOTIFY", "SCMP_ACT_ALLOW"}


def test_the_unit_starts_an_agent(place: Place) -> None:
    """Where the profile looks for it by default; its restart leaves served containers alone."""
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(TOP / "share/remainroot-agent.service")
    service = unit["Service"]
    runtime = place.environment()["XDG_RUNTIME_DIR"]
    env, program, name, *words = service["ExecStart"].replace("%t", runtime).split()
    assert (env, program, name, service["KillMode"]) == ("/usr/bin/env", "remainroot", "agent", "process")
    default = [*as_user(), "agent", "--print-profile"]
    text = subprocess.run(
        default, capture_output=True, text=True, check=True, env=place.environment(), cwd="/", timeout=TIMEOUT
    ).stdout
    assert words == ["--socket", json.loads(text)["listenerPath"]]
