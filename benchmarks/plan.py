"""Do the planner's predictions hold? `edgenet plan` against runs of what it predicted.

Networks of paced links and emulated boards, whose demand together fits two cores: another program
on the machine makes runs longer, and no plan knows of it. Every candidate named below is run as the
planner says (`--set ...`), without tests of the model; the mean of the rounds but the first (in
which nodes compute for the first time) and the last (when models travel to be tested) is held
against the prediction: 20 % for time, 2 % for bytes. So is the peak memory of the node of which
most is predicted, to 20 %. Python and torch are some 200 MB of it here; tests/test_footprint.py
holds predictions for a larger model against its runs. On the cell `sfl` averages heads after every
batch; on the wires SplitAvg is on in the last two of five rounds. Rounds are not much shorter than
half a second: in shorter ones a busy host's delays weigh more than what is predicted.

Writes results/plan/: README.md, points.csv, points.png (with --quick and --full in folders of their
own).
"""

from __future__ import annotations

import fnmatch
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common import Finished, arguments, run_edgenet, say
from plan_report import Point, report, summary

OUT = Path(__file__).parent / "results" / "plan"
ROUNDS = 5

_TRAIN = """\
shaping: paced
probe: {run: false}
seed: 5
train:
  scheme: fedavg
  evaluate: 0
"""  # and what each network trains

NETWORKS: Mapping[str, str] = {
    "wires": """\
name: wires
nodes:
  server: {device: pi3}
  learner: {device: [pi2, pi-zero2w, pi2], count: 3}
links:
  lan: {rate: 20 Mbit, delay: 5 ms, base: server, members: learner}
"""
    + _TRAIN
    + "  model: leaf-cnn-w8\n  data: {name: digits, train: 240}\n  batch: 20\n",
    "cell": """\
name: cell
nodes:
  edge: {device: pi4, at: [0, 0]}
  cam: {device: pi-zero2w, count: 3, place: {disc: 300 m}}
links:
  cell: {lte: {bandwidth: 20 MHz, resource_blocks: 100, cap: 5.5}, base: edge, members: cam}
"""
    + _TRAIN
    + "  model: leaf-cnn-w8\n  data: {name: digits, train: 160, views: [blur, hflip, crop]}\n"
    "  batch: 16\n  optimizer: adam\n  lr: 0.001\n",
    "fog": """\
name: fog
nodes:
  server: {device: pi2}
  cam: {device: pi2, count: 2}
  fog: {device: pi3}
links:
  air: {wifi: 802.11n-5GHz, base: server, members: cam}
  uplink: {rate: 50 Mbit, delay: 10 ms, between: [server, fog]}
place: {server: [server], stage: [fog]}
"""
    + _TRAIN
    + "  model: leaf-cnn-w4\n  data: {name: digits, train: 120, views: [plain, vflip]}\n"
    "  batch: 20\n",
}
"""Name -> the topology."""

SETS: Mapping[str, Sequence[str]] = {
    "wires": ("train.phases=final-40",),
    "cell": ("train.sync=batch",),
}
"""Network -> what is set there beside; it counts under the schemes that know it."""

QUICK: Mapping[str, Sequence[str]] = {
    "wires": ("psl, cut C1", "psl, cut F1", "sfl, cut C2", "ssl, cut C2", "fedavg",
              "sglr, cut F1, phases final-40", "d-sgd, C2.. on learner0"),
    "cell": ("fpl, J->F1", "fpl, J->F2", "sl-vertical, cut C2", "gfl, averaged F1/F2",
             "transfer-images", "sfl, cut F1, sync batch"),
    "fog": ("fpl, J->F1", "fpl, J->F1, F1.. on fog", "fpl, J->F2, F2.. on fog",
            "sl-vertical, cut C2, F2.. on fog"),
}  # fmt: skip
"""Network -> candidates (patterns of fnmatch)."""
USUAL: Mapping[str, Sequence[str]] = {
    "wires": ("psl*", "sfl*", "ssl, cut C2", "sgl*", "fedavg", "d-sgd*learner0", "d-sgd*learner1"),
    "cell": ("fpl*", "sl-vertical*", "gfl*", "transfer-images", "fedavg", "sfl*"),
    "fog": ("fpl*", "sl-vertical*", "transfer-images"),
}
FULL: Mapping[str, Sequence[str]] = dict.fromkeys(NETWORKS, ("*",))


def main() -> None:
    """Plan, run, compare."""
    given = arguments(__doc__)
    size = "quick" if given.quick else "full" if given.full else ""
    out = OUT / size
    points = list(measure({"quick": QUICK, "full": FULL}.get(size, USUAL)))
    report(out, points)
    figures = summary(points) | {"report": str(out / "README.md")}
    if given.format == "json":
        figures["points"] = [asdict(point) for point in points]
    say(figures, given.format)


def measure(wanted: Mapping[str, Sequence[str]]) -> Iterator[Point]:
    """Every candidate that is wanted."""
    for network, patterns in wanted.items():
        for forecast in plan(NETWORKS[network], patterns, SETS.get(network, ())):
            print(f"{network}: {forecast['candidate']} ...", file=sys.stderr, flush=True)
            yield from compare(network, forecast)


def plan(topology: str, patterns: Sequence[str], sets: Sequence[str]) -> list[dict[str, Any]]:
    """`edgenet plan`'s candidates whose names fit one of `patterns`."""
    schemes = dict.fromkeys(pattern.partition(",")[0].rstrip("*") for pattern in patterns)
    with tempfile.TemporaryDirectory(prefix="edgenet-bench-") as folder:
        path = Path(folder) / "topology.yaml"
        path.write_text(topology, encoding="utf-8")
        command = [str(Path(sys.executable).with_name("edgenet")), "plan", str(path), "--format"]
        command += ["json", *_words([f"train.rounds={ROUNDS}", *sets])]
        if all(schemes):
            command += ["--schemes", ",".join(schemes)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[:2000]}")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return [
        each for each in found if any(fnmatch.fnmatchcase(each["candidate"], p) for p in patterns)
    ]


def compare(network: str, forecast: Mapping[str, Any]) -> Iterator[Point]:
    """Run it; one point, or two where the first round is another than the rest."""
    done = run_edgenet(NETWORKS[network], *_words(forecast["set"]))
    once = forecast["once_s"], forecast["once_bytes"]
    steady_s = forecast["round_s"] - once[0] / ROUNDS
    steady_bytes = round(forecast["sent_bytes"] - once[1] / ROUNDS)
    yield _point(network, forecast, done, (steady_s, steady_bytes), slice(1, -1))
    if any(once):
        first = {**forecast, "candidate": f"{forecast['candidate']}, first round"}
        yield _point(network, first, done, (steady_s + once[0], steady_bytes + once[1]), slice(1))


def _words(changes: Sequence[str]) -> list[str]:
    return [word for change in changes for word in ("--set", change)]


def _point(
    network: str,
    forecast: Mapping[str, Any],
    done: Finished,
    predicted: tuple[float, int],
    rounds: slice,
) -> Point:
    rows = done.rounds[rounds]
    memory = forecast["memory_bytes"]
    node = max(memory, key=lambda name: memory[name])
    return Point(
        network=network,
        candidate=forecast["candidate"],
        predicted_s=predicted[0],
        measured_s=statistics.mean(float(row["train_s"]) for row in rows),
        predicted_bytes=predicted[1],
        measured_bytes=round(
            statistics.mean(int(row["payload_bytes"]) + int(row["overhead_bytes"]) for row in rows)
        ),
        node=node,
        predicted_memory_bytes=memory[node],
        measured_memory_bytes=done.summary["nodes"][node]["peak_rss_bytes"],
    )


if __name__ == "__main__":
    main()
