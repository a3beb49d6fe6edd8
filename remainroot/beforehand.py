# SPDX-License-Identifier: GPL-2.0-or-later
"""What is imported late, read before a task can put something over the files that it comes from.

A task that is in our own mount namespace may mount over the directory where this package lies, or Python, or what it
needs of others; and pivot_root(2) takes our root along. What we import only then would not be found any more.
"""

from __future__ import annotations

import os
import sys

from remainroot import bundle
from remainroot.elsewhere import MOUNT, namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_OTHERS: Final = ("ptrace.binding.func", "re", "_socket", "_struct")
"""What modules of this package import inside of functions, of other packages; and with it all that these do."""
_PLACES: Final = ("", "engines", "handlers", "store")
_NOT_OF_A_RUN: Final = ("__init__", "__main__", "_fast", "cli", "doctor", "owners", "listing", "front", "launch")

_read: Final[list[bool]] = []


def read(tid: int) -> None:
    """`tid` is about to change its mounts: if they are ours, too, import what is left; once."""
    if _read or not _are_ours(tid):
        return
    _read.append(True)
    names = [*_OTHERS] if bundle.holds(__spec__) else [*_OTHERS, *_modules()]
    for name in names:
        try:
            __import__(name)
        except ImportError:
            pass  # who needs it will say so


def _are_ours(tid: int) -> bool:
    """Whether the task is in our mount namespace, as far as can be told."""
    try:
        return namespace(tid, MOUNT) == namespace(os.getpid(), MOUNT)
    except OSError:
        return True


def _modules() -> list[str]:
    """Those of this package that a run may need, read from files of their own."""
    found = []
    for place in _PLACES:
        for name in os.listdir(os.path.join(os.path.dirname(__file__), place)):
            stem, end = os.path.splitext(name)
            if end == ".py" and stem not in _NOT_OF_A_RUN:
                found.append(".".join(word for word in (__package__ or "", place, stem) if word))
    return [name for name in found if name not in sys.modules]
