"""`python -m edgenet` is the command `edgenet`."""

import sys

from edgenet.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
