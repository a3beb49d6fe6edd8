# SPDX-License-Identifier: GPL-2.0-or-later
"""Importing this declares the guards of `--strict`: only that option does so."""

from __future__ import annotations

from remainroot.handlers import (
    strict,
    strict_attributes,
    strict_ipc,
    strict_mounts,
    strict_names,
    strict_network,
    strict_sockets,
    strict_system,
    strict_tasks,
)

__all__ = [
    "strict", "strict_attributes", "strict_ipc", "strict_mounts", "strict_names", "strict_network", "strict_sockets",
    "strict_system", "strict_tasks",
]  # fmt: skip
