# SPDX-License-Identifier: GPL-2.0-or-later
"""The modules in two files: the same modules as from their own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import MAGIC_NUMBER
from pathlib import Path

import pytest

from tests.bundling import write_bundle
from tests.launching import ROOT

USE = """
import sys
sys.path.insert(0, sys.argv[1])
from remainroot import bundle
bundle.use()
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("bundle")
    shutil.copytree(ROOT / "remainroot", place / "remainroot", ignore=shutil.ignore_patterns("__pycache__"))
    write_bundle(place)
    return place


def run(place: Path, code: str, *options: str) -> str:
    words = [sys.executable, "-I", "-B", *options, "-c", USE + code, str(place)]
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout


def names(place: Path) -> list[str]:
    found = [path.relative_to(place).with_suffix("").parts for path in (place / "remainroot").rglob("*.py")]
    words = [parts[:-1] if parts[-1] == "__init__" else parts for parts in found]
    return sorted(".".join(parts) for parts in words if parts not in (("remainroot",), ("remainroot", "bundle")))


def test_every_module_comes_from_it(made: Path) -> None:
    modules = [name for name in names(made) if not name.endswith("__main__")]
    code = f"""
import importlib
for name in {modules!r}:
    module = importlib.import_module(name)
    print(name, type(module.__loader__).__name__, module.__file__, module.__doc__)
"""
    lines = run(made, code).splitlines()
    assert [line.split()[:2] for line in lines] == [[name, "_Bundle"] for name in modules]
    assert all(Path(line.split()[2]).is_file() for line in lines)
    assert {line.split()[3] for line in lines} == {"None"}


def test_all_is_read_with_the_first_handler(made: Path, tmp_path: Path) -> None:
    place = shutil.copytree(made, tmp_path / "copy")
    code = """
import shutil
import remainroot.handlers
shutil.rmtree(sys.argv[1])
import remainroot.handlers.every_guard
from remainroot import beforehand
from remainroot.engines import attending
print(*(bundle.holds(one.__spec__) for one in (beforehand, attending)))
"""
    assert run(place, code).split() == ["True", "True"]
    beside = "from remainroot import beforehand; print(bundle.holds(beforehand.__spec__))"
    assert run(ROOT, beside).split() == ["False"]


def test_a_start_reads_one_file(made: Path) -> None:
    """Not the handlers', nor any module's own."""
    trace = made / "trace"
    code = "import remainroot.cli, remainroot.launch, remainroot.engines.notify, remainroot.store.durable"
    words = ["strace", "-o", str(trace), "-e", "trace=open,openat"]
    subprocess.run([*words, sys.executable, "-I", "-B", "-c", USE + code, str(made)], check=True, timeout=60)
    lines = [line for line in trace.read_text().splitlines() if str(made) in line and "ENOENT" not in line]
    opened = [line.split('"')[1] for line in lines]
    files = {Path(path).name.partition(".")[0] for path in opened if not Path(path).is_dir()}
    assert files - {"_fast"} == {"__init__", "bundle", "start"}


def test_annotations_are_kept_as_text(made: Path) -> None:
    code = "from remainroot.credentials import user; print(user.__annotations__['uid'])"
    assert run(made, code) == "int\n"
    assert run(made, code.replace("['uid']", "['uid'].__class__")) == "<class 'str'>\n"


@pytest.mark.parametrize("how", ["absent", "another", "cut"])
def test_without_it_modules_are_read_themselves(made: Path, tmp_path: Path, how: str) -> None:
    place = tmp_path / "place"
    shutil.copytree(made, place)
    for name in ("start.bin", "rest.bin"):
        path = place / "remainroot" / name
        if how == "absent":
            path.unlink()
        elif how == "cut":
            path.write_bytes(path.read_bytes()[:5000])
        else:
            content = path.read_bytes()
            assert content.count(MAGIC_NUMBER) == 1
            path.write_bytes(content.replace(MAGIC_NUMBER, b"none"))
    for name in ("remainroot.cli", "remainroot.dispatch"):
        assert run(place, f"import {name} as m; print(type(m.__loader__).__name__)") == "SourceFileLoader\n"


def test_the_rest_may_be_missing(made: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    shutil.copytree(made, place)
    (place / "remainroot/rest.bin").unlink()
    code = "import remainroot.cli, remainroot.dispatch; print(type(remainroot.{}.__loader__).__name__)"
    assert run(place, code.format("cli")) == "_Bundle\n"
    assert run(place, code.format("dispatch")) == "SourceFileLoader\n"
