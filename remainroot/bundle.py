# SPDX-License-Identifier: GPL-2.0-or-later
"""The modules of the package in two files, made when the package is built: those of a usual start, and the rest.

To find, read and check modules one by one takes as long as to run them. Only what is built for installation has such
files (`setup.py`), never a source tree, where modules change. Where there are none, or they are another interpreter's,
each module is read from its own file, as usual.

This module is read before they are, so it imports next to nothing; not even `__future__`.
"""

import os
import sys
from _frozen_importlib_external import MAGIC_NUMBER
from marshal import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType
else:
    # Without importlib's modules, which nothing else needs.
    Loader = object
    ModuleSpec = type(__spec__)

_START = "start.bin"
_REST = "rest.bin"
_STARTED = (
    "cli", "launch", "settings", "engines.kernel_only", "engines.notify", "store.durable", "store.memory",
)  # fmt: skip
"""What a usual start imports, and with it all that these do."""
_PACKAGE = __name__.partition(".")[0] + "."


class _Bundle(Loader):
    """A finder and loader of the modules in the files: what importlib.abc says of a MetaPathFinder and of a Loader."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._modules = _read(f"{directory}/{_START}")

    def find_spec(
        self, name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> ModuleSpec | None:
        """Where the module comes from; None if it is not ours."""
        del path, target
        if name not in self._modules:
            return None
        if not self._modules[name][1]:
            self._modules |= _read(f"{self._directory}/{_REST}")
        is_package, code = self._modules[name]
        if not code:
            return None
        place = f"{self._directory}/{name[len(_PACKAGE):].replace('.', '/')}"
        spec = ModuleSpec(name, self, origin=place + ("/__init__.py" if is_package else ".py"), is_package=is_package)
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(place)
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to the import system."""

    def exec_module(self, module: "ModuleType") -> None:
        """Run the module's code in its namespace."""
        assert module.__spec__ is not None
        module.__file__ = module.__spec__.origin
        exec(loads(self._modules.pop(module.__name__)[1]), module.__dict__)  # noqa: S102, S302  # as every import does


def _read(path: str) -> dict[str, tuple[bool, bytes]]:
    """Whether it is a package, and its code, by name; nothing for code that is in the other file."""
    try:
        with open(path, "rb") as file:
            magic, modules = loads(file.read())  # noqa: S302  # it is a part of this package as the modules are
    except (FileNotFoundError, EOFError, ValueError, TypeError):  # the last three of a file that is not whole
        return {}
    return modules if magic == MAGIC_NUMBER else {}


def use() -> None:
    """Have the modules of this package that are imported from now on come from the files, where there are any."""
    sys.meta_path.insert(0, _Bundle(os.path.dirname(__file__)))


def holds(spec: ModuleSpec | None) -> bool:
    """Whether the module of this spec comes from the files. If one of the rest does, the others were read with it."""
    return spec is not None and isinstance(spec.loader, _Bundle)


def write(directory: str) -> None:
    """Write the files for the package in `directory`, whose modules are those that are imported here."""
    for name in _STARTED:
        __import__(_PACKAGE + name)
    started = {name for name in sys.modules if name.startswith(_PACKAGE)}
    start: dict[str, tuple[bool, bytes]] = {}
    rest: dict[str, tuple[bool, bytes]] = {}
    for place, directories, names in os.walk(directory):
        directories.sort()
        for file in sorted(names):
            path = os.path.join(place, file)
            words = os.path.relpath(path, directory).removesuffix(".py").removesuffix("/__init__").split("/")
            name = _PACKAGE + ".".join(words)
            if file.endswith(".py") and words not in (["__init__"], ["bundle"]):
                rest[name] = start[name] = (file == "__init__.py", _code(path, directory))
    for name in rest.keys() & started:
        del rest[name]
    start |= {name: (is_package, b"") for name, (is_package, _) in rest.items()}
    for file, modules in ((_START, start), (_REST, rest)):
        with open(os.path.join(directory, file), "wb") as target:
            target.write(dumps((MAGIC_NUMBER, modules), 2))


def _code(path: str, directory: str) -> bytes:
    """The module's code, without docstrings, and without the future import, which says how annotations are taken."""
    import __future__

    import ast

    with open(path, "rb") as file:
        tree = ast.parse(file.read())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body[:1] = [] if len(node.body) > 1 else [ast.copy_location(ast.Pass(), node.body[0])]
    future = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    assert all(alias.name == "annotations" for node in future for alias in node.names)
    tree.body = [node for node in tree.body if node not in future]
    flags = __future__.annotations.compiler_flag if future else 0
    name = os.path.relpath(path, os.path.dirname(directory))
    return dumps(compile(tree, name, "exec", flags=flags, dont_inherit=True))
