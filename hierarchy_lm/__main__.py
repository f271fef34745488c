"""``python -m hierarchy_lm`` is `hlm`."""

import sys

from hierarchy_lm.cli import main

sys.exit(main())
