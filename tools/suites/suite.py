# SPDX-License-Identifier: GPL-2.0-or-later
"""What a suite of others is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import results


class Suite(NamedTuple):
    """One suite. Its commands are shell scripts whose working directory is the tree; $out is for results."""

    name: str
    about: str
    """What of it is run."""
    command: str
    read: Callable[[Path, Path], results.Results]
    """Of the tree and $out."""
    source: str = ""
    """Debian's source package; empty: what is tested is in `packages`."""
    packages: tuple[str, ...] = ()
    build: str = ":"
    given: str = ""
    """The environment's variable that names a directory with the sources, for a suite that Debian does not have."""
    who: tuple[str, ...] = ("root", "user")
    """As whom it can run."""
