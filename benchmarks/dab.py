"""DAB's figures 1, 2 and 3, and whether deadlines are kept.

    python benchmarks/dab.py --quick      a tenth of data and deadline; under 8 minutes
    python benchmarks/dab.py --full       the paper's data, D and mu; hours

Every cell (a device or a cluster, with a seed) is kept as a file in results/dab/cells as soon as it
is measured, and not measured again: a run that was stopped goes on where it was; remove the folder
to start anew. Timings mean nothing while the machine does other work.

Scaling. `--quick` divides the training set (6000 samples), the shards (50) and D (1.5 s) by ten, so
that a learner's share of the 120 shards is the paper's. Learners benchmark themselves on 8 shards,
the most that the paper tries: so few samples take a fast board milliseconds. Figure 1 takes shards
of 50 samples on the Pi 1 alone, which is 580 times slower than a server's core. In place of the RTX
2070 Super, which no CPU can emulate, stands this host at its own speed. Figures 2 and 3 take the
paper's boards by what its Table I says of them, not by their names: Pi1 has four cores at 1.4 GHz
(here pi3), Pi2 and Pi3 have 4 GB and 1.8 and 1.5 GHz (here pi4).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import Finished, arguments, run_edgenet, say
from dab_report import report

from edgenet.devices import PROFILES
from edgenet.models.benchmarks import (
    Workload,
    by_operations,
    by_reference,
    matrix_rate,
    subset_rate,
    train_s,
)
from edgenet.models.calibrate import calibrate

RESULTS = Path(__file__).parent / "results" / "dab"
FAST = ("host", "jetson-nano")
DEVICES = (*FAST, "pi3", "pi2", "pi1")
CLUSTERS = {
    "two": {"pi1": "pi3", "jetson": "jetson-nano"},
    "four": {"pi1": "pi3", "pi2": "pi4", "pi3": "pi4", "jetson": "jetson-nano"},
}
SCHEMES = ("dab", "csa")
SEEDS = (1, 2, 3)
BATCH = 50


@dataclass(frozen=True)
class Scale:
    """How much of the paper's settings is run."""

    name: str
    samples: int
    shard: int
    deadline_s: float
    rounds: int
    pi1_shard: int
    subsets: tuple[int, ...]
    benchmark: int
    """n, of figures 2 and 3."""
    trained: tuple[int, int] = (120, 15)
    """Shards whose run time figure 1 predicts: on the fast devices, on the Pis."""
    data: str = "mnist"


QUICK = Scale("quick", 6000, 50, 1.5, 8, 50, (2, 4, 6, 8), 8)
FULL = Scale("full", 60_000, 500, 15.0, 30, 500, (2, 3, 4, 5, 6, 7, 8), 4)
DEADLINE_ROUNDS = 20
SLOWED_IN = 6
"""The board becomes slow half a deadline before this round would end at the latest."""


def cell(scale: Scale, key: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What was measured under `key`, now or in an earlier run."""
    path = RESULTS / "cells" / f"{scale.name}-{key}.json"
    if not path.exists():
        start_s = time.monotonic()
        found = measure()
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(found), encoding="utf-8")
        part.replace(path)
        print(f"{key}: {time.monotonic() - start_s:.0f} s", file=sys.stderr)
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return kept


def benchmark_errors(scale: Scale, name: str, seed: int) -> dict[str, Any]:
    """Figure 1, one device: |predicted - actual| / actual of SB for each n, and of FLOPS."""
    torch.set_num_threads(1)
    device, host_flops, host_matrix = PROFILES[name], calibrate(), matrix_rate()
    shards = scale.trained[name not in FAST]
    shard = scale.pi1_shard if name == "pi1" else 500
    workload = Workload(shard=shard, batch=BATCH, seed=seed)
    slow = host_flops / device.training_flops if device.training_flops else 1.0
    slow_matrix = host_matrix / device.matrix_flops if device.matrix_flops else 1.0
    subsets = {n: shards / subset_rate(workload, n, max(1.0, slow)) for n in scale.subsets}
    actual_s = train_s(workload, shards, max(1.0, slow))
    reference_s = train_s(workload, shards)
    flops = matrix_rate(slow_matrix)

    def error(predicted_s: float) -> float:
        return abs(predicted_s - actual_s) / actual_s

    return {
        "actual_s": actual_s,
        "sb": {n: error(predicted_s) for n, predicted_s in subsets.items()},
        "flops": error(by_reference(reference_s, host_matrix, flops)),
        "flops_absolute": error(by_operations(shards * workload.shard_flop, flops)),
        "slowdown": slow,
        "slowdown_matrix": slow_matrix,
    }


def topology(
    scale: Scale, cluster: str, scheme: str, seed: int, rounds: int, events: Any = ()
) -> str:
    """A cluster over one WiFi cell, with the paper's settings."""
    boards = {name: {"device": device} for name, device in CLUSTERS[cluster].items()}
    tree = {
        "name": f"dab-{cluster}",
        "nodes": {"orchestrator": {"device": "host"}, **boards},
        "links": {"air": {"wifi": "802.11n-5GHz", "base": "orchestrator", "members": list(boards)}},
        "train": {
            "scheme": scheme,
            "model": "two-nn-small",
            "data": {"name": scale.data, "train": scale.samples},
            "rounds": rounds,
            "batch": BATCH,
            "lr": 0.1,
            "deadline": f"{scale.deadline_s:g} s",
            "iterations": 5,
            "shard": scale.shard,
            "benchmark": scale.benchmark,
        },
        "faults": {"silence": "20 s"},
        "events": list(events),
        "seed": seed,
    }
    return json.dumps(tree)  # which YAML reads as well


def curve(done: Finished) -> dict[str, Any]:
    """Loss, accuracy and deadlines of a run, a number a round."""
    reporter = done.events["orchestrator"]
    rounds = [event for event in reporter if event["e"] == "round"]
    return {
        "loss": [event["test_loss"] for event in rounds],
        "accuracy": [event["accuracy"] for event in rounds],
        "late": [event["late"] for event in rounds],
        "asked": [event["late"] + len(event["active"]) for event in rounds],
        "shards": [event["shards"] for event in rounds],
        "staleness": [event["staleness"] for event in rounds],
        "wall_s": done.wall_s,
    }


def learning(scale: Scale, cluster: str, scheme: str, seed: int) -> dict[str, Any]:
    """Figures 2 and 3, one run."""
    keeps = cluster == "four" and scheme == "dab"  # the run in which deadlines are counted
    rounds = max(scale.rounds, DEADLINE_ROUNDS) if keeps else scale.rounds
    return curve(run_edgenet(topology(scale, cluster, scheme, seed, rounds), timeout_s=7200))


def recovery(scale: Scale, seed: int) -> dict[str, Any]:
    """`dab-dynamic` with a board that slows down to half: how many rounds it misses."""
    slow = {"at": f"{(SLOWED_IN - 0.5) * scale.deadline_s:g} s", "slow": "pi1", "factor": 2}
    text = topology(scale, "two", "dab-dynamic", seed, 12, [slow])
    done = run_edgenet(text, timeout_s=7200)
    rounds = [event for event in done.events["orchestrator"] if event["e"] == "round"]
    missed = ["pi1" not in event["active"] for event in rounds[SLOWED_IN - 1 :]]
    asked = [e["shards"] for e in done.events["pi1"] if e["e"] == "worked"]
    return {"missed": missed, "shards": asked, "rounds_to_recover": _longest(missed)}


def _longest(missed: Sequence[bool]) -> int:
    """Rounds in a row without the board."""
    runs = "".join("x" if each else " " for each in missed).split()
    return max(map(len, runs), default=0)


def main() -> None:
    """Measure what is missing, and report."""
    options = arguments(__doc__)
    scale = FULL if options.full else QUICK
    errors = {
        name: [
            cell(scale, f"fig1-{name}-{seed}", partial(benchmark_errors, scale, name, seed))
            for seed in SEEDS
        ]
        for name in DEVICES
    }
    curves = {
        (cluster, scheme): [
            cell(
                scale,
                f"fig23-{cluster}-{scheme}-{seed}",
                partial(learning, scale, cluster, scheme, seed),
            )
            for seed in SEEDS
        ]
        for cluster in CLUSTERS
        for scheme in SCHEMES
    }
    recovered = [
        cell(scale, f"recovery-{seed}", partial(recovery, scale, seed))["rounds_to_recover"]
        for seed in SEEDS
    ]
    found = report(RESULTS, scale.name, scale.rounds, errors, curves, recovered)
    say(found, options.format)


if __name__ == "__main__":
    main()
