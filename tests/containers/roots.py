# SPDX-License-Identifier: GPL-2.0-or-later
"""Small roots for boxes, and starting a box as an unprivileged user, who cannot read this clone or its interpreter."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.e2e.containers import install_into

if TYPE_CHECKING:
    from types import TracebackType

UID = 12345
TIMEOUT = 180
BUSYBOX = Path("/usr/bin/busybox" if Path("/usr/bin/busybox").exists() else "/bin/busybox")
"""Of the package busybox-static."""

PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:1007:1008::/srv:/bin/sh\n"
GROUP = "root:x:0:\nweb:x:1008:\nextra:x:1009:web\n"

_PROGRAM = """
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	(void)argv;
	printf("%d %d %d\\n", getuid(), getgid(), getpid());
	fflush(stdout);
	if (argc > 1)
		pause();
	return 0;
}
"""

_sites: list[str] = []
_runtimes: list[Path] = []


def as_user() -> list[str]:
    """Words that start remainroot as the unprivileged user."""
    return ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--", "/usr/bin/python3", _sites[-1]]


class Roots:
    """The roots, in a directory of their own that is removed at the end."""

    def __enter__(self) -> Self:
        """Make them."""
        self.top = Path(tempfile.mkdtemp(prefix="remainroot-box-", dir="/var/tmp"))
        self.top.chmod(0o755)
        site = self.top / "site"
        site.mkdir()
        install_into(site)
        _sites.append(str(site / "bin/remainroot"))
        self.runtime = self.top / "runtime"
        """The user's runtime directory, where the names of boxes are kept."""
        self.runtime.mkdir(mode=0o700)
        _runtimes.append(self.runtime)
        self.busybox = self._make_busybox(self.top / "busybox")
        self.static = self._make_static(self.top / "static")
        for path in (self.busybox, self.static, self.runtime):
            self._give(path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove them."""
        _sites.pop()
        _runtimes.pop()
        shutil.rmtree(self.top)

    @staticmethod
    def _give(path: Path) -> None:
        subprocess.run(["chown", "-hR", f"{UID}:{UID}", str(path)], check=True)

    @staticmethod
    def _make_busybox(path: Path) -> Path:
        for name in ("bin", "etc", "tmp", "srv"):
            (path / name).mkdir(parents=True)
        (path / "tmp").chmod(0o1777)
        shutil.copyfile(BUSYBOX, path / "bin/busybox")
        (path / "bin/busybox").chmod(0o755)
        applets = subprocess.run([str(BUSYBOX), "--list"], check=True, capture_output=True, text=True).stdout.split()
        for name in applets:
            if name != "busybox":
                (path / "bin" / name).symlink_to("busybox")
        (path / "etc/passwd").write_text(PASSWD)
        (path / "etc/group").write_text(GROUP)
        return path

    @staticmethod
    def _make_static(path: Path) -> Path:
        path.mkdir()
        compiler = ["gcc", "-O1", "-static", "-x", "c", "-o", str(path / "program"), "-"]
        subprocess.run(compiler, input=_PROGRAM, text=True, check=True)
        return path

    def tar(self, suffix: str) -> Path:
        """The busybox root as a tar file, with owners that no plain user could give."""
        path = self.top / f"root.{suffix}"
        if path.exists():
            return path
        plain = self.top / "root.tar"
        if not plain.exists():
            with tarfile.open(plain, "w") as tar:
                tar.add(self.busybox, ".", filter=_as_root)
                add(tar, "etc/secret", b"x", 0, 42, 0o640)
                add(tar, "bin/tool", b"x", 33, 34, 0o6755)
                add(tar, "var/spool", None, 8, 8, 0o1777)
                add(tar, "nodes", None)
                node = tarfile.TarInfo("nodes/null")
                node.type, node.devmajor, node.devminor, node.mode = tarfile.CHRTYPE, 1, 3, 0o666
                tar.addfile(node)
                link = tarfile.TarInfo("link")
                link.type, link.linkname = tarfile.SYMTYPE, "/no/where"
                tar.addfile(link)
            plain.chmod(0o644)
        if suffix != "tar":
            program = {"tar.gz": "gzip", "tar.zst": "zstd"}[suffix]
            with path.open("wb") as file:
                subprocess.run([program, "-cq", str(plain)], stdout=file, check=True)
            path.chmod(0o644)
        return path


def _as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def add(tar: tarfile.TarFile, name: str, data: bytes | None, uid: int = 0, gid: int = 0, mode: int = 0o755) -> None:
    """Add a file with this content, or a directory for None."""
    member = tarfile.TarInfo(name)
    member.uid, member.gid, member.mode = uid, gid, mode
    if data is None:
        member.type = tarfile.DIRTYPE
    else:
        member.size = len(data)
    tar.addfile(member, io.BytesIO(data) if data is not None else None)


def _store(layout: Path, data: bytes, kind: str) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    (layout / "blobs/sha256" / digest).write_bytes(data)
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}


def make_layout(layout: Path, roots: Roots) -> Path:
    """An OCI image layout of two images: the second is the lower half of the first, without its whiteouts."""
    (layout / "blobs/sha256").mkdir(parents=True)
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    lower, upper = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=lower, mode="w:gz") as tar:
        tar.add(roots.busybox, ".", filter=_as_root)
        for name in ("data", "opaque"):
            add(tar, name, None)
        add(tar, "data/gone", b"gone\n")
        add(tar, "data/old", b"old\n")
        add(tar, "opaque/hidden", b"hidden\n")
    with tarfile.open(fileobj=upper, mode="w") as tar:
        add(tar, "data/.wh.gone", b"")
        add(tar, "data/new", b"new\n", 5, 6)
        add(tar, "opaque/only", b"only\n")
        add(tar, "opaque/.wh..wh..opq", b"")
    kind = "application/vnd.oci.image.layer.v1.tar"
    layers = [_store(layout, lower.getvalue(), kind + "+gzip"), _store(layout, upper.getvalue(), kind)]
    config = {"Env": ["IMAGE=1"], "WorkingDir": "/etc", "User": "33", "Entrypoint": ["/bin/sh", "-c"],
              "Cmd": ["echo from the image: $IMAGE $PWD $(id -u)"]}  # fmt: skip
    manifests = []
    for name, used in (("first", layers), ("second", layers[:1])):
        described = {"architecture": "amd64", "os": "linux", "config": config if name == "first" else {}}
        manifest = {
            "schemaVersion": 2, "layers": used,
            "config": _store(layout, json.dumps(described).encode(), "application/vnd.oci.image.config.v1+json"),
        }  # fmt: skip
        one = _store(layout, json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")
        one["annotations"] = {"org.opencontainers.image.ref.name": name}
        manifests.append(one)
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))
    subprocess.run(["chmod", "-R", "a+rX", str(layout)], check=True)
    return layout


def _run(words: tuple[str | Path, ...], **how: Any) -> subprocess.CompletedProcess[str]:
    result: subprocess.CompletedProcess[str] = subprocess.run(
        [*as_user(), "box", *map(str, words)], text=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL, check=False,
        cwd="/", env=environment(), **how,
    )  # fmt: skip
    return result


def environment() -> dict[str, str]:
    """What the unprivileged user has in its environment."""
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "XDG_RUNTIME_DIR": str(_runtimes[-1])}


def box(*words: str | Path, status: int = 0, errors: bool = False) -> str:
    """What a box prints, with what it complains of if `errors`; it must end with `status`."""
    result = _run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT if errors else subprocess.PIPE)
    assert result.returncode == status, result.stdout + (result.stderr or "")
    return result.stdout


def failing(*words: str | Path, status: int = 125) -> str:
    """What a box that cannot be made complains of, in one line."""
    result = _run(words, capture_output=True)
    assert result.returncode == status, result.stdout + result.stderr
    lines = result.stderr.splitlines()
    assert lines
    assert all(line.startswith("remainroot: ") for line in lines), result.stderr
    return result.stderr


def start_box(*words: str | Path, prefix: tuple[str, ...] = (), **how: Any) -> subprocess.Popen[str]:
    """Start a box, by way of the words `prefix`; the process is front itself."""
    default: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "text": True, "cwd": "/"}
    process: subprocess.Popen[str] = subprocess.Popen(
        [*prefix, *as_user(), "box", *map(str, words)], env=environment(), **(default | how)
    )
    return process
