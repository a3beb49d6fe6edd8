# SPDX-License-Identifier: GPL-2.0-or-later
"""Roots that come as tar files or as OCI image layouts: what is in them, and unpacking it.

The unpacking process is under the shim as CMD will be. It gives files their owners and makes device nodes as root
would, and is chrooted into the root to be: no name and no link of an archive leads out of it.
"""

from __future__ import annotations

import os

from remainroot.errors import RemainrootError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import tarfile
    from typing import Any, Final

_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_XATTR: Final = "SCHILY.xattr."
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_INDEXES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)


class Image:
    """What a root is made of: the tar files of its layers, lowest first, and what its maker says of running it."""

    __slots__ = ("config", "layers")

    def __init__(self, layers: list[str], config: dict[str, Any]) -> None:
        self.layers = layers
        self.config = config


# ---------------------------------------------------------------- finding the layers


def is_layout(path: str) -> bool:
    """Whether the directory `path` is an OCI image layout."""
    return os.path.isfile(f"{path}/oci-layout") and os.path.isfile(f"{path}/index.json")


def open_layout(path: str, reference: str = "") -> Image:
    """The image called `reference` (the only one, if "") in the layout at `path`. RemainrootError if it is broken."""
    descriptor = _choose(_read(path, f"{path}/index.json").get("manifests", []), path, reference)
    manifest = _blob(path, descriptor)
    while descriptor.get("mediaType") in _INDEXES or "manifests" in manifest:
        descriptor = _for_this_machine(manifest.get("manifests", []), path)
        manifest = _blob(path, descriptor)
    layers = [_verified(path, layer) for layer in manifest.get("layers", [])]
    if not layers:
        raise RemainrootError(f"{path}: the image has no layers")
    config = _blob(path, manifest["config"]).get("config") if "config" in manifest else {}
    return Image(layers, config or {})


def _read(path: str, file: str) -> Any:
    import json

    try:
        with open(file, "rb") as stream:
            value = json.load(stream)
    except (OSError, ValueError) as error:
        raise RemainrootError(f"{path}: not a usable image layout: {error}") from None
    if not isinstance(value, dict):
        raise RemainrootError(f"{path}: not a usable image layout: {file} holds no object")
    return value


def _choose(manifests: list[dict[str, Any]], path: str, reference: str) -> dict[str, Any]:
    names = [one.get("annotations", {}).get("org.opencontainers.image.ref.name", "") for one in manifests]
    if reference:
        if reference not in names:
            known = ", ".join(filter(None, names)) or "none with a name"
            raise RemainrootError(f"{path} has no image {reference!r}; it has {known}")
        return manifests[names.index(reference)]
    if len(manifests) != 1:
        known = ", ".join(filter(None, names))
        raise RemainrootError(f"{path} has {len(manifests)} images: name one as {path}:NAME ({known})")
    return manifests[0]


def _for_this_machine(manifests: list[dict[str, Any]], path: str) -> dict[str, Any]:
    wanted = _ARCHITECTURES.get(os.uname().machine, os.uname().machine)
    for one in manifests:
        if one.get("platform", {}).get("architecture") == wanted:
            return one
    raise RemainrootError(f"{path} has no image for {wanted}")


def _file_of(path: str, descriptor: dict[str, Any]) -> tuple[str, str]:
    """The file of a blob, and its digest, which must look like one (it becomes a part of a path)."""
    digest = str(descriptor.get("digest", ""))
    kind, _, value = digest.partition(":")
    if kind != "sha256" or len(value) != 64 or not value.isalnum():
        raise RemainrootError(f"{path}: a blob has the digest {digest!r}, which is not a sha256")
    return f"{path}/blobs/sha256/{value}", value


def _verified(path: str, descriptor: dict[str, Any]) -> str:
    """The file of a blob whose content has been held against its digest."""
    import hashlib

    file, value = _file_of(path, descriptor)
    try:
        with open(file, "rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise RemainrootError(f"{path}: a blob of the image cannot be read: {error}") from None
    if found != value:
        raise RemainrootError(f"{path}: the blob {value} is damaged: its content has the sha256 {found}")
    return file


def _blob(path: str, descriptor: dict[str, Any]) -> Any:
    return _read(path, _verified(path, descriptor))


# ---------------------------------------------------------------- unpacking


def open_archive(path: str) -> tarfile.TarFile:
    """The tar file at `path`, compressed in whatever way, as a stream. RemainrootError if it is none."""
    import tarfile

    try:
        stream = open(path, "rb", buffering=1 << 20)  # noqa: SIM115  # it lives as long as the archive
        if os.pread(stream.fileno(), 4, 0) == _ZSTD:
            stream = _through_zstd(stream, path)
        return tarfile.open(fileobj=stream, mode="r|*", errorlevel=2, bufsize=1 << 20)
    except tarfile.TarError as error:
        raise RemainrootError(f"{path} is neither a directory nor a tar file: {error}") from None
    except OSError as error:
        raise RemainrootError(f"cannot read {path}: {error.strerror}") from None


def _through_zstd(stream: Any, path: str) -> Any:
    """What zstd(1) makes of the file."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(stream.fileno(), 0)
            os.lseek(0, 0, os.SEEK_SET)
            os.dup2(writer, 1)
            os.execvp("zstd", ["zstd", "-dcqq"])  # noqa: S606
        except OSError:
            os.write(2, f"remainroot: {path} is compressed with zstd, and there is no program zstd here\n".encode())
        finally:
            os._exit(127)
    os.close(writer)
    stream.close()
    return open(reader, "rb", buffering=1 << 20)


def unpack(archive: tarfile.TarFile) -> None:
    """Unpack the archive, one layer of an image, into our root directory. OSError, or tarfile.TarError, if it fails."""
    archive.extraction_filter = lambda member, _: member  # newer Pythons': take all
    directories = []
    placed: set[str] = set()
    os.umask(0)
    for member in archive:
        name = "/" + os.path.normpath("/" + member.name).lstrip("/")
        parent, base = os.path.split(name)
        if base == _OPAQUE:
            _empty(parent, placed)
        elif base.startswith(_WHITEOUT):
            _remove(f"{parent}/{base[len(_WHITEOUT) :]}")
        else:
            _place(archive, member, name)
            while name not in placed:
                placed.add(name)
                name = os.path.dirname(name)
            if member.isdir():
                directories.append((member.name, member))
    # Last, for what is put into a directory changes its time.
    for name, member in reversed(directories):
        _finish(name, member)


def _place(archive: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> None:
    """Put one member where it belongs, over what was there."""
    member.name = name
    if name == "/":
        return
    os.makedirs(os.path.dirname(name), 0o755, exist_ok=True)
    if not (member.isdir() and os.path.isdir(name) and not os.path.islink(name)):
        _remove(name)
    if member.islnk():
        member.linkname = "/" + os.path.normpath("/" + member.linkname).lstrip("/")
    archive.extract(member, "/", set_attrs=not member.isdir(), numeric_owner=True)
    for key, value in member.pax_headers.items():
        if key.startswith(_XATTR):
            os.setxattr(name, key[len(_XATTR) :], value.encode(errors="surrogateescape"), follow_symlinks=False)


def _finish(name: str, member: tarfile.TarInfo) -> None:
    try:
        os.chown(name, member.uid, member.gid, follow_symlinks=False)
        os.chmod(name, member.mode)
        os.utime(name, (member.mtime, member.mtime))
    except FileNotFoundError:
        pass  # a later member took its place


def _empty(directory: str, keep: set[str] | frozenset[str] = frozenset()) -> None:
    """Remove what is there, but for the paths in `keep`: what lower layers put there, not this one."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return
    for name in names:
        path = f"{directory.rstrip('/')}/{name}"
        if path not in keep:
            _remove(path)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except IsADirectoryError:
        _empty(path)
        os.rmdir(path)
