"""`python -m liballoc`."""

import sys

from liballoc.cli import main

if __name__ == "__main__":
    sys.exit(main())
