"""FPL, section IV, again: five cameras with a view each, on EMNIST letters (digits without data).

Every case is `edgenet run topologies/five-cameras-lte.yaml` with another scheme, on unshaped links
at the host's speed: what is measured are losses, accuracies, parameters, the bytes on the links and
the CPU seconds of all nodes (as in the paper, whose nodes shared one server). Network time is those
bytes over the cell's rates (Eq. 3, all resource blocks to whoever sends). Energy is CPU
seconds times 13 W, a core's part of the 130 W of the paper's Xeon E5-2690 v2, after Lacoste et al.
The test set serves as validation set; a case has converged at its minimum. Seconds of evaluation
are taken off by the clock, so CPU seconds (and energy) are true on a quiet machine only.

Every case is tried with the same learning rates (Adam), with a seed that no result has and half as
many epochs; the one of least validation loss then trains with the seeds of the results. --quick
trains the paper's network at a quarter of its width: at its full
width it takes 16 times as long. It leaves out 0.0003, with which every case learned less, and
0.01, with which SL, transferred images and gFL: F1/F2 learned nothing.

Pictures and tables go to results/fpl/<size>/. Runs that are in its runs.jsonl are not made again.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fpl_report
from common import Figures, Finished, arguments, run_edgenet, say
from fpl_claims import claims
from fpl_report import Crossing

from edgenet.channels import between
from edgenet.node.plan import resolve
from edgenet.topology import load

FILE = Path(__file__).parent.parent / "topologies" / "five-cameras-lte.yaml"
OUT = Path(__file__).parent / "results" / "fpl"
SEEDS = (1, 2, 3)
TUNING_SEED = 0
"""Learning rates are chosen with it; no result has it, or it would be one that was chosen for."""

CASES: Mapping[str, tuple[str, ...]] = {
    "SL": ("train.scheme=sl-vertical", "train.cut=C2"),
    "Transfer images": ("train.scheme=transfer-images",),
    "gFL: F1/F2": ("train.scheme=gfl", "train.averaged=F1/F2"),
    "gFL: C2/F1/F2": ("train.scheme=gfl", "train.averaged=C2/F1/F2"),
    "FPL: J->F2": ("train.scheme=fpl", "train.junction=F2"),
    "FPL: J->F1": ("train.scheme=fpl", "train.junction=F1"),
}
"""The paper's names -> what is set in the topology."""

BROKEN = (
    "train.scheme=fpl",
    "train.junction=F2",
    "train.data.views=[blur, erase, noise, vflip, crop]",
)
"""One of the cameras is broken: what does the junction learn about it?"""
NOISE: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "without weight decay": ("FPL with noise, no decay", BROKEN),
    "with weight decay 0.001": (
        "FPL with noise", (*BROKEN, "train.optimizer.weight_decay=0.001")),
}  # fmt: skip
"""Setting -> (name of its runs, what is set). No other case decays weights, as the paper names no
decay. With it all columns are pulled down, and those that learn nothing stay there."""
SHAPED = 256
"""Samples of an epoch over the shaped cell: enough for a second of it where activations travel."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is trained."""

    name: str
    """Folder of the results."""
    model: str
    train: int
    """Training samples, each seen by all five cameras."""
    test: int
    epochs: int
    rates: tuple[float, ...]
    """Learning rates that every case is tried with. A step of Adam moves each weight by about the
    rate, so the sum of a unit with more inputs moves further: wider networks take smaller ones."""

    def __str__(self) -> str:
        """What tells its runs from those of other sizes."""
        return f"{self.model}-{self.train}-{self.test}-{self.epochs}"

    @property
    def tuning(self) -> Size:
        """What a learning rate is tried with: half of the epochs tell which of two is better."""
        return replace(self, epochs=max(1, self.epochs // 2))


QUICK = Size(name="quick", model="leaf-cnn-w8", train=1000, test=500, epochs=12,
             rates=(0.001, 0.003))  # fmt: skip
USUAL = Size(name="usual", model="leaf-cnn", train=2000, test=1000, epochs=10,
             rates=(0.0001, 0.0003, 0.001))  # fmt: skip
FULL = Size(name="full", model="leaf-cnn", train=20_000, test=4000, epochs=20,
            rates=(0.0001, 0.0003, 0.001))  # fmt: skip


class Store:
    """Runs by (size, case, rate, seed), in a file of a line each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._runs: dict[tuple[str, str, float, int], dict[str, Any]] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                self._take(json.loads(line))

    def get(self, size: Size, case: str, settings: tuple[str, ...], rate: float, seed: int) -> Any:
        """A run's figures, of an earlier one if there is one."""
        key = (str(size), case, rate, seed)
        if key not in self._runs:
            print(f"{case}, rate {rate:g}, seed {seed} ...", file=sys.stderr, flush=True)
            found = {"case": case, "rate": rate, "seed": seed, "size": str(size)}
            found |= run(settings, size, rate, seed)
            self._take(found)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(found) + "\n")
        return self._runs[key]

    def _take(self, found: dict[str, Any]) -> None:
        self._runs[found["size"], found["case"], found["rate"], found["seed"]] = found


def main() -> None:
    """Run every case with every seed, draw, and say what holds."""
    given = arguments(__doc__)
    say(measure(QUICK if given.quick else FULL if given.full else USUAL), given.format)


def measure(size: Size) -> Figures:
    """Everything of one size: runs, pictures, tables; returns what is to be said."""
    out = OUT / (size.name if dataset() == "emnist-letters" else f"{size.name}-{dataset()}")
    store = Store(out / "runs.jsonl")
    tried = {
        case: [store.get(size.tuning, case, settings, rate, TUNING_SEED) for rate in size.rates]
        for case, settings in CASES.items()
    }
    rates = {case: min(runs, key=lambda run: min(run["test_loss"]))["rate"]
             for case, runs in tried.items()}  # fmt: skip
    results = {
        case: [store.get(size, case, settings, rates[case], seed) for seed in SEEDS]
        for case, settings in CASES.items()
    }
    noise = {
        setting: [store.get(size, case, words, rates["FPL: J->F2"], seed) for seed in SEEDS]
        for setting, (case, words) in NOISE.items()
    }
    told = claims(results, classes(), noise)
    crossed = {case: shaped(words, size, rates[case]) for case, words in CASES.items()}
    more = {"paper_width": parameters("leaf-cnn"), "claims": told, "shaped": crossed}
    figures: Figures = {"dataset": dataset(), "model": size.model, "train": size.train,
                        "epochs": size.epochs, "seeds": len(SEEDS)}  # fmt: skip
    figures |= fpl_report.write(out, size, classes(), results, tried, noise, more)
    return figures | told | {"report": str(out / "README.md")}


def dataset() -> str:
    """The paper's, if it is there."""
    return "emnist-letters" if os.environ.get("EDGENET_DATA") else "digits"


def classes() -> int:
    """Its labels."""
    return 26 if dataset() == "emnist-letters" else 10


HOST = ("nodes.edge.device=host", "nodes.cam.device=host", "shaping=none")
"""Unshaped, at the host's own speed."""


def changes(settings: tuple[str, ...], size: Size, rate: float, seed: int) -> list[str]:
    """What a run sets in the topology, wherever it runs."""
    return [
        f"seed={seed}", f"train.data.name={dataset()}", f"train.data.train={size.train}",
        f"train.data.test={size.test}", f"train.epochs={size.epochs}", f"train.model={size.model}",
        "train.batch=32", "train.optimizer=adam", f"train.lr={rate}", *settings,
    ]  # fmt: skip


def started(*changed: str, options: Sequence[str] = ()) -> Finished:
    """The topology, run with these changes and options of `edgenet run`."""
    words = [word for each in changed for word in ("--set", each)]
    text = FILE.read_text(encoding="utf-8")
    return run_edgenet(text, *words, *options, timeout_s=24 * 3600.0)


def shaped(settings: tuple[str, ...], size: Size, rate: float) -> Crossing:
    """An epoch over the cell's own links and devices: in network namespaces as root, where all
    cameras share the cell, else paced, where each has its rate to itself."""
    small = replace(size, train=min(SHAPED, size.train), epochs=1)
    launcher = "namespaces" if os.geteuid() == 0 else "local"
    set_ = ("train.evaluate=0", *changes(settings, small, rate, SEEDS[0]))
    done = started(*set_, options=("--launcher", launcher, "--no-probe"))
    nodes = done.summary["nodes"]
    cameras = [node["compute_s"] for name, node in nodes.items() if name != "edge"]
    computing_s = nodes["edge"]["compute_s"] + max(cameras)
    idle_s = float(done.rounds[0]["train_s"]) - computing_s
    modelled_s = network_s(done.summary["bytes"]["per_link"])
    return Crossing(small.train, done.summary["shaping"]["used"], modelled_s, max(0.0, idle_s))


def run(settings: tuple[str, ...], size: Size, rate: float, seed: int) -> dict[str, Any]:
    """Run it; figures per epoch, and for all epochs together."""
    done = started(*HOST, *changes(settings, size, rate, seed))
    nodes = done.summary["nodes"].values()
    junction = {key: [float(row[key]) for row in done.rounds]
                for key in done.rounds[0] if key.startswith("junction.")}  # fmt: skip
    return {
        "test_loss": [float(row["test_loss"]) for row in done.rounds],
        "accuracy": [float(row["accuracy"]) for row in done.rounds],
        "epoch_bytes": [int(row["payload_bytes"]) for row in done.rounds],
        "parameters": done.summary["parameters"],
        "cpu_s": round(sum(max(0.0, node["cpu_s"] - node["evaluate_s"]) for node in nodes), 3),
        "network_s": round(network_s(done.summary["bytes"]["per_link"]), 3),
        **({"junction": junction} if junction else {}),
    }


def network_s(per_link: dict[str, dict[str, int]]) -> float:
    """Seconds that these bytes take in the cell: Eq. (3), one sender after the other."""
    topology = load(FILE)
    seconds = 0.0
    for link, volume in per_link.items():
        sender, _, receiver = link.partition("->")
        seconds += 8 * volume["payload"] / between(topology, sender, receiver).rate_bps
    return seconds


def parameters(model: str) -> dict[str, int]:
    """Trained numbers of every case with a model."""
    found = {}
    for case, settings in CASES.items():
        changed = (f"train.data.name={dataset()}", f"train.model={model}", *settings)
        found[case] = resolve(load(FILE, changed)).parameters
    return found


if __name__ == "__main__":
    main()
