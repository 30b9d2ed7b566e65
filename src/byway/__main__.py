"""`python -m byway` is `byway`."""

import sys

from byway.cli import main

sys.exit(main())
