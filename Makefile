# SPDX-License-Identifier: GPL-2.0-or-later
# On a fresh Debian machine, as root: `make demo` shows the thing, `make test` proves it. Both can be run again.

# Debian's own interpreter: an unprivileged user, and a user namespace, can run it wherever the clone lies.
PYTHON ?= /usr/bin/python3
VENV ?= .venv
BIN = $(VENV)/bin
PYTEST_ARGS ?=
JOBS ?= $(shell nproc)

.PHONY: demo test lint check-apt bench bench-quick bench-scale suites workloads clean

demo:
	@sh tools/setup-apt.sh demo
	@PYTHON=$(PYTHON) sh tools/demo.sh

test: $(VENV)/installed lint
	REMAINROOT_MUST_WORK=1 $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile $(PYTEST_ARGS)

lint: $(VENV)/installed
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

# Beside fakeroot, proot, pseudo and strace; as root, on a machine that does nothing else, in less than 25 minutes.
# Writes bench/results/ and the table in README.md.
bench:
	$(PYTHON) bench/run.py

# Two minutes; says what got worse against bench/results/.
bench-quick:
	$(PYTHON) bench/run.py --quick

# What many tasks, many owners and many calls cost, and a large tree; half an hour. Writes bench/results/scale*.
bench-scale:
	$(PYTHON) bench/scale.py

# The test suites of coreutils, tar, git, CPython, systemd, Go, perl and others, as real root and user and under --strict:
# more than two hours, as root. pjdfstest, too, with PJDFSTEST=DIRECTORY of its sources. Writes doc/SUITES.md.
suites: $(VENV)/installed
	$(PYTHON) tools/suites/run.py

# Every service of tests/e2e/services, on each engine; half an hour. Writes doc/WORKLOADS.md.
workloads: $(VENV)/installed
	$(BIN)/python tools/workloads.py

check-apt:
	@sh tools/setup-apt.sh test

# The stamp is older than these when dependencies, or the compiled half, may have changed.
$(VENV)/installed: pyproject.toml setup.py $(wildcard remainroot/fast/*) | check-apt
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
