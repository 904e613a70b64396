"""The points of the SGLR benchmark: what is trained, in which order, and what came of it."""

from __future__ import annotations

import csv
import dataclasses
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from common import star

ALPHAS = (0.0, 0.5, 1.0, 1.5, 2.0)
PHIS = (0.25, 0.5, 0.75)
PHASES = ("initial-60", "initial-40", "final-60", "final-40", "always")
LEAKING_PHIS = (0.0, 0.25, 0.5, 0.75, 1.0)
ATTACKED = 6
"""Clients of table 5."""
METHODS = {"centralized": (0.0, 0.0), "fedavg": (0.0, 0.0), "sglr": (0.5, 0.75),
           "sfl": (0.0, 0.0), "psl": (0.0, 0.0)}  # fmt: skip
"""Table 4: scheme -> (alpha, phi). The paper does not say which SGLR it compares; these are the
values that it finds best."""

_LEAK = ("bce", "bce_blind", "bce_exact", "ssim", "decoder_nats", "mutual_nats")
_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much of the paper's experiment is made."""

    name: str
    data: str
    resnet: str
    """Model of tables 1, 2, 3 and 5, cut behind B4."""
    alexnet: str
    """Model of table 4, cut behind C1."""
    clients: tuple[int, ...]
    """Of tables 1 to 3."""
    samples: int
    """A client."""
    epochs: int
    test: int
    """Test samples that accuracy is measured on."""
    seeds: int = 3
    batch: int = 8
    lr: float = 1e-3
    decoder_epochs: int = 10

    @property
    def steps(self) -> int:
        """Of a client, in all."""
        return self.epochs * math.ceil(self.samples / self.batch)


@dataclass(frozen=True)
class Point:
    """One training run."""

    model: str
    cut: str
    scheme: str
    clients: int
    alpha: float
    phi: float
    phases: str
    seed: int
    leaks: bool = False
    """Whether it is attacked when it has ended."""

    def topology(self, size: Size) -> str:
        """The topology file."""
        own = ""
        if self.scheme in ("slr", "sglr"):
            own += f"  alpha: {self.alpha}\n"
        if self.scheme in ("sgl", "sglr"):
            own += f"  phi: {self.phi}\n  phases: {self.phases}\n"
        if self.scheme not in ("centralized", "fedavg"):
            own += f"  cut: {self.cut}\n"
        data = f"{{name: {size.data}, train: {size.samples * self.clients}, test: {size.test}}}"
        train = f"""\
  scheme: {self.scheme}
  model: {self.model}
  data: {data}
  rounds: {size.epochs}
  batch: {size.batch}
  lr: {size.lr}
  optimizer: adam
  evaluate: {size.epochs}
{own}"""
        text = star("sglr", 1 if self.scheme == "centralized" else self.clients, train)
        crowded = "faults: {heartbeat: 5 s, silence: 2 min, join: 2 min}\n"
        return text.replace("seed: 7", f"seed: {self.seed}") + crowded


def split(
    model: str, clients: int, alpha: float, phi: float, seed: int, phases: str = "always"
) -> Point:
    """A point of split learning; without SplitLr or SplitAvg it is slr, sgl or psl: the same model,
    exactly (tests/test_split_equalities.py). It is so, too, with one client, or one active one."""
    if clients == 1:
        alpha = 0.0
    if active(phi, clients) < 2:
        phi, phases = 0.0, "always"
    scheme = {(False, False): "psl", (True, False): "slr", (False, True): "sgl"}.get(
        (alpha > 0, phi > 0), "sglr"
    )
    return Point(model, "B4", scheme, clients, alpha, phi, phases, seed)


def active(phi: float, clients: int) -> int:
    """Active clients in a step: phi C, rounded down as in the paper's section 4.3."""
    return math.floor(phi * clients + 1e-9)


def leaking(size: Size, phi: float, seed: int) -> Point:
    """A point of table 5. With phi 0.25 one of its 6 clients is active, so nothing is averaged."""
    return dataclasses.replace(split(size.resnet, ATTACKED, 0.0, phi, seed), leaks=True)


def points(size: Size) -> list[Point]:
    """All points of tables 1 to 5, each once; one seed after the other."""
    found: dict[Point, None] = {}
    for seed in range(1, size.seeds + 1):
        for phi in LEAKING_PHIS:
            found[leaking(size, phi, seed)] = None
        for scheme, (alpha, phi) in METHODS.items():
            found[Point(size.alexnet, "C1", scheme, 5, alpha, phi, "always", seed)] = None
        for clients in size.clients:
            for alpha in ALPHAS:
                found[split(size.resnet, clients, alpha, 0.0, seed)] = None
            for alpha in ALPHAS[:3]:
                for phi in PHIS:
                    found[split(size.resnet, clients, alpha, phi, seed)] = None
            for phases in PHASES:
                found[split(size.resnet, clients, 1.0, 1.0, seed, phases)] = None
    return list(found)


Results = dict[Point, dict[str, float]]
"""Point -> accuracy, loss, wall_s, and what leaked; NaN where it diverged."""

_PARSERS: dict[str, Callable[[str], object]] = {
    "int": int,
    "float": float,
    "bool": lambda word: word == "True",
}


class Store:
    """Results in a CSV file, a line a point, so that an interrupted benchmark goes on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fields = [*(field.name for field in dataclasses.fields(Point)), "accuracy", "loss",
                        "wall_s", *_LEAK]  # fmt: skip
        self.results: Results = {}
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                self.results = dict(self._read(row) for row in csv.DictReader(file))

    def _read(self, row: dict[str, str]) -> tuple[Point, dict[str, float]]:
        values: dict[str, Any] = {}
        for field in dataclasses.fields(Point):
            text = row.pop(field.name)
            values[field.name] = _PARSERS.get(str(field.type), str)(text)
        return Point(**values), {name: float(text) for name, text in row.items() if text}

    def add(self, point: Point, result: dict[str, float]) -> None:
        """Append one."""
        fresh = not self._path.is_file()
        with self._path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._fields)
            if fresh:
                writer.writeheader()
            writer.writerow(dataclasses.asdict(point) | result)
        self.results[point] = result


def train(point: Point, size: Size, pictures: Path) -> dict[str, float]:
    """One run on in-memory links: a thread for each node, in this process. The model is that of
    the same run over gloo, bit for bit (tests/test_equalities.py)."""
    from edgenet.errors import EdgenetError
    from edgenet.node.plan import resolve
    from edgenet.node.threads import run_in_threads
    from edgenet.topology.load import loads

    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="edgenet-sglr-") as name:
        folder = Path(name)
        text = point.topology(size)
        (folder / "topology.yaml").write_text(text, encoding="utf-8")
        try:
            run_in_threads(resolve(loads(text, file="sglr.yaml")), folder)
        except EdgenetError as error:
            if "finite" not in str(error):
                raise
            return {"accuracy": math.nan, "loss": math.nan, "wall_s": time.monotonic() - start}
        result = {**_figures(folder), "wall_s": round(time.monotonic() - start, 2)}
        if point.leaks:
            result |= _attack(folder, point, size, pictures)
    return result


def _figures(folder: Path) -> dict[str, float]:
    """Accuracy and test loss of the last round."""
    import json

    for path in folder.glob("nodes/*/events.jsonl"):
        for line in reversed(path.read_text(encoding="utf-8").splitlines()):
            event = json.loads(line)
            if event["e"] == "round" and "accuracy" in event:
                return {"accuracy": event["accuracy"], "loss": event["test_loss"]}
    raise RuntimeError(f"{folder}: no accuracy in any journal")


def _attack(folder: Path, point: Point, size: Size, pictures: Path) -> dict[str, float]:
    from edgenet.node.leakage import Attack, attack

    found = attack(folder, Attack(epochs=size.decoder_epochs, seed=point.seed))
    if point.seed == 1:
        both = [x[:_SHOWN].mul(255).round().byte().numpy() for x in (found.images, found.guessed)]
        pictures.mkdir(exist_ok=True)
        np.save(pictures / f"phi-{point.phi:g}.npy", np.stack(both), allow_pickle=False)
    leak = found.leak.as_dict()
    return {name: float(leak[name]) for name in _LEAK}


def train_all(asked: Sequence[Point], size: Size, store: Store, pictures: Path) -> None:
    """Train what the store does not have yet, one process a core."""
    missing = [point for point in asked if point not in store.results]
    workers = len(os.sched_getaffinity(0))
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_single)
    with pool:
        jobs = {pool.submit(train, point, size, pictures): point for point in missing}
        for number, (point, result) in enumerate(_finished(jobs), start=1):
            store.add(point, result)
            print(f"{number}/{len(missing)} {point}: accuracy {result['accuracy']:.3f}, "
                  f"{result['wall_s']:.0f} s", file=sys.stderr, flush=True)  # fmt: skip


def _finished(jobs: dict[Any, Point]) -> Iterator[tuple[Point, dict[str, float]]]:
    for job in as_completed(jobs):
        yield jobs[job], job.result()


def _single() -> None:
    import torch

    torch.set_num_threads(1)


def spread(values: Iterable[float]) -> tuple[float, float, int]:
    """(mean, sample deviation, count) of those that are numbers; NaN where there are too few."""
    known = np.array([value for value in values if not math.isnan(value)])
    mean = float(known.mean()) if len(known) else math.nan
    return mean, float(known.std(ddof=1)) if len(known) > 1 else math.nan, len(known)
