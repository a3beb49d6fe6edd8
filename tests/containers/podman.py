# SPDX-License-Identifier: GPL-2.0-or-later
"""Rootless podman, with runc and without subordinate ids, for the unprivileged user."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.containers.roots import TIMEOUT, UID

if TYPE_CHECKING:
    from types import TracebackType

_USER = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--"]
_MOUNT = 'mount --bind "$1" /etc/passwd; shift; exec "$@"'


class Podman:
    """One user's podman: its storage and state lie below `top`, and go with it.

    `top` is short: where the path of its state has more than 50 bytes, podman cannot tidy up after a container, and
    each run waits 20 s for that in vain.
    """

    def __init__(self, top: Path) -> None:
        self.top = top
        self.home = top / "home"
        self.run_dir = top / "run"

    def __enter__(self) -> Self:
        """Make the directories. podman wants its user to have a name: it gets one in a private mount."""
        assert len(f"{self.run_dir}/containers") <= 50
        for path in (self.home, self.run_dir, self.home / ".config", self.home / ".config/containers"):
            path.mkdir()
            os.chown(path, UID, UID)
        # One id is mapped, so nothing of an image can be given to another.
        (self.home / ".config/containers/storage.conf").write_text(
            '[storage]\ndriver = "vfs"\n[storage.options.vfs]\nignore_chown_errors = "true"\n'
        )
        self.passwd = self.top / "passwd"
        entry = f"remainroot-test:x:{UID}:{UID}::{self.home}:/bin/sh\n"
        self.passwd.write_text(Path("/etc/passwd").read_text("utf-8") + entry)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the containers, and the process that keeps podman's namespaces."""
        self.run("rm", "--all", "--force", "--time", "0")
        pause = self.run_dir / "libpod/tmp/pause.pid"
        if pause.exists():
            os.kill(int(pause.read_text()), signal.SIGKILL)

    def environment(self) -> dict[str, str]:
        """What podman, and whoever asks it, needs."""
        return {
            "PATH": os.environ["PATH"] + ":/usr/sbin", "HOME": str(self.home), "XDG_RUNTIME_DIR": str(self.run_dir),
        }  # fmt: skip

    def as_user(self, *words: str) -> list[str]:
        """A command of the user's, whose name is known."""
        return ["unshare", "--mount", "sh", "-ec", _MOUNT, "enter", str(self.passwd), *_USER, *words]

    def run(self, *words: str, **how: Any) -> str:
        """What `podman WORDS` prints; it must succeed."""
        default: dict[str, Any] = {"timeout": TIMEOUT, "cwd": "/", "stdin": subprocess.DEVNULL}
        result = subprocess.run(
            self.as_user("podman", "--runtime", "runc", *words), env=self.environment(), text=True, check=False,
            capture_output=True, **(default | how),
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        output: str = result.stdout
        return output
