"""The cells of the mcPipe paper's figures 2 to 4: what is trained, what is timed, and its files.

Accuracy over minutes is put together from two measurements. A *training* cell is a whole training
on in-memory links, which gives the same model as processes and sockets do, as tests hold: the
accuracy after each epoch. A *timing* cell is a real run of a few mini-batches between processes,
over paced links, on emulated boards: the seconds to the first update, and from one to the next.
Schemes that compute the same numbers share a training. That three of them do is seen in float64,
with the first seed: in float32 a rounding is enough for two trainings to part (mcpipe_rounding.py).

Each cell is a file; what is there is not run again.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from common import Finished, run_edgenet

from edgenet.node.plan import resolve
from edgenet.topology import loads

SCHEMES = ("local", "data-parallel", "model-parallel", "gpipe", "1f1b", "pipedream",
           "pipedream-2bw", "greedy", "mcpipe", "mcpipe-adaptive")  # fmt: skip
LINKS = {"WiFi": "rate: 54 Mbit, delay: 5 ms", "Ethernet": "ethernet: 100 Mbit"}
EXACT = ("pipedream", "mcpipe", "mcpipe-adaptive")
"""Schemes with the same mathematics."""
WINDOW = 4
_ALL_REDUCE_STEPS = 3
"""Of data-parallel: each moves the whole model twice, and takes one or two seconds."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One of the paper's figures."""

    number: int
    workers: int
    data: str


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much of the experiment is made."""

    name: str
    settings: tuple[Setting, ...]
    model: str
    device: str
    samples: int
    """Trained on, an epoch."""
    test: int
    epochs: int
    seeds: tuple[int, ...]
    batch: int
    lr: float
    timed: int
    """Mini-batches of a timing cell."""
    schemes: tuple[str, ...] = SCHEMES


def topology(
    size: Size, setting: Setting, scheme: str, link: str, *, seed: int = 1, timed: int = 0
) -> str:
    """Workers on a switch or in a cell; with `timed`, one round of so many samples, not tested."""
    own = f"\n  window: {WINDOW}" if scheme not in ("local", "data-parallel") else ""
    return f"""\
name: mcpipe
nodes:
  worker: {{device: {size.device}, count: {setting.workers}}}
links:
  net: {{{LINKS[link]}, members: worker}}
faults: {{heartbeat: 5 s, silence: 2 min, join: 2 min}}
shaping: paced
seed: {seed}
train:
  scheme: {scheme}
  model: {size.model}
  data: {{name: {setting.data}, train: {timed or size.samples}, test: {size.test}}}
  rounds: {1 if timed else size.epochs}
  evaluate: {0 if timed else 1}
  batch: {size.batch}
  lr: {size.lr}{own}
"""


def trained(size: Size, scheme: str, seed: int) -> str:
    """The scheme that is trained for a curve of `scheme`: another that computes the same numbers.
    What `mcpipe` and its like compute is pipedream's; the first seed trains `mcpipe`, too, to see
    what becomes of its rounding."""
    others = {"model-parallel": "local", "gpipe": "1f1b", "mcpipe-adaptive": "pipedream"}
    if seed != size.seeds[0]:
        others["mcpipe"] = "pipedream"
    return others.get(scheme, scheme)


def training(size: Size, setting: Setting, scheme: str, link: str, seed: int) -> tuple[str, str]:
    """(name of the cell, its topology): the same name for whatever computes the same numbers."""
    scheme = trained(size, scheme, seed)
    text = topology(size, setting, scheme, link, seed=seed)
    place = f"-{setting.workers}" if scheme == "data-parallel" else ""
    if scheme in ("pipedream", "greedy", "mcpipe", "mcpipe-adaptive"):
        place = versions(topology(size, setting, "pipedream", link))
    return f"{setting.data}-{scheme}{place}-seed{seed}", text


def doubled(size: Size, setting: Setting, scheme: str, link: str) -> tuple[str, str]:
    """The same of a training in float64: the first seed, half of the epochs."""
    half = replace(size, epochs=-(-size.epochs // 2))
    text = topology(half, setting, scheme, link, seed=size.seeds[0])
    place = versions(topology(size, setting, "pipedream", link))
    return f"{setting.data}-{scheme}{place}-float64", text


def wanted(size: Size) -> dict[str, tuple[str, bool]]:
    """Every training cell -> (its topology, whether in float64)."""
    found = {}
    for setting in size.settings:
        for link in LINKS:
            for scheme in EXACT:
                name, text = doubled(size, setting, scheme, link)
                found[name] = text, True
            for scheme, seed in itertools.product(size.schemes, size.seeds):
                name, text = training(size, setting, scheme, link, seed)
                found[name] = text, False
    return found


@functools.cache
def versions(text: str) -> str:
    """What decides which weights a mini-batch meets: where the stages start, and their windows."""
    layout = resolve(loads(text, file="mcpipe.yaml")).layout
    stages = zip(layout.starts, layout.table.windows, strict=True)
    return "".join(f"-{start}w{window}" for start, window in stages)


class Cells:
    """JSON files in a folder, named by what they hold and by the size of the experiment."""

    def __init__(self, folder: Path, size: Size) -> None:
        plain = asdict(replace(size, name="", settings=(), schemes=(), seeds=()))
        digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:8]
        self._folder = folder / digest
        self._folder.mkdir(parents=True, exist_ok=True)

    def get(self, name: str) -> dict[str, Any] | None:
        """What is kept under the name."""
        path = self._folder / f"{name}.json"
        found: dict[str, Any] | None = None
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
        return found

    def keep(self, name: str, found: dict[str, Any]) -> None:
        """Write it at once and whole."""
        half = self._folder / f"{name}.half"
        half.write_text(json.dumps(found), encoding="utf-8")
        half.replace(half.with_suffix(".json"))


def train_all(size: Size, cells: Cells) -> None:
    """Make the training cells that are missing, one process a core."""
    missing = {name: how for name, how in wanted(size).items() if cells.get(name) is None}
    if not missing:
        return
    cores = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        longest_first = sorted(missing, key=lambda name: not missing[name][1])
        jobs = {pool.submit(train, *missing[name]): name for name in longest_first}
        for number, job in enumerate(as_completed(jobs), start=1):
            cells.keep(jobs[job], {"accuracy": job.result()})
            _tell(f"trained {number}/{len(missing)} {jobs[job]}")


def train(text: str, double: bool = False) -> list[float]:
    """Accuracy after each epoch; none when the loss is no longer finite."""
    import torch

    from edgenet.errors import EdgenetError
    from edgenet.node.threads import run_in_threads

    torch.set_num_threads(1)
    plan = resolve(loads(text, file="mcpipe.yaml"))  # the same stages in both
    torch.set_default_dtype(torch.float64 if double else torch.float32)
    with tempfile.TemporaryDirectory(prefix="edgenet-mcpipe-") as name:
        folder = Path(name)
        try:
            run_in_threads(plan, folder)
        except EdgenetError as error:
            if "finite" not in str(error):
                raise
        lines = (folder / "nodes" / "worker0" / "events.jsonl").read_text(encoding="utf-8")
        events = [json.loads(line) for line in lines.splitlines()]
        return [event["accuracy"] for event in events if event["e"] == "round"]


def time_all(size: Size, cells: Cells) -> None:
    """Make the timing cells that are missing, one after the other."""
    for setting in size.settings:
        for link in LINKS:
            for scheme in size.schemes:
                if cells.get(timing(setting, scheme, link)) is None:
                    cells.keep(timing(setting, scheme, link), clock(size, setting, scheme, link))
                    _tell(f"timed {timing(setting, scheme, link)}")


def timing(setting: Setting, scheme: str, link: str) -> str:
    """Name of a timing cell. What the images show takes no time: figures 3 and 4 share them. And
    `local` is one worker without a link, whatever there is besides."""
    if scheme == "local":
        return "time-local"
    return f"time-{setting.workers}-{link}-{scheme}"


def clock(size: Size, setting: Setting, scheme: str, link: str) -> dict[str, float]:
    """Seconds to the first update of the first worker, and between two; samples in each."""
    joint = setting.workers if scheme == "data-parallel" else 1
    steps = _ALL_REDUCE_STEPS if scheme == "data-parallel" else size.timed
    text = topology(size, setting, scheme, link, timed=steps * size.batch * joint)
    first_s, step_s = cadence(run_edgenet(text))
    return {"first_s": first_s, "step_s": step_s, "samples": size.batch * joint}


def cadence(run: Finished) -> tuple[float, float]:
    """(seconds from the first worker's first forward to its first update, mean seconds between
    two updates)."""
    spans = [e for e in run.events["worker0"] if e["e"] == "span" and e["k"] == "compute"]
    start = min(span["t"] for span in spans)
    ends = [span["t"] + span["d"] - start for span in spans if span["n"] == "step"]
    return ends[0], (ends[-1] - ends[0]) / (len(ends) - 1)


@dataclass(frozen=True)
class Curve:
    """One scheme in one figure, over one kind of link."""

    epoch_s: float
    accuracies: tuple[tuple[float, ...], ...]
    """Of each seed, after each epoch; () where it diverged."""

    def at(self, seconds: float, seed: int) -> float:
        """Accuracy of the `seed`-th seed at a moment, on a straight line between two epochs."""
        known = (0.1, *self.accuracies[seed])
        done = min(seconds / self.epoch_s, len(known) - 1)
        before = int(done)
        after = min(before + 1, len(known) - 1)
        return known[before] + (done - before) * (known[after] - known[before])

    @property
    def mean(self) -> list[float]:
        """Over the seeds, after each epoch."""
        return [statistics.mean(each) for each in zip(*self.accuracies, strict=False)]

    @property
    def end_s(self) -> float:
        """When the last epoch ends."""
        return self.epoch_s * max(map(len, self.accuracies), default=0)


def curves(size: Size, cells: Cells, setting: Setting, link: str) -> dict[str, Curve]:
    """Every scheme's, from cells that are there."""
    found = {}
    for scheme in size.schemes:
        took = cells.get(timing(setting, scheme, link)) or {}
        steps = -(-size.samples // int(took["samples"]))
        runs = [cells.get(training(size, setting, scheme, link, seed)[0]) or {}
                for seed in size.seeds]  # fmt: skip
        epoch_s = took["first_s"] + (steps - 1) * took["step_s"]
        found[scheme] = Curve(epoch_s, tuple(tuple(run["accuracy"]) for run in runs))
    return found


def exact(size: Size, cells: Cells, setting: Setting, link: str) -> dict[str, list[float]]:
    """Accuracies of the exact schemes after each epoch, in float64."""
    names = {scheme: doubled(size, setting, scheme, link)[0] for scheme in EXACT}
    return {scheme: (cells.get(name) or {})["accuracy"] for scheme, name in names.items()}


def throughput(cells: Cells, setting: Setting, schemes: Sequence[str], link: str) -> list[float]:
    """Samples per second between updates."""
    took = [cells.get(timing(setting, scheme, link)) or {} for scheme in schemes]
    return [each["samples"] / each["step_s"] for each in took]


def _tell(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
