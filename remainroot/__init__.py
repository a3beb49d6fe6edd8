# SPDX-License-Identifier: GPL-2.0-or-later
"""remainroot: a consistent fake root where only one uid and one gid are mapped."""

__version__ = "0.1.0"
