"""`python -m gradbench` is the `gradbench` command."""

import sys

from gradbench.cli import main

if __name__ == "__main__":
    sys.exit(main())
