# SPDX-License-Identifier: GPL-2.0-or-later
"""Who chose whom the signals of a file go to: fcntl(2), F_SETOWN."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from remainroot.credentials import Credentials


class Chooser:
    """The real and effective user id of who chose a recipient; that, where the kernel has been given none."""

    __slots__ = ("euid", "kind", "pid", "uid", "withheld")

    def __init__(self, creds: Credentials, kind: int, pid: int, *, withheld: bool) -> None:
        self.uid = creds.uid
        self.euid = creds.euid
        self.kind = kind
        self.pid = pid
        self.withheld = withheld
