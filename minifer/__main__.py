"""`python -m minifer` is `minifer`."""

import sys

from minifer.cli import main

sys.exit(main())
