# SPDX-License-Identifier: GPL-2.0-or-later
"""Lists of files and their owners as text: a table to read, JSON lines, mtree(5), and fakeroot's file."""

from __future__ import annotations

import os
from stat import (
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFIFO,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    S_IFSOCK,
    S_IMODE,
    filemode,
)

from remainroot.errors import RemainrootError
from remainroot.store.base import Owner
from remainroot.store.fakeroot_file import Line, parse_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

TYPES: Final = {
    S_IFREG: "file",
    S_IFDIR: "dir",
    S_IFLNK: "link",
    S_IFBLK: "block",
    S_IFCHR: "char",
    S_IFIFO: "fifo",
    S_IFSOCK: "socket",
}
_KINDS: Final = {name: kind for kind, name in TYPES.items()}
FORMATS: Final = ("table", "json", "mtree", "fakeroot")


class Item:
    """One file of a list. `path` is relative to the tree; `owner.mode` is whole."""

    __slots__ = ("attributes", "dev", "ino", "links", "owner", "path", "target")

    def __init__(self, path: bytes, owner: Owner) -> None:
        self.path = path
        self.owner = owner
        self.target = b""
        self.attributes: dict[str, bytes] = {}
        self.dev = self.ino = 0
        self.links = 1


# ---------------------------------------------------------------- writing


def header(form: str) -> str:
    """What a list of this format begins with."""
    return "#mtree\n" if form == "mtree" else ""


def line(form: str, item: Item) -> str:
    """One file."""
    if form == "json":
        return _json_line(item)
    if form == "mtree":
        return _mtree_line(item)
    if form == "fakeroot":
        return f"{Line(item.dev, item.ino, item.owner, item.links)}\n"
    owner = item.owner
    device = f"{os.major(owner.rdev)},{os.minor(owner.rdev)}" if S_IFMT(owner.mode) in (S_IFBLK, S_IFCHR) else ""
    names = " ".join(sorted(item.attributes))
    ids = f"{owner.uid}:{owner.gid}"
    return f"{filemode(owner.mode)} {ids:<13} {device:>7} {_visible(item.path)}{'  ' + names if names else ''}\n"


def _visible(raw: bytes, also: bytes = b"") -> str:
    """As vis(3) with octal escapes: anything but printing ASCII, and `also`, as a backslash and three digits."""
    return "".join(chr(c) if 0x20 < c < 0x7F and c != 0x5C and c not in also else f"\\{c:03o}" for c in raw)


def _mtree_line(item: Item) -> str:
    owner = item.owner
    kind = S_IFMT(owner.mode)
    words = [
        "./" + _visible(item.path, b"#=*?[") if item.path != b"." else ".",
        f"type={TYPES.get(kind, 'file')}",
        f"uid={owner.uid}",
        f"gid={owner.gid}",
        f"mode={S_IMODE(owner.mode):04o}",
    ]
    if kind in (S_IFBLK, S_IFCHR):
        words.append(f"device=native,{os.major(owner.rdev)},{os.minor(owner.rdev)}")
    if kind == S_IFLNK:
        words.append(f"link={_visible(item.target)}")
    return " ".join(words) + "\n"


def _json_line(item: Item) -> str:
    import json

    owner = item.owner
    kind = S_IFMT(owner.mode)
    value: dict[str, object] = {
        "path": os.fsdecode(item.path),
        "type": TYPES.get(kind, "file"),
        "uid": owner.uid,
        "gid": owner.gid,
        "mode": f"{S_IMODE(owner.mode):04o}",
    }
    if kind in (S_IFBLK, S_IFCHR):
        value["device"] = [os.major(owner.rdev), os.minor(owner.rdev)]
    if item.attributes:
        value["xattrs"] = {name: raw.hex() for name, raw in sorted(item.attributes.items())}
    return json.dumps(value) + "\n"


# ---------------------------------------------------------------- reading


def read(form: str, text: str) -> Iterator[Item]:
    """The files of a list. RemainrootError for a line that is none."""
    common: dict[str, str] = {}
    for number, raw in enumerate(_joined(text), 1):
        words = raw.split()
        if not words or raw.startswith("#"):
            continue
        try:
            if form == "json":
                yield _from_json(raw)
            elif form == "fakeroot":
                entry = parse_line(raw)
                item = Item(b"", entry.owner)
                item.dev, item.ino = entry.dev, entry.ino
                yield item
            elif words[0] == "/set":
                common.update(_pairs(words[1:]))
            elif words[0] == "/unset":
                for name in words[1:]:
                    common.pop(name, None)
            elif words[0] != "..":
                yield _from_mtree(words[0], common | _pairs(words[1:]))
        except (ValueError, KeyError, TypeError) as error:
            raise RemainrootError(f"line {number} is not {form}: {error}") from None


def _joined(text: str) -> Iterator[str]:
    """Lines, those joined that end in a backslash."""
    begun = ""
    for one in text.split("\n"):
        if one.endswith("\\"):
            begun += one[:-1] + " "
        else:
            yield begun + one
            begun = ""


def _pairs(words: list[str]) -> dict[str, str]:
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def _hidden(text: str) -> bytes:
    """The bytes that `_visible` made `text` of."""
    out = bytearray()
    raw = os.fsencode(text)
    at = 0
    while at < len(raw):
        if raw[at] == 0x5C and raw[at + 1 : at + 4].isdigit():
            out.append(int(raw[at + 1 : at + 4], 8) & 0xFF)
            at += 4
        else:
            out.append(raw[at])
            at += 1
    return bytes(out)


def _from_mtree(name: str, words: dict[str, str]) -> Item:
    kind = _KINDS[words["type"]]
    mode = int(words.get("mode", "0"), 8)
    rdev = 0
    if kind in (S_IFBLK, S_IFCHR):
        numbers = words["device"].split(",")
        rdev = os.makedev(int(numbers[-2], 0), int(numbers[-1], 0)) if len(numbers) > 1 else int(numbers[0], 0)
    path = _hidden(name)
    return Item(os.path.normpath(path), Owner(int(words["uid"]), int(words["gid"]), kind | mode, rdev))


def _from_json(raw: str) -> Item:
    import json

    value = json.loads(raw)
    kind = _KINDS[value["type"]]
    rdev = os.makedev(*value["device"]) if "device" in value else 0
    owner = Owner(int(value["uid"]), int(value["gid"]), kind | int(value["mode"], 8), rdev)
    item = Item(os.path.normpath(os.fsencode(value["path"])), owner)
    item.attributes = {name: bytes.fromhex(data) for name, data in value.get("xattrs", {}).items()}
    return item
