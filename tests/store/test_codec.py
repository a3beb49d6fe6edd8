# SPDX-License-Identifier: GPL-2.0-or-later
"""The codecs of owners, against what others write."""

from __future__ import annotations

import os
import stat

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from remainroot.store.codec import KEEP, decode_override, decode_resource, encode_override, encode_resource

IDS = st.one_of(st.integers(0, KEEP), st.sampled_from([0, 1, 127, 128, 16383, 16384, 65534, KEEP - 1, KEEP]))

# Bytes that umoci, protoc and others write for these ids.
KNOWN = [
    (0, 0, ""),
    (33, 44, "0821102c"),
    (KEEP, 44, "08ffffffff0f102c"),
    (0, 300, "10ac02"),
    (300, 0, "08ac02"),
]


@pytest.mark.parametrize(("uid", "gid", "raw"), KNOWN)
def test_resource_has_the_bytes_of_a_proto3_writer(uid: int, gid: int, raw: str) -> None:
    assert encode_resource(uid, gid).hex() == raw
    assert decode_resource(bytes.fromhex(raw)) == (uid, gid)


@pytest.mark.parametrize(
    ("raw", "ids"),
    [
        ("08211000", (33, 0)),  # explicit zeros, as rootless-containers' PRoot writes
        ("102c0821", (33, 44)),  # the other order
        ("08210822", (34, 0)),  # the last of several counts
        ("0821180a2a03616263102c", (33, 44)),  # unknown fields: a number, and three bytes
        ("0821358877665541112233445566778810051d01020304", (33, 5)),  # unknown fixed 32 and 64
    ],
)
def test_resource_reads_what_other_writers_may_write(raw: str, ids: tuple[int, int]) -> None:
    assert decode_resource(bytes.fromhex(raw)) == ids


@pytest.mark.parametrize("raw", ["08", "0880", "08" + "ff" * 11, "0b", "0f21", "00", "1a05aa", "1d0102", "2108"])
def test_what_is_no_message_is_refused(raw: str) -> None:
    with pytest.raises(ValueError, match="not a protobuf message"):
        decode_resource(bytes.fromhex(raw))


def _oracle_message() -> type:
    """Google's implementation of the message, or None where protobuf is not installed."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="r.proto", syntax="proto3", package="rootlesscontainers")
    message = file.message_type.add(name="Resource")
    for number, name in enumerate(("uid", "gid"), 1):
        message.field.add(name=name, number=number, type=13, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    made: type = message_factory.GetMessageClass(pool.FindMessageTypeByName("rootlesscontainers.Resource"))
    return made


@pytest.fixture(scope="module")
def oracle() -> type:
    return _oracle_message()


@pytest.mark.property
@given(IDS, IDS)
@example(0, 0)
def test_resource_is_byte_equal_with_google_s(oracle: type, uid: int, gid: int) -> None:
    raw = oracle(uid=uid, gid=gid).SerializeToString(deterministic=True)
    assert encode_resource(uid, gid) == raw
    assert decode_resource(raw) == (uid, gid)


@pytest.mark.property
@given(st.binary(max_size=24))
def test_any_bytes_decode_or_are_refused(raw: bytes) -> None:
    for decode in (decode_resource, decode_override):
        try:
            decode(raw)
        except ValueError:
            pass


@pytest.mark.property
@given(st.binary(max_size=12))
def test_any_bytes_are_read_as_google_reads_them(oracle: type, raw: bytes) -> None:
    from google.protobuf.message import DecodeError

    try:
        message = oracle.FromString(raw)  # type: ignore[attr-defined]
    except DecodeError:
        return  # we may be more lenient with groups and numbers that do not fit
    try:
        ids = decode_resource(raw)
    except ValueError:
        assert any(byte & 7 in (3, 4) for byte in raw)  # deprecated groups
        return
    assert ids == (message.uid, message.gid)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("33:44:0644:file", (33, 44, stat.S_IFREG | 0o644, 0)),
        ("0:0:4755:file", (0, 0, stat.S_IFREG | 0o4755, 0)),
        ("1:2:0755:dir", (1, 2, stat.S_IFDIR | 0o755, 0)),
        ("1:2:0777:symlink", (1, 2, stat.S_IFLNK | 0o777, 0)),
        ("1:2:0600:pipe", (1, 2, stat.S_IFIFO | 0o600, 0)),
        ("1:2:0600:socket", (1, 2, stat.S_IFSOCK | 0o600, 0)),
        ("0:6:0660:block-8-1", (0, 6, stat.S_IFBLK | 0o660, os.makedev(8, 1))),
        ("0:0:0666:char-1-3", (0, 0, stat.S_IFCHR | 0o666, os.makedev(1, 3))),
    ],
)
def test_override_both_ways(text: str, value: tuple[int, int, int, int]) -> None:
    assert encode_override(*value) == text.encode()
    assert decode_override(text.encode()) == value


def test_override_without_a_type() -> None:
    assert decode_override(b"33:44:755") == (33, 44, 0o755, 0)


@pytest.mark.parametrize(
    "text",
    ["", "1:2", "1:2:x", "1:2:0644:", "1:2:0644:door", "1:2:0644:char", "1:2:0644:char-1", "1:2:0644:file-1-2",
     "-1:2:0644", "1_0:2:0644", "4294967296:0:0644", "1:2:999", " 1:2:0644", "1:2:0644:char-1-2-3", "\u0661:2:0644"],
)  # fmt: skip
def test_what_is_no_override_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # whatever its words
        decode_override(text.encode())
