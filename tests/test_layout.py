# SPDX-License-Identifier: GPL-2.0-or-later
"""The tests mirror the package: each module has its test file, or a reason why not."""

from __future__ import annotations

from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
PACKAGE = TOP / "remainroot"
LONGEST = 500
"""Lines; a longer module wants to be two."""

TESTED_BY = {
    # Data, held against other tables and the kernel.
    "abi/__init__": "abi/test_abi",
    "abi/x86_64": "abi/test_abi",
    "abi/x32": "abi/test_abi",
    "abi/i386": "abi/test_abi",
    "abi/aarch64": "abi/test_abi",
    "abi/arm": "abi/test_abi",
    "abi/stat": "abi/test_abi",
    # The two ptrace engines and what they are made of.
    "engines/ptracing": "engines/test_trace",
    "engines/inject": "engines/test_trace",
    "engines/errands": "engines/test_trace",
    "engines/children": "engines/test_trace",
    # Tried by the engine's own `unavailable`; what only notify has; what every engine owes.
    "engines/trial": "engines/test_notify",
    "engines/listener": "engines/test_notify",
    "engines/seized": "engines/test_notify",
    "engines/watching": "handlers/test_judged_writes",
    # What is held for a moment, or for a call.
    "engines/holding": "engines/test_notify",
    "engines/posting": "handlers/test_letters",
    "engines/gates": "handlers/test_letters",
    "engines/endings": "oracle/test_oracle",
    "engines/attending": "handlers/test_waiting",
    "waiters": "handlers/test_waiting",
    "engines/base": "engines/test_notify",
    # What a start reads; what every handler answers and every engine delivers.
    "engines/conversation": "engines/test_notify",
    "engines/prepared": "test_startup",
    "loop": "test_quick",
    "outcomes": "test_dispatch",
    # Lists as the kernel takes and gives them; other namespaces, which IPC objects are in; peers as sockets show them;
    # whom files signal; nodes that are open; times that are remembered.
    "acl": "handlers/test_xattrs",
    "elsewhere": "handlers/test_ipc",
    "pids": "handlers/test_user_namespaces",
    "connections": "handlers/test_sockets",
    "recipients": "handlers/test_sockets",
    "unnamed": "handlers/test_pipes",
    "handlers/message_waits": "handlers/test_sockets",
    "mount_contexts": "handlers/test_kernel_mounts",
    "nodes": "handlers/test_device_nodes",
    "dates": "handlers/test_times",
    # The formats of the command that shows owners.
    "listing": "test_owners",
    # The rules of both stores, whatever keeps them.
    "store/base": "store/test_stores",
    # Front, the supervisor's process and what joins them show only as one command.
    "front": "test_launch",
    "supervisor": "test_launch",
    "__main__": "test_launch",
    "settings": "test_cli",
    "errors": "test_cli",
    "log": "test_cli",
    # The rules of execve, and capabilities of files, which are a part of them.
    "execution": "test_credentials",
    "file_caps": "test_credentials",
    # What is written to id maps, as the kernel would take it.
    "id_maps": "test_namespaces",
    # Small calls into the kernel, each used by all that stands above it.
    "kernel": "test_tracee",
    # What the handlers work on.
    "world": "oracle/test_oracle",
}
"""Modules whose tests are in a file of another name."""

BY_ORACLE = "oracle/test_oracle"
"""A handler is right if its calls do what the kernel's do: the oracle programs make all of them."""
BY_BOX = "containers/test_box"
"""What makes a box shows in a box."""


def modules() -> list[str]:
    names = (path.relative_to(PACKAGE).with_suffix("").as_posix() for path in PACKAGE.rglob("*.py"))
    return sorted(name for name in names if (PACKAGE / f"{name}.py").read_text(encoding="utf-8").count("\n") > 4)


def candidates(module: str) -> list[str]:
    """Where the tests of a module may be."""
    folder, _, name = module.rpartition("/")
    own = f"{folder}/test_{name}" if folder else f"test_{name}"
    found = [own]
    if module in TESTED_BY:
        found.append(TESTED_BY[module])
    if folder == "handlers":
        found.append(BY_ORACLE)
    if folder == "containers":
        found.append(BY_BOX)
    if folder == "store":
        found.append("store/test_stores")
    return found


@pytest.mark.parametrize("module", modules())
def test_module_has_tests(module: str) -> None:
    places = candidates(module)
    assert any((TOP / "tests" / f"{place}.py").exists() for place in places), f"none of {places} is there"


@pytest.mark.parametrize("module", sorted(TESTED_BY))
def test_no_excuse_is_left_over(module: str) -> None:
    """What is on the list is there, and has no test file of its own name."""
    assert (PACKAGE / f"{module}.py").exists()
    assert not (TOP / "tests" / f"{candidates(module)[0]}.py").exists()


@pytest.mark.parametrize("module", modules())
def test_module_is_short_and_says_what_it_is_for(module: str) -> None:
    text = (PACKAGE / f"{module}.py").read_text(encoding="utf-8")
    assert text.startswith('# SPDX-License-Identifier: GPL-2.0-or-later\n"""')
    assert text.count("\n") <= LONGEST
