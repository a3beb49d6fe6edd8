# SPDX-License-Identifier: GPL-2.0-or-later
"""python -m remainroot."""

from __future__ import annotations

import sys

from remainroot import bundle

if __name__ == "__main__":
    bundle.use()
    from remainroot.cli import main

    sys.exit(main())
