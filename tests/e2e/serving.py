# SPDX-License-Identifier: GPL-2.0-or-later
"""Services as data: what is installed, and a script that starts it as its package does and asks it as a client.

Each is a file `services/NAME.sh`. Its first lines say what it shows and which packages it needs; what stands after a
line `### a new run` runs under another `remainroot`, in the same root. All that a script prints must be the same as
real root's: it names users, owners and answers, and nothing that differs from run to run.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.containers import ENGINES, MOUNTS, PLACES, Place, chroot_script, run_in, single_mapping, unprivileged

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.e2e.containers import Result, Room

DIRECTORY = Path(__file__).parent / "services"
NEW_RUN = "\n### a new run\n"


@dataclass(frozen=True)
class Service:
    """One service, as its file says."""

    name: str
    what: str
    """What its script shows, in a sentence."""
    packages: tuple[str, ...]
    scripts: tuple[str, ...]
    """For sh -e, after the prelude: one for each run of remainroot."""


def _parse(path: Path) -> Service:
    text = path.read_text(encoding="utf-8")
    head = re.match(r"# SPDX.+\n# What: (.+)\n# Packages: (.+)\n\n", text)
    if head is None:
        msg = f"{path}: does not begin with SPDX-License-Identifier, What and Packages"
        raise ValueError(msg)
    return Service(path.stem, head[1], tuple(head[2].split()), tuple(text[head.end() :].split(NEW_RUN)))


SERVICES = {path.stem: _parse(path) for path in sorted(DIRECTORY.glob("*.sh"))}

ALONE = ("opensmtpd", "postfix")
"""Services that have a root of their own: as mail servers they cannot be installed beside exim."""

TIME_LIMIT = 300
"""Seconds after which a script counts as hung."""
_HEADING = "== "
_DONE = "(done)\n"
_ALL_OUT = "exec 3>&1 >&2\n"
"""Standard output is what is compared; what is printed until then goes to the log."""


def install_script(packages: Iterable[str]) -> str:
    """Install these packages, recommendations left out."""
    return f"apt-get update\napt-get install -y --no-install-recommends {' '.join(packages)}\n"


def _run_script(services: Iterable[Service], turn: int) -> str:
    """Run what these services have for this turn, one after the other, each with a heading and its status."""
    prelude = (DIRECTORY / "prelude").read_text(encoding="utf-8")
    lines = ["mkdir -p /root/services"]
    for service in services:
        if turn < len(service.scripts):
            file = f"/root/services/{service.name}-{turn}"
            lines += [
                f"printf %s {shlex.quote(prelude + service.scripts[turn])} >{file}",
                f"echo '{_HEADING}{service.name}' >&3; echo '{_HEADING}{service.name}' >&2",
                f"(cd /; timeout {TIME_LIMIT} sh -ex {file} >&3 && echo '(done)' >&3) || echo '(failed)' >&3",
            ]
    return "\n".join(lines) + "\n"


def _in_turn(services: Sequence[Service], room: Room, shim: Sequence[str], *, truth: bool) -> str:
    """One command after the other: all services are installed and run, then what they have for later turns."""
    turns = max(len(service.scripts) for service in services)
    packages = sorted({package for service in services for package in service.packages})
    keep = truth or bool(shim)
    first = chroot_script(room, _ALL_OUT + install_script(packages) + _run_script(services, 0), keep=keep)
    commands = [["sh", "-c", first]]
    for turn in range(1, turns):
        script = _ALL_OUT + _run_script(services, turn)
        commands.append(["chroot", str(room.root), "sh", "-ec", script])
    return "\n".join(shlex.join([*shim, *command]) for command in commands)


STRICT = "notify --strict"
WAYS = (*ENGINES, STRICT)
"""How services are run: the engine, and options."""


def serve(names: Sequence[str], way: str | None) -> Result:
    """Install and run these services in one root: as real root, or in one of `WAYS` where one id is mapped."""
    engine, *options = way.split() if way else [""]
    services = [SERVICES[name] for name in names]

    def argv(room: Room, _script: str, shim: Sequence[str]) -> list[str]:
        if shim:
            shim = [*shim[:-1], "--store", f"durable:{room.top}/run/owners", "--"]
        script = MOUNTS + _in_turn(services, room, shim, truth=not shim)
        inner = ["sh", "-c", script, "enter", str(room.root)]
        if not shim:
            return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--", *inner]
        return unprivileged(single_mapping(inner))

    return run_in(Place("minimal", argv), "", engine=engine or None, options=options, truth=way is None)


def install_bare(name: str, *, sandbox: bool) -> Result:
    """Install a service's packages where one id is mapped, without remainroot; apt's own sandbox can be left out."""
    script = install_script(SERVICES[name].packages)
    if not sandbox:
        script = script.replace("apt-get ", "apt-get -o APT::Sandbox::User=root ")
    return run_in(PLACES["unshare-outside"], script)


def succeeded(name: str, output: str) -> bool:
    """Whether real root's run of this service, of which this is the output, went through all its scripts."""
    return by_service(output).get(name, "").count(_DONE) == len(SERVICES[name].scripts)


def by_service(output: str) -> dict[str, str]:
    """What each service of a run printed, by its name; "" for what came before the first."""
    parts: dict[str, str] = {}
    name = ""
    for line in output.splitlines(keepends=True):
        if line.startswith(_HEADING):
            name = line.removeprefix(_HEADING).rstrip("\n")
        else:
            parts[name] = parts.get(name, "") + line
    return parts
