# SPDX-License-Identifier: GPL-2.0-or-later
"""Containers: make one, enter one, serve one."""
