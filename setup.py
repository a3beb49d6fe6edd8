# SPDX-License-Identifier: GPL-2.0-or-later
"""The compiled half; everything else is in pyproject.toml. Without a compiler the package is installed without it."""

from __future__ import annotations

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "remainroot._fast",
            ["remainroot/_fast.c", "remainroot/_files.c"],
            depends=["remainroot/_files.h"],
            extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra"],
            optional=True,
        )
    ]
)
