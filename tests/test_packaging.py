# SPDX-License-Identifier: GPL-2.0-or-later
"""What pyproject.toml promises is in the tree."""

from __future__ import annotations

import importlib
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
    module, function = PROJECT["project"]["scripts"]["remainroot"].split(":")
    assert callable(getattr(importlib.import_module(module), function))
