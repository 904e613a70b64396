"""Find out what this machine can do for edgenet, by trying, and say what would help.

Among other things it runs two real nodes that train a round over a socket. Lines that must hold
end with exit code 3 where they do not; a note (no root, no Docker, no power sensor, an extra that
is not installed) leaves a part of edgenet out, and ends with 0.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from edgenet.cli.arguments import add_format
from edgenet.cli.checkup import FAILS, NOTE, findings
from edgenet.cli.tables import console
from edgenet.errors import DONE, NODE_FAILED

HELP = "check what this machine can do, and what would help"
_STYLES = {"ok": "green", NOTE: "yellow", FAILS: "bold red"}
_WIDTHS = 5, 18


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    add_format(parser, "a list of what was found")


def execute(options: argparse.Namespace) -> int:
    """Look, and tell each finding as soon as it is known."""
    out, found = console(), []
    for each in findings():
        found.append(each)
        if options.format == "text":
            state, name = (f"{word:<{width}}" for word, width in zip(
                (each.state, each.name), _WIDTHS, strict=True))  # fmt: skip
            out.print(f"[{_STYLES[each.state]}]{state}[/] ", end="", soft_wrap=True)
            out.print(f"{name} {each.says}", markup=False, soft_wrap=True)
            if each.remedy:
                remedy = f"{'':{sum(_WIDTHS) + 2}}{each.remedy}"
                out.print(remedy, style="dim", markup=False, soft_wrap=True)
    failed = [each.name for each in found if each.state == FAILS]
    if options.format == "json":
        print(json.dumps([asdict(each) for each in found], indent=2))
    elif failed:
        out.print(f"\nedgenet cannot run here: {', '.join(failed)}.", markup=False)
    else:
        out.print("\nedgenet can run here.", markup=False)
    return NODE_FAILED if failed else DONE
