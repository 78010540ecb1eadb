"""python -m joyhallo: pictures speak and films are redubbed from the command line, one at a time or many."""

import sys

from .commands import main

if __name__ == "__main__":
    sys.exit(main())
