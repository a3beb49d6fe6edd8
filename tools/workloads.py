#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Run every service of tests/e2e/services and write doc/WORKLOADS.md: tools/workloads.py [NAME...].

As real root, where one id is mapped under each engine, and there with --strict; a few services share a root. Without
remainroot each is only installed. With names, only their rows are made anew. As root; needs the network, and half an
hour for all of them.
"""

from __future__ import annotations

import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP))

from tests.e2e.containers import SUITE  # noqa: E402
from tests.e2e.serving import ALONE, SERVICES, WAYS, by_service, install_bare, serve, succeeded  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable

TARGET = TOP / "doc" / "WORKLOADS.md"
AT_ONCE = int(os.environ.get("JOBS", "2"))
AT_ONCE_IN_A_ROOT = 8
NOT_INSTALLED = "no: not installed"

HEAD = """\
# Workloads

This file is written by `tools/workloads.py` (`make workloads`). Do not edit it.

What the scripts in `tests/e2e/services/` need is installed by apt-get in minimal Debian ({suite}) roots, up to eight
services to a root, where one user and one group are mapped and none else. Then each service is started as its package
starts it and asked by its own clients. It **works** if all that the script prints (answers, users of processes, owners
of files) is what it prints as real root. Where it does not, the first line that differs is shown.

- "Bare" is without remainroot. apt-get cannot even download there, for it drops its privileges first; "without apt's
  sandbox" it does not (`APT::Sandbox::User=root`).
- Each script has a network namespace with a loopback interface, so that ports below 1024 can be had, and a /dev of its
  own. In the host's network such a port is refused, as it is to any user.
- There is no systemd: services are started by their service scripts, by pg_ctlcluster, by the bus, or directly.
- PostgreSQL, Redis and MariaDB are stopped, and started again in a second run of remainroot.
- `rpm` makes its package itself, and so does `pacman`: the registries of Fedora, Alpine and Arch were out of reach, and
  Debian has no apk. pacman 7, whose downloads go to a sandbox, is not in Debian: `alpm-sandbox` makes its calls.

"""
COLUMNS = ("service", "what it shows", "packages", "installs bare", "without apt's sandbox", "installs with remainroot",
           *(f"works, {way}" for way in WAYS))  # fmt: skip



def say(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)


def difference(expected: str, output: str) -> str:
    """The first line that is not as it should be, as a cell of the table."""
    wanted, got = expected.splitlines(), output.splitlines()
    for number in range(max(len(wanted), len(got))):
        pair = [lines[number] if number < len(lines) else "nothing" for lines in (wanted, got)]
        if pair[0] != pair[1]:
            return f"no: `{pair[1]}` instead of `{pair[0]}`".replace("|", "\\|")
    return "yes"


def groups(names: Iterable[str]) -> list[list[str]]:
    """These services, a few to a root, some alone."""
    names = list(names)
    together = [name for name in names if name not in ALONE]
    cut = [together[at : at + AT_ONCE_IN_A_ROOT] for at in range(0, len(together), AT_ONCE_IN_A_ROOT)]
    return cut + [[name] for name in names if name in ALONE]


def verdicts(names: list[str]) -> dict[str, list[str]]:
    """The cells of these services, which share a root, from "installs with remainroot" on.

    RuntimeError if one does not work as real root.
    """
    real = serve(names, None)
    failed = [name for name in names if not succeeded(name, real.output)]
    if failed:
        raise RuntimeError(f"{', '.join(failed)} fail as real root:\n{real.output}\n{real.tail()}")
    expected = by_service(real.output)
    works: dict[str, list[str]] = {name: [] for name in names}
    for way in WAYS:
        got = by_service(serve(names, way).output)
        for name in names:
            works[name].append(difference(expected[name], got[name]) if name in got else NOT_INSTALLED)
            say(f"{name}: {way}: {works[name][-1]}")
    return {name: ["no" if NOT_INSTALLED in cells else "yes", *cells] for name, cells in works.items()}


def bare(name: str) -> list[str]:
    """Whether its packages can be installed without remainroot: as usual, and without apt's sandbox."""
    cells = ["no" if install_bare(name, sandbox=sandbox).status else "yes" for sandbox in (True, False)]
    say(f"{name}: bare: {', '.join(cells)}")
    return cells


def rows_there() -> dict[str, str]:
    """The rows that the file has, by service."""
    if not TARGET.exists():
        return {}
    lines = TARGET.read_text(encoding="utf-8").splitlines()
    return {found[1]: line for line in lines if (found := re.match(r"\| `([^`]+)` \|", line))}


def write(rows: dict[str, str]) -> None:
    """Write the file."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    lines += [rows[name] for name in SERVICES if name in rows]
    TARGET.write_text(HEAD.format(suite=SUITE) + "\n".join(lines) + "\n", encoding="utf-8")


def main() -> int:
    """Make the rows that are asked for and write the file; 1 if one could not be made."""
    names = sys.argv[1:] or list(SERVICES)
    rows = rows_there()
    status = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        without = {name: pool.submit(bare, name) for name in names}
        made = [(some, pool.submit(verdicts, some)) for some in groups(names)]
        for some, future in made:
            try:
                cells = future.result()
            except (OSError, RuntimeError) as error:
                say(f"{' '.join(some)}: {error}")
                status = 1
                continue
            for name in some:
                service = SERVICES[name]
                about = [f"`{name}`", service.what, " ".join(service.packages)]
                rows[name] = f"| {' | '.join([*about, *without[name].result(), *cells[name]])} |"
            write(rows)
    return status


if __name__ == "__main__":
    sys.exit(main())
