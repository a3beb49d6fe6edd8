# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run imports before CMD starts. A list does not depend on the machine's mood as a stopwatch would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from remainroot.engines import prepared
from remainroot.kernel import compiled
from tests.bundling import write_bundle
from tests.launching import ROOT

if TYPE_CHECKING:
    from pathlib import Path

COSTLY = {
    "argparse",
    "asyncio",
    "contextlib",
    "ctypes.util",
    "dataclasses",
    "enum",
    "inspect",
    "logging",
    "pathlib",
    "ptrace",
    "pyseccomp",
    "queue",
    "re",
    "resource",
    "seccomp",
    "signal",
    "sqlite3",
    "struct",
    "structlog",
    "subprocess",
    "typing",
}


def imported(code: str) -> set[str]:
    """Modules that `code` loads on top of what the interpreter has; without site, whose .pth files vary."""
    show = "import sys; print(*sys.modules)"
    bare, full = (
        set(
            subprocess.run(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    "-c",
                    f"import sys; sys.path.insert(0, {str(ROOT)!r}); {text}; {show}",
                ],
                capture_output=True,
                text=True,
                check=True,
            ).stdout.split()
        )
        for text in ("pass", code)
    )
    return full - bare


@pytest.mark.parametrize(
    "code",
    [
        "import remainroot.cli",
        "import remainroot.launch",
        "from remainroot.supervisor import engine_class; engine_class('notify')",
    ],
)
def test_start_imports_nothing_costly(code: str) -> None:
    modules = imported(code)
    assert any(name.startswith("remainroot") for name in modules)
    assert modules & COSTLY == set()


def test_help_imports_next_to_nothing() -> None:
    modules = imported("from remainroot.cli import usage; usage()")
    assert {name for name in modules if name.startswith("remainroot.")} == {
        "remainroot.cli",
        "remainroot.errors",
        "remainroot.log",
    }
    assert "ctypes" not in modules


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it is built for installation, with modules, filters and rules made beforehand."""
    place = tmp_path_factory.mktemp("installed")
    shutil.copytree(ROOT / "remainroot", place / "remainroot")
    prepared.write(str(place / "remainroot/engines"))
    write_bundle(place)
    return place


def run_installed(place: Path, *words: str) -> tuple[str, set[str]]:
    """What `remainroot WORDS` prints in a single mapping, and the modules that it imports."""
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", sys.executable, "-X", "importtime", "-m", "remainroot", *words],
        cwd=place, env=os.environ | {"PYTHONPATH": str(place)}, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    lines = [line.split("|")[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")]
    return done.stdout, set(lines)


@pytest.mark.skipif(compiled is None, reason="without the compiled half every call is a handler's")
@pytest.mark.parametrize("store", ["memory", "durable"])
def test_short_run_imports_no_handler(installed: Path, tmp_path: Path, store: str) -> None:
    store = f"{store}:{tmp_path}/owners.db" if store == "durable" else store
    _, modules = run_installed(installed, "--store", store, "--", "true")
    assert "remainroot.engines.notify" in modules
    assert {name for name in modules if name.startswith(("remainroot.handlers", "remainroot.abi"))} == set()


def test_long_run_does_soon(installed: Path) -> None:
    """Its calls may all be quick ones, but it may also exchange what is installed."""
    _, modules = run_installed(installed, "--store", "memory", "--", "sleep", "1")
    assert "remainroot.handlers.ids" in modules


@pytest.mark.parametrize("strict", [(), ("--strict",)])
def test_first_call_that_needs_a_handler_finds_it(installed: Path, tmp_path: Path, strict: tuple[str, ...]) -> None:
    script = 'cd "$1"; touch f; chown 42:43 f; stat -c %u:%g f; setpriv --reuid=33 --regid=33 --clear-groups id -u'
    output, _ = run_installed(installed, *strict, "--store", "memory", "--", "sh", "-ec", script, "sh", str(tmp_path))
    assert output == "42:43\n33\n"


def test_kernel_engine_imports_no_handler(installed: Path) -> None:
    output, modules = run_installed(installed, "--engine", "kernel", "--", "sh", "-c", "chown 42:42 /; echo done")
    assert output == "done\n"
    assert {name for name in modules if name.startswith(("remainroot.handlers", "remainroot.abi"))} == set()


@pytest.mark.parametrize("strict", [False, True])
def test_what_is_prepared_is_what_the_declarations_say(
    installed: Path, strict: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = prepared.make(strict=strict)
    monkeypatch.setattr(prepared, "__file__", str(installed / "remainroot/engines/prepared.py"))
    read = prepared.get(strict=strict)
    assert (read.notify, read.rules, read.blind) == (made.notify, made.rules, made.blind)
    monkeypatch.setattr(prepared, "MACHINE", "another")
    again = prepared.get(strict=strict)
    assert again.notify == made.notify


def test_installation_has_it(installed: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    ignored = shutil.ignore_patterns(".git", ".venv", "tests", "bench", "*.so", "*_cache", "build")
    shutil.copytree(ROOT, tree, ignore=ignored)
    words = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path / "built")]
    subprocess.run(words, cwd=tree, check=True, capture_output=True)
    for name in ("engines/usual.bin", "engines/strict.bin", "start.bin", "rest.bin"):
        built, expected = (top / "remainroot" / name for top in (tmp_path / "built", installed))
        assert built.read_bytes() == expected.read_bytes()
