"""A function of the user's own that is given each round: the way to MLflow and the like.

    # tracker.py
    def on_round(row):      # {"round": 3, "t_s": 4.1, "accuracy": 0.97, "loss": ..., ...}
        mlflow.log_metrics({"accuracy": row["accuracy"]}, step=row["round"])

    def on_end(summary):    # may be left out; summary.json's object
        mlflow.end_run()

It runs in the launcher, never in a node. A function that fails is told of once and not called
again: a run is not lost because a tracker is not there.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from edgenet.errors import InputError
from edgenet.results.events import Tail
from edgenet.results.rundir import SCHEMA_VERSION, RunDir
from edgenet.results.watch import RoundWatch, Watch

ON_ROUND, ON_END = "on_round", "on_end"


@dataclass(frozen=True)
class Hook:
    """What was found in the user's module."""

    name: str
    """As it was given."""
    on_round: Callable[[dict[str, Any]], object]
    """Called with each round's row."""
    on_end: Callable[[Mapping[str, Any]], object] | None
    """Called with summary.json's object; None where there is none."""


def add_hook(parser: argparse.ArgumentParser) -> None:
    """`--hook`."""
    parser.add_argument(
        "--hook",
        metavar="FILE.py[:FUNCTION]",
        help="give every round to a function of your own, on_round(row), and the summary to "
        "on_end(summary) if there is one; also MODULE:FUNCTION (docs/schema.md)",
    )


def load_hook(given: str) -> Hook:
    """The function that `given` names.

    Args:
        given: 'file.py', 'file.py:function', 'module' or 'module:function'; `on_round` if none is.

    Raises:
        InputError: there is no such file, module or function, or its code fails.
    """
    place, _, function = given.partition(":")
    try:
        module = _file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except InputError:
        raise
    except Exception as error:  # whatever the user's code does
        line = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{line.filename}:{line.lineno}"
        raise InputError(f"--hook {given}: {type(error).__name__}: {error} ({where})") from None
    on_round = getattr(module, function or ON_ROUND, None)
    if not callable(on_round):
        raise InputError(
            f"--hook {given}: there is no function '{function or ON_ROUND}' in {place}; define "
            f"`def {function or ON_ROUND}(row): ...`"
        )
    on_end = getattr(module, ON_END, None)
    return Hook(given, on_round, on_end if callable(on_end) else None)


def _file(path: Path) -> ModuleType:
    if not path.is_file():
        raise InputError(f"--hook {path}: no such file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Hooked:
    """A view of a run that gives its rounds to a hook, as they come.

    Args:
        run: its folder.
        hook: takes the rows.
        say: takes a line for the user, if the hook fails.
    """

    def __init__(self, run: RunDir, hook: Hook, say: Callable[[str], None]) -> None:
        self._run, self._hook, self._say = run, hook, say
        self._tail, self._watch = Tail(run), Watch()
        self._head: dict[str, Any] = {}
        self._given, self._broken = 0, False

    def update(self, *, last: bool = False) -> None:
        """Give what is new. A round waits for its bytes, unless nothing more will come."""
        if self._broken:
            return
        if not self._head:
            self._head = _head(self._run)
        for event in self._tail.new():
            self._watch.add(event)
        for each in self._watch.rounds[self._given :]:
            if not (last or self._watch.bytes_known(each)):
                return
            self._given += 1
            self._call(self._hook.on_round, self._row(each))
            self._watch.forget_bytes(each.number)

    def end(self, summary: Mapping[str, Any]) -> None:
        """Give what is left, and the summary."""
        self.update(last=True)
        if self._hook.on_end is not None:
            self._call(self._hook.on_end, summary)

    def _row(self, each: RoundWatch) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            **self._head,
            "round": each.number,
            "t_s": self._watch.since(each.t),
            "wall_s": each.wall_s,
            "accuracy": each.accuracy,
            "loss": each.loss,
            "active": len(each.active),
            "sent_bytes": self._watch.round_bytes(each.number),
            "faults": sum(fault.round == each.number for fault in self._watch.faults),
        }

    def _call(self, function: Callable[[Any], object], value: Any) -> None:
        if self._broken:
            return
        try:
            with contextlib.redirect_stdout(sys.stderr):  # stdout is the command's answer
                function(value)
        except Exception as error:  # whatever the user's code does
            self._broken = True
            self._say(
                f"--hook {self._hook.name}: {type(error).__name__}: {error}; it is not called again"
            )


def _head(run: RunDir) -> dict[str, Any]:
    about = run.run()
    keys = ("topology", "scheme", "seed")
    return {"run": run.path.resolve().name, **{key: about.get(key) for key in keys}}
