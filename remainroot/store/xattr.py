# SPDX-License-Identifier: GPL-2.0-or-later
"""Owners kept on the files themselves, in extended attributes that other tools read too (`codec`).

The kernel allows attributes of the namespace `user` on regular files and directories only, and some file systems on
none (xattr(7)): there every change fails with EOPNOTSUPP or EPERM, and `durable` falls back on a database.

Nothing is cached: what another supervisor, or somebody without one, wrote a moment ago is what is read.
"""

from __future__ import annotations

import os
from errno import ENODATA, EOPNOTSUPP, EPERM
from stat import S_IFMT, S_IMODE, S_ISDIR, S_ISREG

from remainroot.store.base import SET_ID, Owner, Store, is_placeholder
from remainroot.store.codec import decode_override, decode_resource, encode_override, encode_resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

RESOURCE: Final = "user.rootlesscontainers"
OVERRIDE: Final = "user.containers.override_stat"
ATTRIBUTES: Final = "user.remainroot."
"""Before the name of an attribute that is kept for CMD (`trusted.overlay.opaque`)."""


def carries_xattrs(st: os.stat_result) -> bool:
    """Whether a file of this type may have user attributes at all."""
    return S_ISREG(st.st_mode) or S_ISDIR(st.st_mode)


class XattrStore(Store):
    """Owners in `user.rootlesscontainers`, or in `user.containers.override_stat` where `spelling` is "containers".

    Both are read; where they differ (another tool wrote one) the chosen one counts. Only override_stat can tell of a
    mode: a device placeholder has that one alone, and a file with set-id bits to keep has it beside the chosen one.
    """

    xattrs: tuple[str, ...] = (RESOURCE, OVERRIDE)

    def __init__(self, spelling: str = "rootlesscontainers") -> None:
        super().__init__()
        self.assume_anything()
        self._override_first = spelling == "containers"
        self.keeps_modes = self._override_first

    # -- owners

    def get(self, fd: int, st: os.stat_result) -> Owner | None:
        """What the file says; an attribute that cannot be read or makes no sense says nothing."""
        path = f"/proc/self/fd/{fd}"
        try:
            names = os.listxattr(path)
        except OSError:
            return None
        if not names:
            return None
        override = resource = None
        if OVERRIDE in names:
            try:
                uid, gid, mode, rdev = decode_override(os.getxattr(path, OVERRIDE))
            except (OSError, ValueError):
                pass
            else:
                if S_IFMT(mode) not in (0, S_IFMT(st.st_mode)):
                    return Owner(uid, gid, mode, rdev)
                own = S_IMODE(mode) != S_IMODE(st.st_mode) or (mode & SET_ID and S_ISREG(st.st_mode))
                override = Owner(uid, gid, S_IFMT(st.st_mode) | S_IMODE(mode) if own else 0)
        if RESOURCE in names:
            try:
                resource = Owner(*decode_resource(os.getxattr(path, RESOURCE)), override.mode if override else 0)
            except (OSError, ValueError):
                pass
        return override or resource if self._override_first else resource or override

    def put(self, fd: int, st: os.stat_result, owner: Owner) -> None:
        """Write it on the file; OSError as setxattr(2)."""
        if not carries_xattrs(st):
            raise OSError(EPERM, os.strerror(EPERM))
        path = f"/proc/self/fd/{fd}"
        if self._override_first or is_placeholder(owner, st):
            mode = owner.mode or os.fstat(fd).st_mode
            os.setxattr(path, OVERRIDE, encode_override(owner.uid, owner.gid, mode, owner.rdev))
            remove_xattr(path, RESOURCE)
        elif owner.mode:
            os.setxattr(path, OVERRIDE, encode_override(owner.uid, owner.gid, owner.mode, owner.rdev))
            os.setxattr(path, RESOURCE, encode_resource(owner.uid, owner.gid))
        else:
            os.setxattr(path, RESOURCE, encode_resource(owner.uid, owner.gid))
            remove_xattr(path, OVERRIDE)

    def forget(self, fd: int, st: os.stat_result) -> None:
        """Remove both."""
        if carries_xattrs(st):
            path = f"/proc/self/fd/{fd}"
            remove_xattr(path, OVERRIDE)
            remove_xattr(path, RESOURCE)

    # -- attributes

    def hides(self, name: str) -> bool:
        """Owners' attributes, and those that hold attributes."""
        return name.startswith(ATTRIBUTES) or name in (RESOURCE, OVERRIDE)

    def attributes(self, fd: int, st: os.stat_result) -> dict[str, bytes]:
        """What the file carries for us."""
        del st
        path = f"/proc/self/fd/{fd}"
        kept = {}
        try:
            for name in os.listxattr(path):
                if name.startswith(ATTRIBUTES):
                    kept[name[len(ATTRIBUTES) :]] = os.getxattr(path, name)
        except OSError:  # none to be had here, or removed meanwhile
            pass
        return kept

    def put_attribute(self, fd: int, st: os.stat_result, name: str, value: bytes) -> None:
        """Write one on the file; OSError as setxattr(2)."""
        if not carries_xattrs(st):
            raise OSError(EPERM, os.strerror(EPERM))
        os.setxattr(f"/proc/self/fd/{fd}", ATTRIBUTES + name, value)

    def forget_attribute(self, fd: int, st: os.stat_result, name: str) -> None:
        """Remove one."""
        if carries_xattrs(st):
            remove_xattr(f"/proc/self/fd/{fd}", ATTRIBUTES + name)


def remove_xattr(path: str, name: str) -> None:
    """Remove an attribute, or find that it is not there and could not be."""
    try:
        if name not in os.listxattr(path):  # far cheaper than to try
            return
        os.removexattr(path, name)
    except OSError as error:
        if error.errno not in (ENODATA, EOPNOTSUPP):
            raise
