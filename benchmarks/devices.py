"""Whether emulated devices are as fast as their profiles, while all of them train at once.

    python benchmarks/devices.py              a minute and a half
    python benchmarks/devices.py --quick      half a minute

One `fedavg` run per repeat has learners on up to five boards that are slower than the host, as many
of each as fill most of the host's cores. A learner's speed is its samples
over the seconds from its first batch's start to its last's end. Speeds are compared with the
profiles' training rates as ratios to their common (geometric) mean, since a profile says FLOP/s of
two reference models, and another model may train at more or less.

    worst_off         largest |measured / profile - 1| of a device, the median over the repeats
    worst_off_clock   the same by the devices' own clocks: without what a busy host was too late
    worst_behind      largest part of a device's work that the host was too late with
    demand_cores      what the devices take of the host; above its cores nothing holds

Timings mean nothing while the machine does other work.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from common import Finished, arguments, run_edgenet, say

from edgenet.devices import PROFILES
from edgenet.devices.demand import demand
from edgenet.models.calibrate import calibrate

BOARDS = ("pi-zero2w", "pi3", "jetson-nano", "pi4", "pi5")
MODELS = {"two-nn": 10, "leaf-cnn": 1}
"""Model -> passes over its samples that a learner makes in a round."""
SAMPLES = 1400
"""Of all learners, in a round."""
SLOWER, FILLED = 0.8, 0.85
"""A board's speed is at most this part of the host's; the boards take at most this part of it."""
AGREES = 0.1
"""Part by which a speed may be off."""


def topology(boards: Sequence[str], copies: int, model: str, rounds: int, seed: int) -> str:
    """So many learners on each of the boards."""
    names = {f"{board}-no{i}": {"device": board} for board in boards for i in range(copies)}
    tree = {
        "name": "devices",
        "nodes": {"server": {"device": "host"}, **names},
        "links": {"wire": {"base": "server", "members": list(names)}},
        "shaping": "none",
        "seed": seed,
        "train": {
            "scheme": "fedavg",
            "model": model,
            "data": {"name": "digits", "train": SAMPLES},
            "rounds": rounds,
            "local_epochs": MODELS[model],
            "batch": 16,
            "lr": 0.01,
            "evaluate": 0,
        },
    }
    return json.dumps(tree)  # which YAML reads as well


def speeds(done: Finished) -> dict[str, float]:
    """Learner -> samples a second, the median over the rounds but the first."""
    return {name: statistics.median(_rates(done.events[name])) for name in learners(done)}


def learners(done: Finished) -> dict[str, Mapping[str, Any]]:
    """Learner -> its figures."""
    nodes: Mapping[str, Mapping[str, Any]] = done.summary["nodes"]
    return {name: node for name, node in nodes.items() if node["role"] != "server"}


def _rates(events: Sequence[Mapping[str, Any]]) -> list[float]:
    samples = next(event["samples"] for event in events if event["e"] == "share")
    rates = []
    for number in range(2, 1 + max(event["r"] for event in events)):
        work = [e for e in events if e["r"] == number and e.get("k") in ("compute", "idle")]
        rates.append(samples / (work[-1]["t"] + work[-1]["d"] - work[0]["t"]))
    return rates


def deviations(done: Finished, measured: Mapping[str, float]) -> dict[str, float]:
    """Board -> measured / profile - 1, relative to the geometric mean of all; of the learners on
    it the one that is most off."""
    devices = {name: node["device"] for name, node in learners(done).items()}
    ratios = {name: speed / flops(devices[name]) for name, speed in measured.items()}
    mean = statistics.geometric_mean(ratios.values())
    off: dict[str, float] = {}
    for name, board in devices.items():
        off[board] = max(off.get(board, 0.0), ratios[name] / mean - 1, key=abs)
    return off


def _device_rates(done: Finished) -> dict[str, float]:
    return {name: 1 / node["emulated_s"] for name, node in learners(done).items()}


def flops(board: str) -> float:
    """What the profile says."""
    rate = PROFILES[board].training_flops
    assert rate is not None
    return rate


def main() -> None:
    """Measure and say."""
    options = arguments(__doc__)
    repeats, rounds = (1, 4) if options.quick else (5 if options.full else 3, 6)
    host_flops = calibrate(2.0)
    boards = [board for board in BOARDS if flops(board) <= SLOWER * host_flops]
    each = demand([PROFILES[board] for board in boards], host_flops)
    copies = max(1, int(FILLED * each.host_cores / each.cores))
    needed = demand([PROFILES[board] for board in boards] * copies, host_flops)
    found: dict[str, Any] = {
        "host_gflops": host_flops / 1e9, "demand_cores": needed.cores, "cores": needed.host_cores,
        "learners": copies * len(boards),
        "fits": needed.fits, "worst_off": 0.0, "worst_off_clock": 0.0, "worst_behind": 0.0,
    }  # fmt: skip
    for model in MODELS:
        done = [run_edgenet(topology(boards, copies, model, rounds, n)) for n in range(repeats)]
        by_wall = [deviations(each, speeds(each)) for each in done]
        by_clock = [deviations(each, _device_rates(each)) for each in done]
        for board in boards:
            off = statistics.median(each[board] for each in by_wall)
            clock = statistics.median(each[board] for each in by_clock)
            found |= {f"{model} {board}": off, f"{model} {board} clock": clock}
            found["worst_off"] = max(found["worst_off"], abs(off))
            found["worst_off_clock"] = max(found["worst_off_clock"], abs(clock))
        behind = [n["behind_s"] / n["emulated_s"] for each in done for n in learners(each).values()]
        found["worst_behind"] = max(found["worst_behind"], *behind)
    found["agrees"] = found["worst_off"] <= AGREES
    say(found, options.format)


if __name__ == "__main__":
    main()
