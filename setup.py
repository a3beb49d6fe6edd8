# SPDX-License-Identifier: GPL-2.0-or-later
"""The compiled half, and what a start reads instead of modules and declarations; everything else is in pyproject.toml.

Without a compiler the package is installed without the compiled half.
"""

from __future__ import annotations

import subprocess
import sys
from glob import glob

from setuptools import Extension, setup
from setuptools.command.build_py import build_py


class BuildPrepared(build_py):
    """The modules, and what is made of them beforehand: not for a source tree, where they change."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            code = "import sys; sys.path.insert(0, sys.argv[1]); "
            code += "from remainroot import bundle; bundle.write(sys.argv[1] + '/remainroot'); "
            code += "from remainroot.engines import prepared; prepared.write(sys.argv[1] + '/remainroot/engines')"
            subprocess.run([sys.executable, "-I", "-X", "no_debug_ranges", "-c", code, self.build_lib], check=True)


setup(
    cmdclass={"build_py": BuildPrepared},
    ext_modules=[
        Extension(
            "remainroot._fast",
            sorted(glob("remainroot/fast/*.c")),
            depends=sorted(glob("remainroot/fast/*.h")),
            extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden"],
            optional=True,
        )
    ]
)
