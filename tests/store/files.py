# SPDX-License-Identifier: GPL-2.0-or-later
"""Files for the tests of stores."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from remainroot.store.base import Owner, Store


@contextlib.contextmanager
def held(path: Path | str) -> Iterator[tuple[int, os.stat_result]]:
    """The file as a store is given it: an O_PATH descriptor, links not followed, and its status."""
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW)
    try:
        yield fd, os.fstat(fd)
    finally:
        os.close(fd)


def put(store: Store, path: Path | str, owner: Owner) -> None:
    with held(path) as (fd, st):
        store.put(fd, st, owner)


def get(store: Store, path: Path | str) -> Owner | None:
    with held(path) as (fd, st):
        return store.get(fd, st)


def forget(store: Store, path: Path | str) -> None:
    with held(path) as (fd, st):
        store.forget(fd, st)


KINDS = ("regular", "directory", "symlink", "fifo", "socket")


def make(path: Path, kind: str) -> Path:
    """A file of this kind at `path`."""
    if kind == "regular":
        path.write_bytes(b"data")
    elif kind == "directory":
        path.mkdir()
    elif kind == "symlink":
        path.symlink_to("nowhere")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        os.mknod(path, 0o140644)
    return path
