# SPDX-License-Identifier: GPL-2.0-or-later
"""What `remainroot doctor` says of places that were made on purpose."""

from __future__ import annotations

import json
import resource
import subprocess
from typing import Any

import pytest

from tests.e2e.containers import UID, unprivileged
from tests.launching import PLACE, REMAINROOT, environment, for_everybody

DOCTOR = [*REMAINROOT[:-2], "doctor", "--json"]


def examine(*prefix: str, status: int = 0, program: str = "", **how: Any) -> dict[str, Any]:
    """The report of a doctor that `prefix` starts (this tree's, or `program`); its facts by name."""
    doctor = [program, *DOCTOR[-2:]] if program else DOCTOR
    result = subprocess.run(
        [*prefix, *doctor], capture_output=True, text=True, timeout=60, env=environment(), check=False, **how
    )
    assert result.returncode == status, result.stderr
    report: dict[str, Any] = json.loads(result.stdout)
    report["by_name"] = {fact["name"]: fact for fact in report["facts"]}
    assert len(report["by_name"]) == len(report["facts"])
    assert all(fact.keys() == {"name", "state", "detail", "advice"} for fact in report["facts"])
    assert {fact["state"] for fact in report["facts"]} <= {"ok", "no", "note"}
    return report


def test_root_of_a_user_namespace() -> None:
    report = examine(*PLACE)
    facts = report["by_name"]
    assert report["usable"] is True
    assert facts["identity"]["detail"] == "root of a user namespace that maps 1 uid"
    for engine in ("notify", "trace", "ptrace"):
        assert facts[f"engine {engine}"]["detail"] == "works"
    assert report["auto"] == "notify"
    assert facts["capabilities"]["detail"] == "all that matter"
    assert facts["no_new_privs"]["detail"] == "not set"


def test_real_root_is_told_that_it_needs_nothing() -> None:
    assert examine()["by_name"]["identity"]["state"] == "note"


def test_privileges_that_are_missing() -> None:
    less = ("setpriv", "--no-new-privs", "--bounding-set=-sys_admin,-sys_ptrace", "--inh-caps=-sys_admin,-sys_ptrace")
    facts = examine(*PLACE, *less)["by_name"]
    assert facts["no_new_privs"]["detail"].startswith("set")
    assert facts["capabilities"]["state"] == "note"
    assert facts["capabilities"]["detail"].startswith("lacking: SYS_PTRACE, SYS_ADMIN;")
    assert facts["capabilities"]["advice"] == "start the container with --cap-add SYS_PTRACE --cap-add SYS_ADMIN"


def test_a_limit_that_credentials_need() -> None:
    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_RTTIME, (9_000_000, 9_000_000))

    report = examine(*PLACE, status=1, preexec_fn=lower)
    assert report["usable"] is False
    assert report["by_name"]["RLIMIT_RTTIME"]["state"] == "no"
    assert "9000000" in report["by_name"]["RLIMIT_RTTIME"]["detail"]


def test_the_procfs_of_another_pid_namespace() -> None:
    facts = examine(*PLACE, "--pid", "--fork", "--kill-child", status=1)["by_name"]
    assert facts["/proc"]["state"] == "no"
    assert "mount -t proc" in facts["/proc"]["advice"]


def test_no_more_user_namespaces() -> None:
    limit = ("sh", "-c", 'echo 0 >/proc/sys/user/max_user_namespaces; exec "$@"', "sh")
    facts = examine(*PLACE, *limit)["by_name"]
    assert facts["user namespaces"]["state"] == "no"
    assert "user.max_user_namespaces is 0" in facts["user namespaces"]["detail"]


def test_bubblewrap_without_capabilities() -> None:
    place = ("bwrap", "--unshare-user", "--uid", "0", "--gid", "0", "--bind", "/", "/", "--dev", "/dev")
    facts = examine(*unprivileged(place), "--proc", "/proc", program=for_everybody())["by_name"]
    assert facts["no_new_privs"]["detail"].startswith("set")
    assert facts["capabilities"]["detail"].startswith("lacking: CHOWN, DAC_OVERRIDE")
    assert "CAP_SETFCAP, which is lacking" in facts["user namespaces"]["detail"]
    assert facts["overlayfs"]["state"] == "note"
    assert facts["engine kernel"]["state"] == "ok"


def test_a_plain_user_on_a_plain_host() -> None:
    report = examine(*unprivileged(()), program=for_everybody(), cwd="/")
    facts = report["by_name"]
    assert report["auto"] == "notify"
    assert facts["identity"]["detail"].startswith(f"plain user {UID}:{UID}")
    for name in ("user namespaces", "overlayfs", "subordinate ids"):
        assert facts[name]["state"] == "ok", facts[name]
    assert facts["user attributes"]["detail"] == "cannot be tried: nothing may be written to /"


def test_inside_remainroot() -> None:
    report = examine(*PLACE, *REMAINROOT, "--")
    facts = report["by_name"]
    assert facts["outer remainroot"]["state"] == "note"
    assert facts["identity"]["detail"] == "0:0, as the outer remainroot shows it"
    assert "already listens" in facts["engine notify"]["detail"]
    assert facts["auto"]["detail"] == "would choose none"
    assert (report["usable"], report["auto"]) == (True, None)


def test_a_file_system_without_user_attributes() -> None:
    mount = ("sh", "-c", 'mount -t ramfs none /mnt && cd /mnt && exec "$@"', "sh")
    facts = examine(*PLACE, "--mount", *mount)["by_name"]
    assert facts["user attributes"]["state"] == "note"
    assert "database" in facts["user attributes"]["advice"]


def test_the_table_shows_every_fact() -> None:
    names = [fact["name"] for fact in examine(*PLACE)["facts"]]
    result = subprocess.run(
        [*PLACE, *DOCTOR[:-1]], capture_output=True, text=True, timeout=60, env=environment(), check=True
    )
    lines = [line for line in result.stdout.splitlines() if "->" not in line]
    assert [line[5:].split("  ")[0] for line in lines] == names


@pytest.mark.parametrize("word", ["--xml", "now"])
def test_unknown_arguments(word: str) -> None:
    result = subprocess.run([*DOCTOR, word], capture_output=True, text=True, env=environment(), check=False)
    assert (result.returncode, result.stdout) == (125, "")
    assert result.stderr.startswith(f"remainroot: doctor: unknown argument {word}")
