# SPDX-License-Identifier: GPL-2.0-or-later
"""What pyproject.toml promises is in the tree."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import tomllib
from pathlib import Path

TOP = Path(__file__).parent.parent
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_package_is_shipped() -> None:
    """An installed remainroot has each directory of modules; an editable install would hide a lack."""
    here = {path.parent for path in (TOP / "remainroot").rglob("*.py")}
    names = {".".join(path.relative_to(TOP).parts) for path in here}
    assert names == set(PROJECT["tool"]["setuptools"]["packages"])
    assert all((path / "__init__.py").exists() for path in here)


def test_type_information_is_shipped() -> None:
    assert (TOP / "remainroot/py.typed").exists()
    assert "py.typed" in PROJECT["tool"]["setuptools"]["package-data"]["remainroot"]


def test_command_exists() -> None:
    (name,) = PROJECT["tool"]["setuptools"]["script-files"]
    text = (TOP / name).read_text(encoding="utf-8")
    assert Path(name).name == PROJECT["project"]["name"]
    assert os.access(TOP / name, os.X_OK)
    (module, function), = re.findall(r"^ +from (\S+) import (\S+)$", text, re.MULTILINE)
    assert callable(getattr(importlib.import_module(module), function))


def test_compiled_half_is_built_where_it_can_be() -> None:
    """It may be missing from an installed remainroot; not here, where there is a compiler."""
    assert shutil.which("gcc")
    assert importlib.import_module("remainroot._fast").Loop
