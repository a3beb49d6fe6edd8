# SPDX-License-Identifier: GPL-2.0-or-later
"""How the results of other projects' test suites are read and compared (`make suites`)."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

TOOLS = Path(__file__).parent.parent / "tools" / "suites"


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("results")


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("run")


def test_junit(results: Any, tmp_path: Path) -> None:
    case = '<testcase name="m.{}" result="{}">{}</testcase>'
    cases = [("a", "completed", ""), ("b", "skipped", "<skipped/>"), ("c", "completed", "<failure/>")]
    (tmp_path / "results.xml").write_text(f"<x>{''.join(case.format(*one) for one in cases)}</x>", encoding="ascii")
    assert results.junit(tmp_path, tmp_path) == {"m.a": "passed", "m.b": "skipped", "m.c": "failed"}


def test_tap(results: Any, tmp_path: Path) -> None:
    (tmp_path / "t1.tap").write_text(
        "ok 1 - a\nnot ok 2 - b # TODO known\nok 3 # skip c (missing)\nnot ok 4 - d\n1..4\n", encoding="ascii"
    )
    (tmp_path / "t2.tap").write_text("1..0 # SKIP not as root\n", encoding="ascii")
    (tmp_path / "t3.tap").write_text("ok 1 - a\nFATAL\n", encoding="ascii")
    assert results.tap(tmp_path, tmp_path) == {
        "t1 1": "passed", "t1 2": "passed", "t1 3": "skipped", "t1 4": "failed", "t2": "skipped",
        "t3 1": "passed", "t3": "failed",
    }  # fmt: skip


def test_automake_and_the_commands_in_it(results: Any, tmp_path: Path) -> None:
    for name, word in (("a", "PASS"), ("b", "SKIP"), ("c", "FAIL")):
        (tmp_path / f"{name}.trs").write_text(f":global-test-result: {word}\n", encoding="ascii")
        (tmp_path / f"{name}.log").write_text("", encoding="ascii")
    assert results.automake(tmp_path, tmp_path) == {"a": "passed", "b": "skipped", "c": "failed"}
    (tmp_path / "c.log").write_text("[3] $ ls -- ok\n[4] $ cat x -- failed\n", encoding="ascii")
    expected = {"a": "passed", "b": "skipped", "c line 3": "passed", "c line 4": "failed"}
    assert results.commands(tmp_path, tmp_path) == expected


def test_libcap(results: Any, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(
        "one\n== ./cap_test: 0\nEXPECT SUCCESS: TEST: ./capsh --print\nUid\nPASSED\n"
        "EXPECT FAILURE: TEST: ./capsh --keep=1\nno\nFAILED\n[WHICH MEANS A PASS!]\n"
        "EXPECT FAILURE: TEST: ./capsh --uid=1\nPASSED\nUndesired result - aborting\n== ./quicktest.sh: 1\n",
        encoding="ascii",
    )
    assert results.libcap(tmp_path, tmp_path) == {
        "./cap_test": "passed", "./quicktest.sh": "failed", "quicktest 01 ./capsh --print": "passed",
        "quicktest 02 ./capsh --keep=1": "passed", "quicktest 03 ./capsh --uid=1": "failed",
    }  # fmt: skip


def test_autotest(results: Any, tmp_path: Path) -> None:
    log = "  1: one   ok\n  2: same  skipped (s.at:30)\n  3: same  FAILED (s.at:40)\n## 238 tests\n"
    (tmp_path / "log").write_text(log, encoding="ascii")
    assert results.autotest(tmp_path, tmp_path) == {"one": "passed", "same": "skipped", "same (2)": "failed"}


def test_ktap(results: Any, tmp_path: Path) -> None:
    text = "TAP version 13\nok 1 a\n# ok 2 - fd 12345 # SKIP no\n    not ok 3 b 999\nok 4 a\n\nstatus 1\n"
    (tmp_path / "mount.one.ktap").write_text(text, encoding="ascii")
    (tmp_path / "mount.two.ktap").write_text("no such thing\n\nstatus 4\n", encoding="ascii")
    (tmp_path / "mount.three.ktap").write_text("ok 1\n", encoding="ascii")
    assert results.programs(tmp_path, tmp_path) == {
        "mount.one: a": "passed", "mount.one: fd N": "skipped", "mount.one: b N": "failed",
        "mount.one: a (2)": "passed", "mount.one": "failed", "mount.two": "skipped", "mount.three: 1": "passed",
        "mount.three": "failed",
    }  # fmt: skip


def test_util_linux(results: Any, tmp_path: Path) -> None:
    text = (
        "         ipcs: headers: [01] shm-headers                     ... OK\n"
        "         ipcs: headers                                       ... FAILED (ipcs/headers)\n"
    )
    (tmp_path / "ipcs.headers.ktap").write_text(text, encoding="ascii")
    (tmp_path / "misc.line.ktap").write_text("   misc: line  ... SKIPPED (missing)\n\nstatus 0\n", encoding="ascii")
    assert results.util_linux(tmp_path, tmp_path) == {
        "ipcs.headers: ipcs: headers: [01] shm-headers": "passed", "ipcs.headers: ipcs: headers": "failed",
        "misc.line: misc: line": "skipped",
    }  # fmt: skip


def test_rsync_and_pam(results: Any, tmp_path: Path) -> None:
    log = "PASS    chown\nFAIL    acls\nSKIP: tst-pam_time1\nPASS: tst-pam_unix1\n26 tests passed\n"
    (tmp_path / "log").write_text(log, encoding="ascii")
    assert results.rsync(tmp_path, tmp_path) == {
        "chown": "passed", "acls": "failed", "tst-pam_time1": "skipped", "tst-pam_unix1": "passed",
    }  # fmt: skip


def test_what_is_missing_on_one_side_differs(runner: Any) -> None:
    real = {"a": "passed", "b": "failed", "c": "skipped"}
    assert runner.differences(real, dict(real)) == []
    fake = {"a": "failed", "b": "failed", "d": "passed"}
    assert runner.differences(real, fake) == [
        ("a", "passed", "failed"), ("c", "skipped", "missing"), ("d", "missing", "passed"),
    ]  # fmt: skip


def test_a_difference_without_a_reason_is_said_to_be_unexplained(runner: Any) -> None:
    report = runner.Report()
    suite = next(suite for suite in runner.SUITES if suite.name == "perl")
    known = "POSIX.sigaction 34"
    found = {"real root": ({known: "passed", "x": "passed"}, 1.0), "remainroot root": ({known: "failed"}, 2.0)}
    report.add(suite, "root", found)
    assert report.unexplained == 1
    assert report.rows == ["| perl | root | 2 / 0 / 0 | 0 / 1 / 0 | 2 | 1 s | 2 s |"]
    assert "**Unexplained.**" in report.sections[0]


def test_a_suite_is_described_by_the_version_that_was_run(runner: Any, tmp_path: Path) -> None:
    suite = next(suite for suite in runner.SUITES if suite.given)
    assert not suite.source
    scripts = tmp_path / "built" / suite.name / "tests"
    scripts.mkdir(parents=True)
    (scripts / "00.t").write_text("echo 1..0\n", encoding="ascii")
    one = runner.version(suite, tmp_path)
    assert one.startswith("1 scripts, SHA-256 ")
    (scripts / "00.t").write_text("echo 1..1\n", encoding="ascii")
    other = runner.version(suite, tmp_path)
    assert other != one
    (tmp_path / "built" / suite.name / "VERSION").write_text("of today\n", encoding="ascii")
    assert runner.version(suite, tmp_path) == f"of today, {other}"
    text = runner.Report().text("notify", {suite.name: one})
    assert f"- **{suite.name}** ({one}): " in text
    assert "**acl**" not in text


def test_what_was_not_run_stays_in_the_document(runner: Any) -> None:
    document = (TOOLS.parent.parent / "doc" / "SUITES.md").read_text(encoding="utf-8")
    before = runner.written(document)
    report = runner.Report()
    for said in before.values():
        report.keep(said)
    again = report.text("notify", {name: said.version for name, said in before.items()})
    assert runner.written(again) == before
    assert again.partition("## Differences")[2] == document.partition("## Differences")[2]
    assert again.count("\n### ") == sum(len(said.sections) for said in before.values()) > 5


def test_a_suite_that_only_root_can_run_is_run_as_root_alone(runner: Any) -> None:
    suite = next(suite for suite in runner.SUITES if suite.who == ("root",))
    assert runner.ways(suite) == ["real root", "remainroot root"]
    assert runner.ways(runner.SUITES[0]) == list(runner.WAYS)


def test_no_results_are_an_error(runner: Any) -> None:
    with pytest.raises(SystemExit, match="no results"):
        runner.Report().add(runner.SUITES[0], "user", {"real user": ({}, 1.0), "remainroot user": ({}, 1.0)})


def test_every_suite_is_in_the_document_with_its_table() -> None:
    text = (TOOLS.parent.parent / "doc" / "SUITES.md").read_text(encoding="utf-8")
    for name in ("cpython", "coreutils", "tar", "git", "acl", "attr", "libcap", "psutil"):
        assert text.count(f"| {name} | root |") == text.count(f"| {name} | user |") == 1
    assert "Unexplained" not in text


def test_dejagnu(results: Any, tmp_path: Path) -> None:
    tree, out = tmp_path / "tree", tmp_path / "out"
    tree.mkdir()
    out.mkdir()
    (tree / "a.sum").write_text("# of tests\nPASS: one\nPASS: one\nXFAIL: two (pid 4711)\nUNTESTED: three\n", "ascii")
    (tree / "b.trs").write_text(":global-test-result: PASS\n", "ascii")
    (out / "c.sum").write_text("FAIL: one 4711\nSKIPPED: two\nUNRESOLVED: three\n", "ascii")
    assert results.dejagnu(tree, out) == {
        "a: one": "passed", "a: one (2)": "passed", "a: two": "passed", "a: three": "skipped", "b": "passed",
        "c: one N": "failed", "c: two": "skipped", "c: three": "failed",
    }  # fmt: skip


def test_libarchive(results: Any, tmp_path: Path) -> None:
    (tmp_path / "tar.verbose").write_text(
        "  0: test_a\n 10: test_b\ntar/b.c:46: SKIPPING: no lzop\n 11: test_c\nTotals:\nFailing tests:\n"
        "  11: test_c (2 failures)\n",
        "ascii",
    )
    (tmp_path / "cpio.verbose").write_text("  0: test_a\nTotals:\n1 tests passed, no failures\n", "ascii")
    assert results.libarchive(tmp_path, tmp_path) == {
        "cpio": "passed", "cpio: test_a": "passed", "tar": "failed", "tar: test_a": "passed", "tar: test_b": "skipped",
        "tar: test_c": "failed",
    }  # fmt: skip


def test_ruby(results: Any, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(
        "[  1/4] TestA#test_a = 0.00 s\n[  2/4] TestA#test_b = 0.10 s\n[  3/4] A::B#test_c = 0.00 s\n"
        "[4/4] TestA#test_d = 0.00 s\n\n  1) Failure:\nTestA#test_b [/x.rb:3]:\nno\n\n  2) Error:\nA::B#test_c:\nE\n\n"
        "  3) Skipped:\nTestA#test_d [/x.rb:9]:\n",
        "ascii",
    )
    expected = {"TestA#test_a": "passed", "TestA#test_b": "failed", "A::B#test_c": "failed", "TestA#test_d": "skipped"}
    assert results.ruby(tmp_path, tmp_path) == {**expected, "all": "failed"}
    with (tmp_path / "log").open("a") as log:
        log.write("\n4 tests, 6 assertions, 1 failures, 1 errors, 1 skips\n")
    assert results.ruby(tmp_path, tmp_path) == {**expected, "all": "passed"}


def test_sudo(results: Any, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a: 2 tests run, 1 errors, 50% success rate\nb: 1 tests run, 0 errors, 1%\n", "ascii")
    assert results.sudo(tmp_path, tmp_path) == {"a 1": "failed", "a 2": "passed", "b 1": "passed"}
