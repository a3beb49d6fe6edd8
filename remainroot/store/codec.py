# SPDX-License-Identifier: GPL-2.0-or-later
"""The two ways in which others write a fake owner into an extended attribute, read and written here.

- `user.rootlesscontainers`: the message Resource of rootlesscontainers.proto, protobuf version 3: uid in field 1 and
  gid in field 2, as varints. A missing field is 0, so no bytes at all are 0:0; 0xFFFFFFFF keeps what the file has.
- `user.containers.override_stat`: text, `UID:GID:MODE[:TYPE]`, MODE in octal, TYPE one of file, dir, symlink, pipe,
  socket, block-MAJOR-MINOR and char-MAJOR-MINOR.

What is not well-formed raises ValueError.
"""

from __future__ import annotations

import os
from stat import S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK, S_IMODE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

KEEP: Final = 0xFFFF_FFFF
"""In place of an id: the one that the file has on disk."""

_UID: Final = 1
_GID: Final = 2
_VARINT: Final = 0
_FIXED64: Final = 1
_BYTES: Final = 2
_FIXED32: Final = 5
_MAX_VARINT: Final = 10

# ---------------------------------------------------------------- user.rootlesscontainers


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_resource(uid: int, gid: int) -> bytes:
    """The message for these two ids, as every proto3 writer gives it: zeros are left out."""
    out = b""
    if uid:
        out = b"\x08" + _varint(uid)
    if gid:
        out += b"\x10" + _varint(gid)
    return out


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, 64 bits, and where it ends."""
    value = 0
    for index in range(_MAX_VARINT):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
    raise ValueError("not a protobuf message: a number does not end")


def _skip(data: bytes, at: int, kind: int) -> int:
    """The end of a field of wire type `kind` that begins at `at`."""
    if kind == _VARINT:
        return _read_varint(data, at)[1]
    if kind == _BYTES:
        size, at = _read_varint(data, at)
        at += size
    elif kind in (_FIXED32, _FIXED64):
        at += 4 if kind == _FIXED32 else 8
    else:
        raise ValueError(f"not a protobuf message: wire type {kind}")
    if at > len(data):
        raise ValueError("not a protobuf message: a field does not end")
    return at


def decode_resource(data: bytes) -> tuple[int, int]:
    """The uid and gid of a message, either perhaps KEEP. The last of several counts; unknown fields are passed over."""
    ids = [0, 0]
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        field, kind = tag >> 3, tag & 7
        if not 0 < field < 1 << 29:
            raise ValueError(f"not a protobuf message: field {field}")
        if field in (_UID, _GID) and kind == _VARINT:
            value, at = _read_varint(data, at)
            ids[field - 1] = value & 0xFFFF_FFFF
        else:
            at = _skip(data, at, kind)
    return ids[0], ids[1]


# ---------------------------------------------------------------- user.containers.override_stat

_TYPES: Final = {
    "file": S_IFREG,
    "dir": S_IFDIR,
    "symlink": S_IFLNK,
    "pipe": S_IFIFO,
    "socket": S_IFSOCK,
    "block": S_IFBLK,
    "char": S_IFCHR,
}
_NAMES: Final = {value: name for name, value in _TYPES.items()}


def encode_override(uid: int, gid: int, mode: int, rdev: int = 0) -> bytes:
    """The text for these ids, the whole st_mode `mode` and, of a device, its number."""
    kind = S_IFMT(mode)
    name = _NAMES.get(kind, "file")
    if kind in (S_IFBLK, S_IFCHR):
        name = f"{name}-{os.major(rdev)}-{os.minor(rdev)}"
    return f"{uid}:{gid}:{S_IMODE(mode):04o}:{name}".encode()


def _number(text: str, base: int, limit: int) -> int:
    if not text.isascii() or not text.isdigit():  # int() would take signs, blanks and underscores
        raise ValueError(f"not a number: {text!r}")
    value = int(text, base)
    if value > limit:
        raise ValueError(f"too large: {text}")
    return value


def decode_override(data: bytes) -> tuple[int, int, int, int]:
    """uid, gid, mode and device number of a text; the mode without file type where the text has none."""
    words = data.decode("ascii").split(":", 3)
    if len(words) < 3:
        raise ValueError(f"not UID:GID:MODE[:TYPE]: {data!r}")
    uid = _number(words[0], 10, KEEP)
    gid = _number(words[1], 10, KEEP)
    mode = S_IMODE(_number(words[2], 8, 0o177777))
    rdev = 0
    if len(words) > 3:
        name, *device = words[3].split("-")
        kind = _TYPES.get(name)
        if kind is None or len(device) != (2 if kind in (S_IFBLK, S_IFCHR) else 0):
            raise ValueError(f"no type of file: {words[3]!r}")
        mode |= kind
        if device:
            rdev = os.makedev(_number(device[0], 10, 0xFFFF_FFFF), _number(device[1], 10, 0xFFFF_FFFF))
    return uid, gid, mode, rdev
