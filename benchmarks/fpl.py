"""FPL, section IV, again: five cameras with a view each, on EMNIST letters (digits without data).

Every case is `edgenet run topologies/five-cameras-lte.yaml` with another scheme, on unshaped links
at the host's speed: what is measured are losses, accuracies, parameters, the bytes on the links and
the CPU seconds of all nodes (as in the paper, whose nodes shared one server). Network time is those
bytes over the cell's rates (Eq. 3, all resource blocks to whoever sends). Energy is CPU
seconds times 13 W, a core's part of the 130 W of the paper's Xeon E5-2690 v2, after Lacoste et al.
The test set serves as validation set; a case has converged at its minimum. Seconds of evaluation
are taken off by the clock, so CPU seconds (and energy) are true on a quiet machine only.

Pictures and tables go to benchmarks/results/fpl/. Runs that are there already are not made again.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fpl_report
from common import Figures, arguments, run_edgenet, say

from edgenet.channels import between
from edgenet.topology import load

HERE = Path(__file__).parent
FILE = HERE.parent / "topologies" / "five-cameras-lte.yaml"
OUT = HERE / "results" / "fpl"
SEEDS = (1, 2, 3)
CORE_W = 13.0

CASES: dict[str, tuple[str, ...]] = {
    "SL": ("train.scheme=sl-vertical", "train.cut=C2"),
    "Transfer images": ("train.scheme=transfer-images",),
    "gFL: F1/F2": ("train.scheme=gfl", "train.averaged=F1/F2"),
    "gFL: C2/F1/F2": ("train.scheme=gfl", "train.averaged=C2/F1/F2"),
    "FPL: J->F2": ("train.scheme=fpl", "train.junction=F2"),
    "FPL: J->F1": ("train.scheme=fpl", "train.junction=F1"),
}
"""The paper's names -> what is set in the topology."""


@dataclass(frozen=True)
class Size:
    """How much is trained."""

    train: int
    """Training samples, each seen by all five cameras."""
    test: int
    epochs: int


QUICK, USUAL, FULL = Size(500, 200, 6), Size(2000, 1000, 10), Size(20_000, 4000, 20)
LEARNED = 3.0
"""A case whose accuracy is not so many times that of a guess has not been trained long enough for
any verdict that compares it."""


def main() -> None:
    """Run every case with every seed, draw, and say what holds."""
    given = arguments(__doc__)
    size = QUICK if given.quick else FULL if given.full else USUAL
    OUT.mkdir(parents=True, exist_ok=True)
    results = {name: [measure(name, size, seed) for seed in SEEDS] for name in CASES}
    table = {name: summed_up(runs) for name, runs in results.items()}
    fpl_report.losses(OUT / "fig5.png", results)
    fpl_report.bars(OUT / "fig6.png", table)
    crossing = fpl_report.bytes_over_size(OUT / "bytes.png", dataset_classes(), table)
    (OUT / "report.md").write_text(fpl_report.text(size, table, crossing), encoding="utf-8")
    figures: Figures = {"dataset": dataset(), **vars(size), "seeds": len(SEEDS), **crossing}
    figures |= claims(table)
    figures["report"] = str(OUT / "report.md")
    if given.format == "json":
        figures["cases"] = table
    say(figures, given.format)


def dataset() -> str:
    """The paper's, if it is there."""
    return "emnist-letters" if os.environ.get("EDGENET_DATA") else "digits"


def dataset_classes() -> int:
    """Its labels."""
    return 26 if dataset() == "emnist-letters" else 10


def measure(name: str, size: Size, seed: int) -> dict[str, Any]:
    """One run's figures, from the file of an earlier one if there is one."""
    key = "".join(letter for letter in name if letter.isalnum()).lower()
    kept = OUT / "runs" / f"{dataset()}-{size.train}-{size.epochs}-{key}-{seed}.json"
    if not kept.exists():
        print(f"{name}, seed {seed} ...", file=sys.stderr, flush=True)
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps(run(CASES[name], size, seed)), encoding="utf-8")
    found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    return found


def run(settings: tuple[str, ...], size: Size, seed: int) -> dict[str, Any]:
    """Run it; figures per epoch, and for all epochs together."""
    changes = [
        *settings, "nodes.edge.device=host", "nodes.cam.device=host", "shaping=none",
        f"seed={seed}", f"train.data.name={dataset()}", f"train.data.train={size.train}",
        f"train.data.test={size.test}", f"train.epochs={size.epochs}", "train.batch=32",
        "train.optimizer=adam", "train.lr=0.0003",
    ]  # fmt: skip
    words = [word for change in changes for word in ("--set", change)]
    done = run_edgenet(FILE.read_text(encoding="utf-8"), *words, timeout_s=24 * 3600.0)
    nodes = done.summary["nodes"].values()
    return {
        "test_loss": [float(row["test_loss"]) for row in done.rounds],
        "accuracy": [float(row["accuracy"]) for row in done.rounds],
        "epoch_bytes": [int(row["payload_bytes"]) for row in done.rounds],
        "parameters": done.summary["parameters"],
        "cpu_s": sum(max(0.0, node["cpu_s"] - node["evaluate_s"]) for node in nodes),
        "network_s": network_s(done.summary["bytes"]["per_link"]),
    }


def network_s(per_link: dict[str, dict[str, int]]) -> float:
    """Seconds that these bytes take in the cell: Eq. (3), one sender after the other."""
    topology = load(FILE)
    seconds = 0.0
    for link, volume in per_link.items():
        sender, _, receiver = link.partition("->")
        seconds += 8 * volume["payload"] / between(topology, sender, receiver).rate_bps
    return seconds


def summed_up(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the seeds, to convergence: the epoch of the least validation loss."""
    ends = [run["test_loss"].index(min(run["test_loss"])) + 1 for run in runs]
    pairs = list(zip(runs, ends, strict=True))
    part = [end / len(run["test_loss"]) for run, end in pairs]
    cpu_s = statistics.mean(run["cpu_s"] * p for run, p in zip(runs, part, strict=True))
    bytes_ = statistics.mean(sum(run["epoch_bytes"][:end]) for run, end in pairs)
    all_bytes = statistics.mean(sum(run["epoch_bytes"]) for run in runs)
    network = statistics.mean(run["network_s"] for run in runs)
    kwh = cpu_s * CORE_W / 3.6e6
    return {
        "epochs": statistics.mean(ends),
        "accuracy": statistics.mean(run["accuracy"][end - 1] for run, end in pairs),
        "accuracy_sd": statistics.stdev(run["accuracy"][end - 1] for run, end in pairs),
        "parameters": runs[0]["parameters"],
        "cpu_s": cpu_s,
        "network_s": network * bytes_ / all_bytes,
        "bytes": bytes_,
        "bytes_first_epoch": statistics.mean(run["epoch_bytes"][0] for run in runs),
        "bytes_last_epoch": statistics.mean(run["epoch_bytes"][-1] for run in runs),
        "kwh": kwh,
        "carbon_g": kwh * 243.0,
        "carbon_g_at_340": kwh * 340.0,
    }


def claims(table: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The paper's directions, confirmed or refuted by this run alone."""
    accuracy = {name: row["accuracy"] for name, row in table.items()}
    order = ["Transfer images", "FPL: J->F2", "SL", "gFL: F1/F2"]
    epochs = {name: row["epochs"] for name, row in table.items()}
    quickest = min(epochs, key=lambda name: epochs[name])
    bytes_ = {name: row["bytes"] for name, row in table.items()}
    gfl = min(bytes_["gFL: F1/F2"], bytes_["gFL: C2/F1/F2"])
    held = {
        "accuracy: images > FPL J->F2 > SL > gFL": all(
            accuracy[a] > accuracy[b] for a, b in itertools.pairwise(order)
        ),
        "FPL converges in the fewest epochs": quickest.startswith("FPL"),
        "FPL moves fewer bytes to convergence than gFL": (
            min(bytes_["FPL: J->F1"], bytes_["FPL: J->F2"]) < gfl
        ),
        "transferring images moves the most bytes": max(bytes_, key=lambda n: bytes_[n])
        == "Transfer images",
    }
    early = [name for name, a in accuracy.items() if a < LEARNED / dataset_classes()]
    if early:  # it would have "converged" in its first epoch
        return {claim: f"undecided: {', '.join(early)} learned nothing yet" for claim in held}
    return {claim: "confirmed" if true else "refuted" for claim, true in held.items()}


if __name__ == "__main__":
    main()
