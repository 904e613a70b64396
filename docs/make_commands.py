"""Write docs/commands.md from the parsers of the commands: `python docs/make_commands.py`.

tests/test_scaffold.py fails where the file and the parsers differ. The text is made from the
parsers' values and not from their help pages, whose layout changes with the version of Python.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from edgenet import worker
from edgenet.cli.main import parser

TARGET = Path(__file__).with_name("commands.md")

HEAD = """\
# Commands

Every command and every option. This page is written by `python docs/make_commands.py` from the
parsers themselves; a test holds the two equal. `edgenet COMMAND --help` prints the same. An option
that is repeatable may be given several times.
"""


def text() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_command(parser(), "edgenet"), *_command(worker.parser(), WORKER)])


WORKER = "python -m edgenet.worker"
"""How the other program is called."""


def _command(of: argparse.ArgumentParser, name: str, title: str = "") -> Iterator[str]:
    """A section for a command, and one for each of its own commands."""
    yield f"## {name}\n"
    if title:
        yield f"{title[0].upper()}{title[1:]}.\n"
    if of.description:
        yield f"```text\n{of.description.strip()}\n```\n"
    nested = [action for action in of._actions if isinstance(action, argparse._SubParsersAction)]
    rows = [_row(action) for action in of._actions if action.help and action not in nested]
    rows = [row for row in rows if not row.startswith("| `-h")]
    if rows:
        yield "\n".join(["| argument | meaning |", "| --- | --- |", *rows, ""])
    for action in nested:
        helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
        for each, inner in action.choices.items():
            yield from _command(inner, f"{name} {each}", helps.get(each, ""))
    if of.epilog and not title:
        yield f"```text\n{of.epilog.strip()}\n```\n"


def _row(action: argparse.Action) -> str:
    names = ", ".join(action.option_strings)
    value = action.metavar if isinstance(action.metavar, str) else ""
    if action.choices is not None:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    elif not value and action.nargs != 0:
        value = action.dest.upper()
    optional = f"[{value}]" if action.nargs == "?" else value
    called = " ".join(word for word in (names, optional) if word)
    told = (action.help or "").replace("%(default)s", str(action.default)).replace("%%", "%")
    required = " (required)" if action.required and action.option_strings else ""
    told = told.replace("<", "&lt;").replace("|", "\\|")
    return f"| `{called}` | {told}{required} |"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
    print(f"written: {TARGET}")
