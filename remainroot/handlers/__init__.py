# SPDX-License-Identifier: GPL-2.0-or-later
"""The handlers, one module per family of syscalls; importing this package declares them all.

The guards of `--strict` are declared by importing `every_guard`, which only that option does.
"""

from __future__ import annotations

from remainroot.handlers import (
    access,
    capabilities,
    creation,
    directories,
    file_owner,
    flags,
    ids,
    interruption,
    io_priorities,
    ipc,
    keys,
    lineage,
    memory_files,
    modes,
    mounts,
    opening,
    owners,
    peers,
    privileged,
    process_control,
    programs,
    resource_limits,
    scheduling,
    signals,
    sockets,
    status,
    views,
    xattrs,
)

__all__ = [
    "access",
    "capabilities",
    "creation",
    "directories",
    "file_owner",
    "flags",
    "ids",
    "interruption",
    "io_priorities",
    "ipc",
    "keys",
    "lineage",
    "memory_files",
    "modes",
    "mounts",
    "opening",
    "owners",
    "peers",
    "privileged",
    "process_control",
    "programs",
    "resource_limits",
    "scheduling",
    "signals",
    "sockets",
    "status",
    "views",
    "xattrs",
]
