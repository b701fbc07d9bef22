"""`python -m rescue` is the `rescue` command."""

import sys

from rescue.cli import main

if __name__ == "__main__":
    sys.exit(main())
