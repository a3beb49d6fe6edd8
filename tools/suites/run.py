# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the test suites of others really and under `remainroot --strict`, as root and as user 1000: `make suites`.

Sources and what they are built with come from Debian; everything is made below --place. Each run begins with the same
tree, at the same path. Results stay there, and doc/SUITES.md is written of the last ones of each suite that has some
of all ways; of the others it keeps what it says. What differs and has no reason in known.py is an error.

Debian 12 has no pjdfstest, and a shadow without its tests: they are run if the environment's PJDFSTEST and SHADOW name
directories with their sources.
"""

from __future__ import annotations

import argparse
import collections
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from known import reason
from results import FAIL, PASS, SKIP, Results
from suites import SUITES

if TYPE_CHECKING:
    from suite import Suite

TOP = Path(__file__).resolve().parents[2]
DOCUMENT = TOP / "doc" / "SUITES.md"
APART = ["unshare", "--mount"]
"""In a mount namespace of its own, as in a container."""
MAPPED = [*APART, "--user", "--map-root-user"]
AS_USER = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"]
WAYS = ("real root", "remainroot root", "real user", "remainroot user")
TIMEOUT = 1800


def ways(suite: Suite) -> list[str]:
    """Those in which the suite can run."""
    return [way for way in WAYS if way.split()[1] in suite.who]


def say(text: str) -> None:
    """Say how far it is."""
    print(text, file=sys.stderr, flush=True)


def apt(*words: str, sources: Path | None = None, cwd: Path | None = None) -> None:
    """apt-get; with Debian's source packages, too, if `sources` is a directory for lists of them."""
    options = ["-qq", "-o", "DPkg::Lock::Timeout=600"]
    if sources:
        options += ["-o", f"Dir::Etc::sourceparts={sources}", "-o", "Dir::Etc::sourcelist=/dev/null"]
        options += ["-o", f"Dir::State::lists={sources}/lists"]
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", *options, *words], check=True, cwd=cwd, env=env, stdout=subprocess.DEVNULL)


def install(suites: list[Suite]) -> None:
    """What the suites are built with, as far as it is missing."""
    wanted = {name for suite in suites for name in suite.packages} | ({"dpkg-dev"} if suites else set())
    ask = ["dpkg-query", "-W", "-f", "${db:Status-Status}"]
    status = {name: subprocess.run([*ask, name], capture_output=True, check=False).stdout for name in sorted(wanted)}
    missing = [name for name in status if status[name] != b"installed"]
    if missing:
        say(f"installing {' '.join(missing)}")
        apt("update")
        apt("-y", "--no-install-recommends", "install", *missing)


class Place:
    """Where suites are built and run, and with which remainroot."""

    def __init__(self, place: Path, engine: str, remainroot: str) -> None:
        self.place = place
        self.engine = engine
        self.remainroot = remainroot
        self._sources: Path | None = None
        place.mkdir(parents=True, exist_ok=True)
        place.chmod(0o755)
        self._lock = (place / "lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def sources(self) -> Path:
        """Lists of Debian's source packages, beside those of the machine."""
        if self._sources is None:
            self._sources = self.place / "apt"
            (self._sources / "lists/partial").mkdir(parents=True, exist_ok=True)
            found = [*Path("/etc/apt").glob("sources.list.d/*.sources"), *Path("/etc/apt").glob("sources.list*")]
            debian = [file.read_text() for file in found if file.is_file() and "debian" in file.read_text()]
            text = "\n\n".join(part for part in debian if re.search(r"(?m)^Types:", part))
            (self._sources / "s.sources").write_text(re.sub(r"(?m)^Types:.*$", "Types: deb-src", text))
            apt("update", sources=self._sources)
        return self._sources

    def _fetch(self, name: str, to: Path) -> None:
        """Debian's source package: the newest, or, where the mirror has lost that, another version that is listed."""
        lists = ["-o", f"Dir::Etc::sourceparts={self.sources()}", "-o", "Dir::Etc::sourcelist=/dev/null"]
        lists += ["-o", f"Dir::State::lists={self.sources()}/lists"]
        ask = ["apt-cache", *lists, "showsrc", name]
        shown = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
        versions = re.findall(r"(?m)^Version: (.*)$", shown)
        for wanted in (name, *(f"{name}={version}" for version in versions)):
            try:
                apt("source", wanted, sources=self.sources(), cwd=to)
            except subprocess.CalledProcessError:
                say(f"{wanted}: not to be had")
            else:
                return
        raise SystemExit(f"{name}: no sources")

    def build(self, suite: Suite) -> Path:
        """The built tree, which stays for the next time."""
        built = self.place / "built" / suite.name
        if built.exists():
            return built
        tree = self.place / "tree"
        shutil.rmtree(tree, ignore_errors=True)
        if suite.source:
            fetched = self.place / "source" / suite.name
            shutil.rmtree(fetched, ignore_errors=True)
            fetched.mkdir(parents=True)
            self._fetch(suite.source, fetched)
            next(path for path in fetched.iterdir() if path.is_dir()).rename(tree)
        elif suite.given:
            shutil.copytree(os.environ[suite.given], tree, symlinks=True)
        else:
            tree.mkdir()
        say(f"{suite.name}: building")
        env = os.environ | {"FORCE_UNSAFE_CONFIGURE": "1", "LC_ALL": "C"}
        with (self.place / f"{suite.name}.build.log").open("w") as log:
            subprocess.run(
                ["nice", "sh", "-c", suite.build], cwd=tree, env=env, stdout=log, stderr=subprocess.STDOUT, check=True
            )
        built.parent.mkdir(exist_ok=True)
        tree.rename(built)
        return built

    def run(self, suite: Suite, way: str) -> tuple[Results, float]:
        """Results, and the seconds that it took."""
        built, tree, out = self.build(suite), self.place / "tree", self.place / "out"
        for path in (tree, out):
            shutil.rmtree(path, ignore_errors=True)
        subprocess.run(["cp", "-a", built, tree], check=True)
        out.mkdir()
        env = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(out), "LC_ALL": "C",
            "TMPDIR": str(out), "out": str(out), "SHELL": "/bin/sh", "FORCE_UNSAFE_CONFIGURE": "1",
        }  # fmt: skip
        start = time.monotonic()
        for command in self.commands(suite, way, tree, out):
            start = time.monotonic()
            with self.log(suite, way).open("w") as log:
                subprocess.run(
                    command, cwd=tree, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                    timeout=TIMEOUT, check=False, start_new_session=True,
                )  # fmt: skip
        return suite.read(tree, out), time.monotonic() - start

    def keep(self, suite: Suite, way: str, results: Results, seconds: float) -> None:
        """Remember these results for the document."""
        kept = self.kept(suite) | {way: (results, seconds)}
        self._results(suite).write_text(json.dumps(kept))

    def kept(self, suite: Suite) -> dict[str, tuple[Results, float]]:
        """The last results by way."""
        path = self._results(suite)
        return json.loads(path.read_text()) if path.exists() else {}

    def _results(self, suite: Suite) -> Path:
        return self.place / f"{suite.name}.json"

    def log(self, suite: Suite, way: str) -> Path:
        """Where what it prints goes."""
        return self.place / f"{suite.name}.{way.replace(' ', '-')}.log"

    def commands(self, suite: Suite, way: str, tree: Path, out: Path) -> list[list[str]]:
        """What is run, the suite last; before it, for the user, the files are given to it."""
        test = ["sh", "-c", suite.command]
        give = ["chown", "-R", "1000:1000", str(tree), str(out)]
        if way == "real root":
            return [[*APART, *test]]
        if way == "real user":
            return [give, [*APART, *AS_USER, *test]]
        shim = [*MAPPED, self.remainroot, "--engine", self.engine, "--store"]
        if way == "remainroot root":
            return [[*shim, "memory", "--strict", "--", *test]]
        # Of this suite alone: what another has left running still has its own open.
        owners = self.place / f"{suite.name}.owners"
        for end in ("", "-wal", "-shm"):
            Path(f"{owners}{end}").unlink(missing_ok=True)
        shim.append(f"durable:{owners}")
        return [[*shim, "--", *give], [*shim, "--strict", "--user", "1000:1000", "--", *test]]


def counts(results: Results) -> str:
    """Passed, failed, skipped."""
    by = collections.Counter(results.values())
    return " / ".join(str(by[word]) for word in (PASS, FAIL, SKIP))


def differences(real: Results, fake: Results) -> list[tuple[str, str, str]]:
    """Test, what it is really, what it is under remainroot; what one side never came to is "missing"."""
    names = sorted(real.keys() | fake.keys())
    both = [(name, real.get(name, "missing"), fake.get(name, "missing")) for name in names]
    return [entry for entry in both if entry[1] != entry[2]]


class Written(NamedTuple):
    """What a document says of one suite."""

    version: str
    rows: dict[str, str]
    """By root and user."""
    sections: dict[str, str]


def written(text: str) -> dict[str, Written]:
    """What the document says of each suite, by its name."""
    said = {
        name: Written(version, {}, {})
        for name, version in re.findall(r"^- \*\*(.+?)\*\* \((.*?)\): .*$", text, re.MULTILINE)
    }
    for row, name, who in re.findall(r"^(\| (\S+) \| (root|user) \|.*)$", text, re.MULTILINE):
        said[name].rows[who] = row
    for section, name, who in re.findall(r"^(### (\S+) as (root|user)\n\n(?:- .*\n?)*)", text, re.MULTILINE):
        said[name].sections[who] = section.rstrip()
    return said


class Report:
    """The document, row by row."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self.sections: list[str] = []
        self.unexplained = 0

    def keep(self, said: Written) -> None:
        """One suite as it stands in the document."""
        for who, row in said.rows.items():
            self.rows.append(row)
            self.sections += [said.sections[who]] if who in said.sections else []

    def add(self, suite: Suite, who: str, found: dict[str, tuple[Results, float]]) -> None:
        """One suite as one user: really, and under remainroot."""
        (real, real_time), (fake, fake_time) = found[f"real {who}"], found[f"remainroot {who}"]
        if not real:
            raise SystemExit(f"{suite.name}: no results as real {who}")
        different = differences(real, fake)
        self.rows.append(
            f"| {suite.name} | {who} | {counts(real)} | {counts(fake)} | {len(different)} | {real_time:.0f} s | "
            f"{fake_time:.0f} s |"
        )
        lines = []
        for test, want, got in different:
            why = reason(suite.name, test)
            self.unexplained += not why
            lines.append(f"- {test}: {want}, under remainroot {got}. {why or '**Unexplained.**'}")
        if lines:
            self.sections.append(f"### {suite.name} as {who}\n\n" + "\n".join(lines))

    def text(self, engine: str, versions: dict[str, str]) -> str:
        """The whole document."""
        about = {suite.name: suite.about for suite in SUITES}
        what = "\n".join(f"- **{name}** ({version}): {about[name]}." for name, version in versions.items())
        table = "\n".join(self.rows)
        sections = "\n\n".join(self.sections) or "None."
        return f"""# Test suites of others

`make suites` runs them and writes this document: each as real root and as a real user 1000, and the very same tests
under `remainroot --strict` and `remainroot --strict --user 1000`, where one user and one group are mapped. (Engine
{engine}, Linux {os.uname().release}, {time.strftime("%Y-%m-%d")}. What was not run again stands as it was.)

{what}

Counts are passed / failed / skipped; what fails as on the real machine is no difference. Times are of one run each, of
some while the machine had other work, too.

| suite | as | real | under remainroot | differ | took really | under remainroot |
|---|---|---|---|---|---|---|
{table}

## Differences

{sections}
"""


def version(suite: Suite, place: Path) -> str:
    """Of Debian's package; of what was given, what its file VERSION says, how many scripts, and a hash of them."""
    if suite.given:
        tree = place / "built" / suite.name
        said = tree / "VERSION"
        scripts = sorted([*tree.rglob("*.t"), *tree.rglob("*.test")])
        digest = hashlib.sha256(b"".join(script.read_bytes() for script in scripts)).hexdigest()
        words = [said.read_text().strip()] if said.exists() else []
        return ", ".join([*words, f"{len(scripts)} scripts", f"SHA-256 {digest[:12]}..."])
    if not suite.source:
        ask = ["dpkg-query", "-W", "-f", "${Version}", suite.packages[0]]
        return f"{suite.packages[0]} {subprocess.run(ask, capture_output=True, text=True, check=True).stdout}"
    (dsc,) = (place / "source" / suite.name).glob("*.dsc")
    return dsc.stem.replace("_", " ")


def main() -> int:
    """Build, run, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--place", type=Path, default=Path("/var/tmp/remainroot-suites"))
    parser.add_argument("--engine", default="notify")
    parser.add_argument("--suites", default="", help="run only those that this expression finds")
    parser.add_argument("--ways", default="", help="the same of ways: " + ", ".join(WAYS))
    parser.add_argument("--remainroot", default=str(TOP / ".venv/bin/remainroot"))
    options = parser.parse_args()
    if os.geteuid():
        sys.exit("suites: real root is what the others are compared with: run this as root")
    there = [suite for suite in SUITES if not suite.given or os.environ.get(suite.given)]
    chosen = [suite for suite in there if re.search(options.suites, suite.name)]
    install(chosen)
    place = Place(options.place, options.engine, options.remainroot)
    for suite in chosen:
        for way in ways(suite):
            if re.search(options.ways, way):
                results, seconds = place.run(suite, way)
                place.keep(suite, way, results, seconds)
                say(f"{suite.name}, {way}: {counts(results)} in {seconds:.0f} s")
    report = Report()
    before = written(DOCUMENT.read_text()) if DOCUMENT.exists() else {}
    versions = {}
    for suite in SUITES:
        kept = place.kept(suite)
        if kept.keys() == set(ways(suite)):
            versions[suite.name] = version(suite, place.place)
            for who in suite.who:
                report.add(suite, who, kept)
        elif suite.name in before:
            versions[suite.name] = before[suite.name].version
            report.keep(before[suite.name])
        else:
            say(f"{suite.name}: was not run all ways, and is not in the document")
    DOCUMENT.write_text(report.text(options.engine, versions))
    print("\n".join([*report.rows, "", *report.sections]))
    return 1 if report.unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
