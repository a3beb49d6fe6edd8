# SPDX-License-Identifier: GPL-2.0-or-later
"""The documents name what there is: options, files, modules."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import pytest

from remainroot.cli import OPTIONS
from remainroot.containers import agent, box, enter
from remainroot.settings import PRETENCES

TOP = Path(__file__).parent.parent
DOCUMENTS = sorted([*TOP.glob("*.md"), *TOP.glob("doc/*.md")])


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_there_are_documents() -> None:
    names = {path.name for path in DOCUMENTS}
    assert {"README.md", "CHANGELOG.md", "ARCHITECTURE.md", "GLOSSARY.md", "ADD_A_HANDLER.md", "SYSCALLS.md"} <= names


@pytest.mark.parametrize("option", [option.name for option in OPTIONS])
def test_readme_explains_each_option(option: str) -> None:
    table = [line for line in text_of(TOP / "README.md").splitlines() if line.startswith("| `--")]
    assert any(f"`{option}" in line for line in table)


EVERY_OPTION = {option.name for option in OPTIONS} | {
    name for module in (agent, box, enter) for name, _, _ in module.SYNTAX.options
}


@pytest.mark.parametrize("option", sorted(EVERY_OPTION))
def test_the_manual_explains_each_option(option: str) -> None:
    """`Fl -name` in mdoc(7); what all subcommands share is named in one line."""
    assert re.search(rf"(Fl|,) {option.removeprefix('-')}\b", text_of(TOP / "doc/remainroot.1"))


def test_each_pretence_has_its_switch_in_the_table() -> None:
    """What seems to succeed can be refused by name, and nothing else has a name."""
    lines = [line for line in text_of(TOP / "doc/PRIVILEGED.md").split("## Mounts")[0].splitlines() if line[:1] == "|"]
    calls = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert len(calls) > 15
    assert sorted(row[2].strip("`") for row in calls if row[2].startswith("`")) == sorted(PRETENCES)
    for row in calls:
        assert row[2].startswith(("`", "(off)")) == ("succeeds" in row[1] or "empty log" in row[1]), row[0]


@pytest.mark.parametrize("name", PRETENCES)
def test_readme_and_manual_name_each_pretence(name: str) -> None:
    (line,) = (line for line in text_of(TOP / "README.md").splitlines() if line.startswith("| `--refuse"))
    assert f"`{name}`" in line
    assert re.search(rf"^\.Cm {name}\b", text_of(TOP / "doc/remainroot.1"), re.MULTILINE)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", text_of(path)):
        if "://" not in target:
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_files_named_exist(path: Path) -> None:
    """What is written as `remainroot/...`, `tests/...`, `tools/...` or `doc/...` is there (a `*` matches something)."""
    for name in re.findall(r"`((?:remainroot|tests|tools|doc)/[\w./*-]+)`", text_of(path)):
        assert any(TOP.glob(name.rstrip("/"))), name


def test_warning_comes_first() -> None:
    """What remainroot takes away is said before what it gives."""
    lines = text_of(TOP / "README.md").splitlines()
    assert lines[2].startswith("> **Warning:")


def test_readme_shows_the_committed_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is what bench/report.py makes of bench/results/results.json."""
    monkeypatch.syspath_prepend(str(TOP / "bench"))
    report = importlib.import_module("report")
    document = json.loads(text_of(TOP / "bench/results/results.json"))
    assert report.readme(document, text_of(TOP / "README.md")) == text_of(TOP / "README.md")
    assert report.markdown(document) == text_of(TOP / "bench/results/results.md")
