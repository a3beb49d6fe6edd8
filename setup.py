# SPDX-License-Identifier: GPL-2.0-or-later
"""The compiled half; everything else is in pyproject.toml. Without a compiler the package is installed without it."""

from __future__ import annotations

from glob import glob

from setuptools import Extension, setup

setup(
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
