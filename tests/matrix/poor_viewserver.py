"""The process that serves a view, on a computer that has next to no free memory."""

import sys

from imaging import overlay, viewserver

if __name__ == "__main__":
    overlay._MOST_WRITTEN = 1 << 20
    sys.exit(viewserver.main())
