# SPDX-License-Identifier: GPL-2.0-or-later
"""Rootless podman's containers: entered, and served by an agent while they run and while they are built."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.containers.entering import enter
from tests.containers.podman import Podman
from tests.containers.roots import UID, Roots, as_user
from tests.e2e.containers import root_tar
from tests.launching import until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def roots() -> Iterator[Roots]:
    with Roots() as made:
        yield made


@pytest.fixture(scope="module")
def podman(roots: Roots) -> Iterator[Podman]:
    """With a container that runs."""
    with Podman(roots.top) as made:
        made.run(
            "run", "--detach", "--name", "web", "--hostname", "pod", "--network=host", "--env", "MARK=set",
            "--workdir", "/srv", "--rootfs", str(roots.busybox), "sleep", "600",
        )  # fmt: skip
        yield made


@pytest.fixture(scope="module")
def profile(podman: Podman) -> Iterator[str]:
    """The option of podman that puts the shim on, with an agent that serves it."""
    socket, file = podman.run_dir / "socket", podman.top / "profile.json"
    words = [*as_user(), "agent", "--socket", str(socket)]
    with file.open("wb") as output:
        subprocess.run([*words, "--print-profile"], stdout=output, check=True, cwd="/")
    agent = subprocess.Popen(words, cwd="/")
    until(socket.exists)
    yield f"--security-opt=seccomp={file}"
    agent.terminate()
    agent.wait(20)


def enter_pod(podman: Podman, *words: str, **how: Any) -> str:
    prefix = podman.as_user(*as_user()[-2:])
    return enter(*words, prefix=prefix, env=podman.environment(), **how)


# ---------------------------------------------------------------- entering


def test_a_container_is_entered_by_its_name(podman: Podman) -> None:
    script = "hostname; pwd; echo $MARK; cat /proc/1/comm; id -u"
    assert enter_pod(podman, "podman:web", "sh", "-c", script).split() == ["pod", "/srv", "set", "sleep", "0"]
    script = "for pid in 1 self; do grep -e ^Cap -e ^NoNew /proc/$pid/status; done"
    lines = enter_pod(podman, "podman:web", "sh", "-c", script).splitlines()
    assert lines[:6] == lines[6:]
    assert lines[2] != "CapEff:\t000001ffffffffff"


def test_the_shim_in_a_container_that_has_few_capabilities(podman: Podman) -> None:
    script = "touch /f; chown 33:44 /f; mknod /n c 1 3; stat -c '%u:%g' /f; stat -c %F /n; su web -c 'id -u'"
    script += "; chmod 606 /dev/null && stat -c '%a %u' /dev/null"  # which is the host's
    out = enter_pod(podman, "--shim", "podman:web", "sh", "-c", script).splitlines()
    assert out == ["33:44", "character special file", "1007", "606 0"]


def test_programs_of_the_host_in_it(podman: Podman) -> None:
    out = enter_pod(podman, "--host-exe", "podman:web", "gdb", "-nx", "-batch", "-p", "1", "-ex", "info proc")
    assert "cmdline = 'sleep 600'" in out
    assert "not permitted" not in out
    script = "ps -o pid=,args= -p 1; ls -d /usr/bin/python3; /mnt/bin/hostname; /mnt/bin/cat /etc/passwd"
    out = enter_pod(podman, "--with-host-root", "podman:web", "bash", "-c", script)
    assert out.splitlines()[:3] == ["      1 sleep 600", "/usr/bin/python3", "pod"]
    assert "web:x:1007:1008" in out


def test_containers_that_cannot_be_entered(podman: Podman, roots: Roots) -> None:
    podman.run("create", "--name", "idle", "--network=host", "--rootfs", str(roots.busybox), "true")
    for name, message in (("nonesuch", "podman knows no container nonesuch"), ("idle", "podman:idle is not running")):
        out = enter_pod(podman, f"podman:{name}", "true", status=125)
        assert message in out
        assert len(out.splitlines()) == 1


def test_doctor_in_a_container(podman: Podman, roots: Roots) -> None:
    """With podman's own profile and capabilities; Python is the host's."""
    host = [f"--volume={path}:{path}:ro" for path in ("/usr", "/lib", "/lib64", str(roots.top / "site"))]
    doctor = ["/usr/bin/python3", as_user()[-1], "doctor", "--json"]
    report = json.loads(podman.run("run", "--rm", "--network=host", *host, "--rootfs", str(roots.busybox), *doctor))
    facts = {fact["name"]: fact for fact in report["facts"]}
    assert (report["usable"], report["auto"]) == (True, "notify")
    assert facts["identity"]["detail"] == "root of a user namespace that maps 1 uid"
    assert facts["surrounding seccomp"]["detail"].startswith("1 filter:")
    assert facts["capabilities"]["detail"].startswith("lacking: SYS_PTRACE, SYS_ADMIN;")
    assert facts["user namespaces"]["state"] == facts["overlayfs"]["state"] == "ok"


# ---------------------------------------------------------------- the agent


def build(podman: Podman, tool: list[str], name: str, lines: list[str], profile: str) -> None:
    """Have `tool` build an image of this name."""
    context = podman.top / name
    context.mkdir()
    (context / "Dockerfile").write_text("\n".join(lines) + "\n")
    subprocess.run(["chown", "-R", f"{UID}:{UID}", str(context)], check=True)
    words = [*tool, "--isolation", "rootless", "--network", "host", profile, "--tag", name, str(context)]
    result = subprocess.run(
        podman.as_user(*words), capture_output=True, text=True, check=False, cwd="/", env=podman.environment(),
        timeout=250,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr


def test_steps_of_a_build_see_each_others_owners(podman: Podman, profile: str, roots: Roots) -> None:
    podman.run("import", str(roots.tar("tar")), "small")
    lines = [
        "FROM localhost/small",
        "RUN touch /f && chown 33:44 /f && chmod 4750 /f",
        "RUN stat -c '%u:%g %a' /f >/seen && su web -c 'id -u' >>/seen",
    ]
    build(podman, ["podman", "--runtime", "runc", "build"], "steps", lines, profile)
    out = podman.run("run", "--rm", "--network=host", profile, "steps", "sh", "-c", "cat /seen; stat -c %u /f")
    assert out.splitlines() == ["33:44 4750", "1007", "33"]


INSTALL = "apt-get update -qq && apt-get install -y -qq --no-install-recommends hello cron >/dev/null 2>&1"


def test_installing_in_an_unmodified_root(podman: Podman, profile: str, roots: Roots) -> None:
    root = roots.top / "debian"
    root.mkdir()
    os.chown(root, UID, UID)
    unpack = ["tar", "--no-same-owner", "-xpf", str(root_tar("minimal")), "-C", str(root)]
    subprocess.run([*as_user()[:-2], *unpack], check=True)
    script = f"{INSTALL}; hello; stat -c '%U:%G %a' /usr/bin/crontab"
    out = podman.run(
        "run", "--rm", "--network=host", "--env=DEBIAN_FRONTEND=noninteractive", profile,
        "--rootfs", str(root), "sh", "-ec", script, timeout=300,
    )  # fmt: skip
    assert out == "Hello, world!\nroot:crontab 2755\n"


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["podman", "buildah"])
def test_installing_in_a_build(podman: Podman, profile: str, tool: str) -> None:
    """buildah is a package of its own."""
    podman.run("import", str(root_tar("minimal")), "debian", timeout=300)
    lines = [
        "FROM localhost/debian",
        "ENV DEBIAN_FRONTEND=noninteractive",
        f"RUN {INSTALL} && hello",
        "RUN stat -c '%U:%G %a' /usr/bin/crontab >/seen",
    ]
    command = {"podman": ["podman", "--runtime", "runc", "build"], "buildah": ["buildah", "build", "--runtime", "runc"]}
    build(podman, command[tool], f"by-{tool}", lines, profile)
    out = podman.run("run", "--rm", "--network=host", f"by-{tool}", "cat", "/seen", timeout=300)
    assert out == "root:crontab 2755\n"
