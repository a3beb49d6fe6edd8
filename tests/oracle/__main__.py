# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m tests.oracle``: thousands of seeds on demand.

python -m tests.oracle --engine notify --program credfuzz --seeds 0:1000
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections import Counter
from itertools import product
from typing import TYPE_CHECKING

from tests.oracle import runner

if TYPE_CHECKING:
    from collections.abc import Iterator


def seeds(text: str) -> range:
    """``7`` or ``0:1000``."""
    first, _, last = text.partition(":")
    return range(int(first), int(last) if last else int(first) + 1)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m tests.oracle", description=__doc__)
    made.add_argument(
        "--engine", action="append", choices=(*runner.ENGINES, runner.PURE, "oracle"), help="repeatable; default notify"
    )
    made.add_argument("--program", action="append", choices=runner.PROGRAMS, help="repeatable; default credfuzz")
    made.add_argument("--seeds", type=seeds, default=range(10), metavar="A:B")
    made.add_argument("--variant", action="append", choices=tuple(runner.VARIANTS))
    modes = (*runner.FILE_MODES, runner.DENIED, *runner.EXEC_MODES)
    made.add_argument("--mode", action="append", choices=modes, help="who acts on files; what programs may be executed")
    made.add_argument("--base", action="append", help="a directory of the filesystem to use; default /tmp")
    made.add_argument("--runs", type=int, default=1, help="filefuzz: with how many supervisors, one after the other")
    made.add_argument("--strict", action="store_true", help="with this option (mix-, priv- and spacefuzz always are)")
    made.add_argument("--store", action="append", help="repeatable; each case has a database of its own")
    made.add_argument("--extras", action="store_true", help="credfuzz: compare /proc/self/status too")
    made.add_argument("--context", type=int, default=3, help="lines around a difference")
    made.add_argument("--stop-after", type=int, default=10, metavar="N", help="end after N differences")
    made.add_argument("--timeout", type=float, default=60.0, help="seconds for one run")
    made.add_argument("--brief", action="store_true", help="only the first differing pair of lines")
    made.add_argument("--ignore", metavar="REGEX", help="compare without the lines that match")
    made.add_argument("--show", action="store_true", help="print what each side printed, compare nothing")
    return made


def cases(args: argparse.Namespace) -> Iterator[runner.Case]:
    for seed, program, variant in product(args.seeds, args.program or ["credfuzz"], args.variant or ["native"]):
        if program in runner.ON_FILES:
            modes = args.mode or (runner.FILE_MODES if program == "filefuzz" else runner.FLAG_MODES)
            for mode, base in product(modes, args.base or ["/tmp"]):
                yield runner.Case(program, seed, variant, mode=mode, base=base, runs=args.runs)
        elif program == "execfuzz":
            modes = args.mode or (runner.EXEC_MODES[args.strict],)
            for mode, base in product(modes, args.base or ["/tmp"]):
                yield runner.Case(program, seed, variant, mode=mode, base=base)
        elif program == "errors":
            mode = "strict" if args.strict else "lax"
            yield runner.Case(program, seed, variant, mode=mode, base=(args.base or ["/tmp"])[0])
        else:
            yield runner.Case(program, seed, variant, extras=args.extras)


def without(result: runner.Result, pattern: str | None) -> runner.Result:
    """`result` less the lines that match, to look past what is known."""
    if pattern is None:
        return result
    lines = [line for line in result.lines if not re.search(pattern, line)]
    return runner.Result(lines, result.status, result.stderr, result.command)


def brief(case: runner.Case, engine: str, want: runner.Result, got: runner.Result) -> str:
    """Two lines, and the line before them, which usually holds the call."""
    at = runner.first_difference(want, got) or 0

    def line(side: runner.Result, index: int) -> str:
        return side.lines[index] if 0 <= index < len(side.lines) else f"(ends, status {side.status})"

    said = got.stderr.strip().rpartition("\n")[2]
    tail = f"\n  stderr: {said}" if said else ""
    return f"{case} under {engine}\n    {line(want, at - 1)}\n  - {line(want, at)}\n  + {line(got, at)}{tail}"


def run_under(
    oracle: runner.Oracle, engine: str, case: runner.Case, store: str, options: tuple[str, ...]
) -> runner.Result:
    """Under the shim, with a store that no other case has."""
    if not store:
        return oracle.run_under(engine, case, options)
    with tempfile.TemporaryDirectory() as state:
        path = "" if store == "xattr" or store == "memory" else f":{state}/owners.db"
        return oracle.run_under(engine, case, (*options, "--store", store + path))


def main() -> int:
    args = parser().parse_args()
    count: Counter[str] = Counter()
    options = ("--strict",) if args.strict else ()
    with runner.Oracle(args.timeout) as oracle:
        for case in cases(args):
            want = without(oracle.run_oracle(case), args.ignore)
            if args.show:
                print("\n".join(want.lines))
            for engine, store in product(args.engine or ["notify"], args.store or [""]):
                got = oracle.run_oracle(case) if engine == "oracle" else run_under(oracle, engine, case, store, options)
                got = without(got, args.ignore)
                count["runs"] += 1
                if args.show:
                    print(f"--- {engine}: status {got.status}\n" + "\n".join(got.lines) + got.stderr)
                    continue
                name = f"{engine} {store}".strip()
                report = runner.difference(case, name, want, got, args.context)
                if report is None:
                    continue
                count["differences"] += 1
                print(brief(case, name, want, got) if args.brief else report, flush=True)
                if not any(got.lines):
                    print(f"nothing was printed: did {engine} start?\n{got.stderr.strip()}")
                    return 1
                if count["differences"] >= args.stop_after:
                    print(f"stopped: {count['runs']} runs, {count['differences']} differences")
                    return 1
    print(f"{count['runs']} runs, {count['differences']} differences")
    return 1 if count["differences"] else 0


if __name__ == "__main__":
    sys.exit(main())
