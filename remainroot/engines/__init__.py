# SPDX-License-Identifier: GPL-2.0-or-later
"""The mechanisms that catch calls and deliver outcomes; `base` says what each owes."""
