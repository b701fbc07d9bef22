"""The process that serves a view, on a computer that has next to no free memory: POOR_VIEW bytes, or 1 MiB."""

import os
import sys

from imaging import overlay, viewserver

if __name__ == "__main__":
    overlay._MOST_WRITTEN = int(os.environ.get("POOR_VIEW", 1 << 20))
    sys.exit(viewserver.main())
