# SPDX-License-Identifier: GPL-2.0-or-later
"""How the results of suites are read: of the tree, and of $out, where the suite's command wrote."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PASS, FAIL, SKIP = "passed", "failed", "skipped"
Results = dict[str, str]
"""What became of each test, by its name."""


def junit(_tree: Path, out: Path) -> Results:
    """What a JUnit report says of each case."""
    results = {}
    for case in ET.parse(out / "results.xml").iter("testcase"):
        result = PASS
        if case.find("failure") is not None or case.find("error") is not None:
            result = FAIL
        elif case.get("result") == "skipped" or case.find("skipped") is not None:
            result = SKIP
        results[f"{case.get('classname') or ''}.{case.get('name')}".strip(".")] = result
    return results


_AUTOMAKE = {"PASS": PASS, "XFAIL": PASS, "SKIP": SKIP}


def _trs(tree: Path) -> Iterator[tuple[str, str]]:
    for path in tree.rglob("*.trs"):
        found = re.search(r"^:global-test-result: (\w+)", path.read_text(), re.MULTILINE)
        yield str(path.relative_to(tree).with_suffix("")), _AUTOMAKE.get(found[1], FAIL) if found else FAIL


def automake(tree: Path, _out: Path) -> Results:
    """What each of automake's .trs files says."""
    return dict(_trs(tree))


def commands(tree: Path, _out: Path) -> Results:
    """The tests of acl and attr are lists of commands, each with what it has to print."""
    results = {}
    for name, whole in _trs(tree):
        log = (tree / f"{name}.log").read_text(errors="replace")
        commands = re.findall(r"^\[(\d+)\] \$ .*? -- (ok|failed)$", log, re.MULTILINE)
        results |= {f"{name} line {line}": PASS if word == "ok" else FAIL for line, word in commands}
        if not commands:
            results[name] = whole
    return results


def autotest(_tree: Path, out: Path) -> Results:
    """What autotest prints of each test, in $out/log."""
    words = {"ok": PASS, "expected": PASS, "skipped": SKIP}
    text = (out / "log").read_text()
    found = re.findall(r"^ *\d+: (.*?) +(ok|skipped|FAILED|expected|UNEXPECTED)\b.*$", text, re.MULTILINE)
    results: Results = {}
    for name, word in found:
        unique, number = name, 1
        while unique in results:
            number += 1
            unique = f"{name} ({number})"
        results[unique] = words.get(word, FAIL)
    return results


def tap(_tree: Path, out: Path) -> Results:
    """The lines of each $out/NAME.tap."""
    results = {}
    for path in sorted(out.glob("*.tap")):
        text = path.read_text(errors="replace")
        for bad, number, rest in re.findall(r"^(not )?ok (\d+)(.*)$", text, re.MULTILINE):
            failed = bad and "# TODO" not in rest
            results[f"{path.stem} {number}"] = FAIL if failed else SKIP if "# skip" in rest.lower() else PASS
        if re.search(r"^1\.\.0 # SKIP", text, re.MULTILINE):
            results[path.stem] = SKIP
        elif not re.search(r"^1\.\.\d+", text, re.MULTILINE):
            results[path.stem] = FAIL
    return results


def programs(_tree: Path, out: Path) -> Results:
    """Lines of (K)TAP, and how each program ended: numbers that change from run to run are taken out of names."""
    words = {"0": PASS, "4": SKIP, "77": SKIP}
    results: Results = {}
    for path in sorted(out.glob("*.ktap")):
        text = path.read_text(errors="replace")
        for bad, number, rest in re.findall(r"^[ #]*(not )?ok (\d+)\b(.*)$", text, re.MULTILINE):
            name = re.sub(r"\d{3,}", "N", rest.split("#")[0].strip(" -")) or number
            unique, count = f"{path.stem}: {name}", 1
            while unique in results:
                count += 1
                unique = f"{path.stem}: {name} ({count})"
            results[unique] = SKIP if re.search(r"# *SKIP", rest, re.IGNORECASE) else FAIL if bad else PASS
        ended = re.search(r"^status (\d+)\Z", text.rstrip(), re.MULTILINE)
        results[path.stem] = words.get(ended[1], FAIL) if ended else FAIL
    return results


def go(_tree: Path, out: Path) -> Results:
    """What `go test -v` prints of each test of each package."""
    words = {"PASS": PASS, "SKIP": SKIP}
    results: Results = {}
    for path in sorted(out.glob("*.go")):
        text = path.read_text(errors="replace")
        for word, name in re.findall(r"--- (PASS|FAIL|SKIP): (\S+) \(", text):
            results[f"{path.stem}.{name}"] = words.get(word, FAIL)
        results[path.stem] = PASS if re.search(r"^PASS\Z", text.rstrip(), re.MULTILINE) else FAIL
    return results


def util_linux(_tree: Path, out: Path) -> Results:
    """What each script prints of its parts, and of itself."""
    words = {"OK": PASS, "SKIPPED": SKIP, "KNOWN FAILED": FAIL, "FAILED": FAIL}
    results: Results = {}
    for path in sorted(out.glob("*.ktap")):
        text = path.read_text(errors="replace")
        for name, word in re.findall(r"^ *(.*?)\.\.\. (OK|SKIPPED|KNOWN FAILED|FAILED)\b", text, re.MULTILINE):
            results[f"{path.stem}: {' '.join(name.split())}"] = words[word]
    return results


def rsync(_tree: Path, out: Path) -> Results:
    """What rsync's runtests.sh, and PAM's, print of each script."""
    words = {"PASS": PASS, "SKIP": SKIP}
    found = re.findall(r"^(PASS|FAIL|SKIP|ERROR):? +(\S+)", (out / "log").read_text(errors="replace"), re.MULTILINE)
    return {test: words.get(word, FAIL) for word, test in found}


_DEJAGNU = {"PASS": PASS, "XFAIL": PASS, "FAIL": FAIL, "XPASS": FAIL, "ERROR": FAIL}


def dejagnu(tree: Path, out: Path) -> Results:
    """The lines of the .sum files of the tree, and of $out/*.sum (busybox' have the same words); automake's, too."""
    results: Results = {}
    for path in [*sorted(tree.rglob("*.sum")), *sorted(out.glob("*.sum"))]:
        words = "PASS|XFAIL|FAIL|XPASS|ERROR|UNSUPPORTED|UNTESTED|UNRESOLVED|SKIPPED"
        for word, said in re.findall(rf"^({words}): (.*)$", path.read_text(errors="replace"), re.MULTILINE):
            name = re.sub(r"\d{3,}", "N", said.split(" (")[0])
            unique, count = f"{path.stem}: {name}", 1
            while unique in results:
                count += 1
                unique = f"{path.stem}: {name} ({count})"
            results[unique] = _DEJAGNU.get(word, FAIL if word == "UNRESOLVED" else SKIP)
    return results | dict(_trs(tree))


def libarchive(_tree: Path, out: Path) -> Results:
    """What libarchive's test programs print with -v, in $out/PROGRAM.verbose."""
    results: Results = {}
    for path in sorted(out.glob("*.verbose")):
        text = path.read_text(errors="replace")
        parts = re.split(r"^ *\d+: (test_\w+)\n", text.split("Totals:")[0], flags=re.MULTILINE)
        failed = set(re.findall(r"^ +\d+: (test_\w+) \(\d+ failures\)", text, re.MULTILINE))
        for test, said in zip(parts[1::2], parts[2::2], strict=True):
            word = FAIL if test in failed else SKIP if "SKIPPING: " in said else PASS
            results[f"{path.stem}: {test}"] = word
        results[path.stem] = PASS if re.search(r"^\d+ tests passed, no failures$", text, re.MULTILINE) else FAIL
    return results


def ruby(_tree: Path, out: Path) -> Results:
    """What test-all prints with -v, in $out/log: a line for each test, those that failed or were skipped below."""
    text = (out / "log").read_text(errors="replace")
    results = dict.fromkeys(re.findall(r"^\[ *\d+/\d+\] (\S+#.+?) = ", text, re.MULTILINE), PASS)
    for word, name in re.findall(r"^ +\d+\) (Failure|Error|Skipped):\n(\S+#[^\s:]+)", text, re.MULTILINE):
        results[name] = SKIP if word == "Skipped" else FAIL
    results["all"] = PASS if re.search(r"^\d+ tests, \d+ assertions, ", text, re.MULTILINE) else FAIL
    return results


def sudo(_tree: Path, out: Path) -> Results:
    """How many tests each of sudo's check programs has passed, in $out/log: they are told apart by number only."""
    results: Results = {}
    text = (out / "log").read_text(errors="replace")
    for name, count, errors in re.findall(r"^(\S+): (\d+) tests run, (\d+) errors", text, re.MULTILINE):
        for number in range(int(count)):
            results[f"{name} {number + 1}"] = FAIL if number < int(errors) else PASS
    return results


def libcap(_tree: Path, out: Path) -> Results:
    """How each program ended, and what each line of quicktest.sh made of capsh: the first wrong one ends it."""
    log = (out / "log").read_text(errors="replace")
    ended = re.findall(r"^== (.*): (\d+)$", log, re.MULTILINE)
    results = {program: PASS if status == "0" else FAIL for program, status in ended}
    tries = re.findall(r"^EXPECT (SUCC|FAIL)\w+: TEST: (.*)\n(?s:.*?)^(PASS|FAIL)ED$", log, re.MULTILINE)
    for number, (wanted, line, got) in enumerate(tries, 1):
        results[f"quicktest {number:02} {line}"] = PASS if (wanted == "SUCC") == (got == "PASS") else FAIL
    return results
