# SPDX-License-Identifier: GPL-2.0-or-later
"""A subcommand's module, for the test of the table."""

from __future__ import annotations


def main(arguments: list[str]) -> int:
    """An exit status that tells what came."""
    return 40 if arguments == ["--all", "x"] else 1
