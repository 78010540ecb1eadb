"""python -m joyhallo: pictures speak and films are redubbed from the command line, one at a time or many."""

import sys

from .commands import main
from .streams import escape_what_is_lacking

if __name__ == "__main__":
    escape_what_is_lacking()
    sys.exit(main())
