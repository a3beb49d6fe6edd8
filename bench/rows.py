# SPDX-License-Identifier: GPL-2.0-or-later
"""The pieces of work that are timed as a whole, and the files that they work on."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from ways import ALLOW_ALL, BUILD, MARKS, STRICT_USER

if TYPE_CHECKING:
    from ways import Way


class Row:
    """One piece of work: a shell command with $tree, $spawn, ... set; `before` puts things back, and is not timed."""

    def __init__(
        self, name: str, command: str, before: str = "", *, long: bool = False, times: int = 1, reads: bool = False
    ) -> None:
        self.name = name
        self.command = command
        self.before = before
        self.long = long
        """Measured three times at most, of fewer ways, and not with --quick."""
        self.times = times
        """How often the command is run for one figure, which is of one of them."""
        self.reads = reads
        """Whether a user may do it, who may write nothing."""

    def serves(self, way: Way) -> bool:
        """Whether the row is to be measured of this way."""
        if way.name == STRICT_USER:
            return self.reads
        return way.name not in ((ALLOW_ALL, *MARKS) if self.long else (ALLOW_ALL,))

    def measure(self, way: Way, place: Place) -> float:
        """Seconds."""
        if self.before:
            subprocess.run(["sh", "-c", self.before], env=os.environ | place.env, check=True)
        words = self.command.split() if self.command.isalpha() else ["sh", "-c", self.command]
        return min(way.run(words, place.scratch, place.env)[0] for _ in range(self.times))


ROWS = [
    Row("start-up", "true", times=10, reads=True),
    Row("300 fork+exec", "exec $build/spawn exec 300", reads=True),
    Row("2,000 threads", "exec $build/spawn thread 2000", reads=True),
    Row("8 processes, 20,000 stats each", "exec $build/spawn busy 8 20000", reads=True),
    Row("find, 20,000 files", "exec find $tree -uid 1", reads=True),
    Row("tar, 20,000 files", "tar -cf - -C $tree . | cat >/dev/null", reads=True),
    Row("ls -lR, 20,000 files", "ls -lR $tree >/dev/null", reads=True),
    Row("chown -R 0:0, 20,000 files", "chown -R 0:0 $tree"),
    Row("chown -R 42:42, 20,000 files", "chown -R 42:42 $tree2", "chown -R 0:0 $tree2"),
    Row("git clone, 2,000 files", "git clone -q --no-hardlinks $repo $work/clone", "rm -rf $work/clone", long=True),
    Row(
        "configure and make hello", "cd $work/hello && ./configure -q >/dev/null 2>&1 && make -s -j2 >/dev/null 2>&1",
        "rm -rf $work/hello; cp -a $hello $work/hello", long=True,
    ),
]  # fmt: skip


class Place:
    """The files that the rows work on."""

    def __init__(self, scratch: Path, *, source: bool) -> None:
        self.scratch = scratch
        self.env = {name: str(scratch / name) for name in ("tree", "tree2", "repo", "work", "hello")}
        self.env["build"] = str(BUILD)
        (scratch / "work").mkdir()
        for name in ("tree", "tree2"):
            make_tree(scratch / name, 200)
        self._repository(scratch / "repo")
        if source:
            self._hello(scratch)

    @staticmethod
    def _repository(top: Path) -> None:
        for number in range(2000):
            path = top / f"{number % 40}" / f"{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{number}\n" * 20)
        git = ["git", "-C", str(top), "-c", "user.name=bench", "-c", "user.email=bench@localhost"]
        for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "files"]):
            subprocess.run([*git, *words], check=True)

    @staticmethod
    def _hello(scratch: Path) -> None:
        """GNU hello's source, from Debian."""
        apt = scratch / "apt"
        (apt / "lists/partial").mkdir(parents=True)
        deb = [*Path("/etc/apt").glob("sources.list.d/*.sources"), *Path("/etc/apt").glob("sources.list")]
        sources = "\n\n".join(file.read_text() for file in deb if file.suffix == ".sources")
        (apt / "src.sources").write_text(re.sub(r"(?m)^Types:.*$", "Types: deb-src", sources))
        lines = "\n".join(file.read_text() for file in deb if file.suffix != ".sources")
        (apt / "src.list").write_text(re.sub(r"(?m)^deb ", "deb-src ", lines))
        options = ["-o", f"Dir::Etc::sourceparts={apt}", "-o", "Dir::Etc::sourcelist=/dev/null",
                   "-o", f"Dir::State::lists={apt}/lists"]  # fmt: skip
        subprocess.run(["apt-get", "-qq", *options, "update"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(
            ["apt-get", "-qq", *options, "source", "hello"], cwd=apt, check=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        (found,) = (path for path in apt.glob("hello-*") if path.is_dir())
        found.rename(scratch / "hello")


def make_tree(top: Path, directories: int) -> None:
    """So many directories of 100 small files, in ten branches."""
    for number in range(directories):
        directory = top / f"{number % 10}" / f"{number}"
        directory.mkdir(parents=True)
        for file in range(100):
            (directory / f"file{file}").write_bytes(b"x" * (file * 7))
