"""What a run leaves behind, and where: `runs/<name>-<time>/`.

`run.json` is written by the launcher when a run starts, and again when it ends. Results read these
of its keys, all of which may be missing:

| key | holds |
| --- | --- |
| `topology`, `scheme`, `seed` | names, and the seed |
| `rounds` | how many were asked for |
| `parameters` | of the whole model |
| `shaping` | {used, why}: the back end |
| `nodes` | {name: {role, device, radio, later}}, also of nodes that never got to write an event |
| `carbon_kg_per_kwh` | carbon intensity of the electricity |
| `links` | [{name, profile, kind, ends, base, shared, ways: [{source, target, rate_bps, \
delay_s}]}]; null for a rate without limit |
| `command`, `versions`, `host`, `git`, `launcher`, `started` | how to repeat it |
| `error`, `notes` | why it failed; sentences about what was asked |
| `probe` | {rows, refused, tolerance, seconds}: asked against measured, before the run |
| `interfaces` | {node: {link: what the kernel counted}}, in namespaces |
| `ways` | {'a->b': [[node, link], ...]}: the interfaces by which a flow leaves |
| `exit_code` | of the command; only once it has ended |
"""

from __future__ import annotations

import json
import math
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from edgenet.errors import InputError
from edgenet.meters.journal import SCHEMA_VERSION as SCHEMA_VERSION


class RunDir:
    """Names of the files of one run."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.nodes = self.path / "nodes"
        self.run_json = self.path / "run.json"
        self.topology = self.path / "topology.yaml"
        self.events_file = self.path / "events.jsonl"
        self.control = self.path / "control"
        self.summary = self.path / "summary.json"
        self.rounds = self.path / "rounds.csv"
        self.trace = self.path / "trace.json"
        self.report = self.path / "report.html"
        self.model = self.path / "model.pt"
        self.tensorboard = self.path / "tensorboard"

    def node(self, name: str) -> Path:
        """The folder of one node."""
        return self.nodes / name

    def events(self, name: str) -> Path:
        """A node's journal."""
        return self.nodes / name / "events.jsonl"

    def log(self, name: str) -> Path:
        """What a node printed."""
        return self.nodes / name / "log.txt"

    def run(self) -> dict[str, Any]:
        """run.json; empty where it is missing or not yet whole."""
        try:
            value = json.loads(self.run_json.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}


def new_run_dir(base: Path | str, name: str, *, now: float | None = None) -> RunDir:
    """Make `base/<name>-<YYYYmmdd-HHMMSS>`, with `-2`, `-3`, ... behind it if that is taken.

    Making the folder is what claims the name, so two runs that start together never share one.

    Raises:
        InputError: the folder cannot be made there.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    stem = f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name).strip('-.') or 'run'}-{stamp}"
    try:
        Path(base).mkdir(parents=True, exist_ok=True)
        path = _claim(Path(base), stem)
        (path / "nodes").mkdir()
    except OSError as error:
        raise InputError(
            f"{base}: cannot make a run directory there ({error.strerror}); "
            "choose another place with --out"
        ) from None
    return RunDir(path)


def _claim(base: Path, stem: str) -> Path:
    number = 1
    while True:
        path = base / (stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
        else:
            return path


def runs(base: Path | str) -> list[RunDir]:
    """All runs in `base`, oldest first."""
    base = Path(base)
    found = [path.parent for path in base.glob("*/run.json")] if base.is_dir() else []
    return [RunDir(path) for path in sorted(found, key=_age)]


def latest_run(base: Path | str) -> RunDir:
    """The newest run in `base`.

    Raises:
        InputError: there is none.
    """
    found = runs(base)
    if not found:
        raise InputError(f"{base}: no runs there; start one with `edgenet run topology.yaml`")
    return found[-1]


def _age(path: Path) -> tuple[str, int, str]:
    """Order by the time in the name, then by the number behind it; foreign names come first."""
    match = re.search(r"-(\d{8}-\d{6})(?:-(\d+))?$", path.name)
    return (match[1], int(match[2] or 1), path.name) if match else ("", 0, path.name)


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """A text file that takes the place of `path` when the block ends without an error: whoever
    reads it meanwhile sees the old one or the new one, whole."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            yield file
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    with replacing(path) as file:
        json.dump(finite(value), file, indent=2, allow_nan=False)
        file.write("\n")


def finite(value: Any) -> Any:
    """`value` with null in place of every NaN and infinity, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
