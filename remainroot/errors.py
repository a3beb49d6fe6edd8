# SPDX-License-Identifier: GPL-2.0-or-later
"""What remainroot reports about itself: one exception and the exit statuses. Imports nothing."""

from __future__ import annotations

EXIT_OURS = 125
"""remainroot itself failed; CMD was not started or could not be supervised."""
EXIT_NOT_EXECUTABLE = 126
"""CMD was found but could not be executed."""
EXIT_NOT_FOUND = 127
"""CMD was not found."""


class RemainrootError(Exception):
    """A failure to tell the user about in one line: what failed, on what, why, and what to do.

    `status` is the exit status that goes with it.
    """

    def __init__(self, message: str, status: int = EXIT_OURS) -> None:
        super().__init__(message)
        self.status = status
