"""A launcher like `edgenet run`, whose nodes follow the script in STANDIN_SCRIPT."""

from __future__ import annotations

import sys
from pathlib import Path

from edgenet.errors import EdgenetError
from edgenet.launchers.local import Local, Request
from edgenet.launchers.policy import Limits


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    topology, out = map(Path, sys.argv[1:])
    limits = Limits(notice_s=0.5, orphan_s=0.5, rest_s=0.5, term_s=1.0)
    try:
        outcome = Local(say, limits=limits, machinery="launch_standin").run(
            Request(path=topology, overrides=("seed=5",), out=out)
        )
    except EdgenetError as error:
        say(str(error))
        return error.exit_code
    if outcome.error:
        say(outcome.error)
    return outcome.exit_code


if __name__ == "__main__":
    sys.exit(main())
