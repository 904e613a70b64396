"""One run of chaos: started as a user would, hit when its journals say that a round is over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from chaos_plan import Case, Fault, topology
from common import owned
from torch import Tensor

from edgenet.errors import InputError
from edgenet.launchers.control import ask
from edgenet.results.events import Tail
from edgenet.results.rundir import RunDir
from edgenet.shaping.record import FOLDER

MARK = "EDGENET_CHAOS"
"""Environment variable by which even an orphan of an orphan is known."""
GRACE_S = 3.0
"""A process that was told to end may take this long; then it counts as left behind."""
STOP = threading.Event()
"""Set when nobody wants to see the end of what runs: it is ended."""
_LOOK_S = 0.01


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a run showed."""

    code: int | None
    """Of the command; None: it was still there at its bound, and was ended."""
    said: str
    """Its standard error."""
    summary: Mapping[str, Any]
    weights: Mapping[str, Tensor] | None
    placed: tuple[Fault, ...]
    """The faults that struck; the others came too late."""
    wall_s: float
    to_end_s: float
    """From the last fault to the end; 0 where none struck."""
    leftovers: tuple[str, ...]


def play(case: Case, bound_s: float) -> Seen:
    """Run it, strike, and wait for the end.

    Args:
        case: which.
        bound_s: a run that takes longer is ended.
    """
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        folder = Path(name)
        (folder / "tmp").mkdir()
        (folder / "chaos.yaml").write_text(topology(case.scheme, case.restart), encoding="utf-8")
        return _play(case, bound_s, folder)


def _play(case: Case, bound_s: float, folder: Path) -> Seen:
    mark = uuid.uuid4().hex
    began = time.monotonic()
    surroundings = {**os.environ, MARK: mark, "TMPDIR": str(folder / "tmp")}
    with owned(_command(case, folder), folder, surroundings) as process:
        hits = _Strikes(process, folder / "runs", began + bound_s)
        placed = tuple(fault for fault in case.faults if hits.strike(fault))
        hits.until(lambda: False)  # its end, or its bound
        code, ended = process.poll(), time.monotonic()
    return Seen(
        code=code,
        said=(folder / "stderr").read_text(encoding="utf-8"),
        summary=_json((folder / "stdout").read_text(encoding="utf-8")),
        weights=_weights(hits.run),
        placed=placed,
        wall_s=ended - began,
        to_end_s=ended - hits.struck if hits.struck else 0.0,
        leftovers=tuple(_leftovers(folder, hits, mark)),
    )


def _command(case: Case, folder: Path) -> list[str]:
    command = [str(Path(sys.executable).with_name("edgenet")), "run", str(folder / "chaos.yaml")]
    command += ["--out", str(folder / "runs"), "--format", "json"]
    return [*command, "--shaping", case.shaping, "--no-probe"]


class _Strikes:
    """Follows a run and does to it what is due."""

    def __init__(self, process: subprocess.Popen[str], out: Path, end: float) -> None:
        self._process, self._out, self._end = process, out, end
        self._tail: Tail | None = None
        self.run: RunDir | None = None
        self._round = 0
        self.kernel: list[Path] = []
        self.struck = 0.0

    def strike(self, fault: Fault) -> bool:
        """Wait for its round, do it, and take it back when its time is over.

        Returns:
            Whether it struck: the run, or the node, may have ended before.
        """
        self._round = 0
        if not self.until(lambda: self._round >= fault.after):
            return False
        do, undo = _orders(fault)
        self._look_at_kernel()
        if not self._order(do):
            return False
        self.struck = time.monotonic()
        if undo is not None:
            back = self.struck + fault.length_s
            self.until(lambda: time.monotonic() >= back)
            self._order(undo)
        return True

    def until(self, true: Callable[[], bool]) -> bool:
        """Wait until something is true; False: the run was over before, or its bound has come."""
        while not true():
            if self._process.poll() is not None or time.monotonic() >= self._end or STOP.is_set():
                return False
            self._look()
            time.sleep(_LOOK_S)
        return True

    def _look(self) -> None:
        if self.run is None:
            found = [path.parent for path in self._out.glob("*/run.json")]
            if not found:
                return
            self.run = RunDir(found[0])
            self._tail = Tail(self.run)
        assert self._tail is not None
        for event in self._tail.new():
            if event.name == "round":
                self._round = event.round

    def _order(self, order: Mapping[str, Any]) -> bool:
        assert self.run is not None
        try:
            ask(self.run, order)
        except InputError:
            return False
        return True

    def _look_at_kernel(self) -> None:
        """What the run has made in the kernel, by its own record."""
        for path in FOLDER.glob("*.jsonl") if FOLDER.is_dir() else ():
            try:
                lines = [json.loads(line) for line in path.read_text().splitlines()]
            except (OSError, ValueError):
                continue  # another run's, being written or just gone
            if any(line.get("owner", {}).get("pid") == self._process.pid for line in lines):
                spaces = [name for line in lines for name in line.get("namespaces", ())]
                groups = [name for line in lines for name in line.get("groups", ())]
                self.kernel = [path, *(Path("/run/netns", name) for name in spaces)]
                self.kernel += map(Path, groups)


def _orders(fault: Fault) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """What the launcher is asked to do, and to take back."""
    link = {"nodes": [fault.node]}
    if fault.kind == "kill":
        return {"kill": fault.node}, None
    if fault.kind == "freeze":
        return {"pause": fault.node}, None
    if fault.kind in ("wake", "pause"):
        return {"pause": fault.node}, {"continue": fault.node}
    if fault.kind == "burst":
        return {"degrade": "lan", "delay": "150 ms", "factor": 0.1, **link}, {
            "restore": "lan", **link,
        }  # fmt: skip
    return {"cut": "lan", **link}, {"restore": "lan", **link}


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _weights(run: RunDir | None) -> dict[str, Tensor] | None:
    if run is None or not run.model.exists():
        return None
    state: dict[str, Tensor] = torch.load(run.model, weights_only=True)
    return state


def _leftovers(folder: Path, hits: _Strikes, mark: str) -> Iterator[str]:
    """Processes (which are then ended), files, and what was made in the kernel."""
    _, alive = psutil.wait_procs(_marked(mark), timeout=GRACE_S)
    for process in alive:
        yield f"process {process.pid}"
        process.kill()
    for path in (folder / "tmp").iterdir():
        if not path.name.startswith("torchinductor_"):  # a cache per user
            yield f"file {path.name}"
    for path in hits.kernel:
        if path.exists():
            yield str(path)
    if hits.run is not None and hits.run.control.exists():
        yield "the run's control socket"


def _marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found
