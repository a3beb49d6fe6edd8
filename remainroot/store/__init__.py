# SPDX-License-Identifier: GPL-2.0-or-later
"""Where fake ownership is kept: one interface (`base`), several backends."""
