"""Theorem 1 element by element, and what weight versions cost VGG16's large layers.

VGG16 for 32x32 images over three workers, cut conv | 512-4096-4096 | classes + loss, and over two,
where the large layers compute the loss and no window fills. Ratios are within one run.
"""

from __future__ import annotations

import copy
import statistics
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from common import Figures, Finished, run_edgenet
from torch import nn

from edgenet.meters import Journal
from edgenet.models.layers import LayerList, build
from edgenet.models.motion import Motion
from edgenet.models.strategies import plan_strategies
from edgenet.models.versioned import VersionedStage
from edgenet.schemes.room import STRATEGY
from edgenet.schemes.timetable import BACKWARD, FORWARD, sliding

SCHEMES = ("pipedream", "mcpipe", "mcpipe-adaptive")
OTHERS = ("model-parallel", "gpipe", "1f1b", "pipedream-2bw", "greedy")
BATCH, WINDOW = 8, 4
CUTS = {
    3: "split: [C13, F2]\n  windows: [4, 4, 1]",
    2: "split: [C13]\n  windows: [4, 1]",
}
"""conv | 512-4096-4096 | classes + loss, and conv | 512-4096-4096-classes + loss."""
LINK = "rate: 54 Mbit, delay: 100 ms"
"""WiFi's rate and a far server's delay: an error is on its way while mini-batches follow."""


def memory_over_windows() -> Figures:
    """The most that versions and stash of 512-4096-4096 take, batch 8, in this process."""
    model = build("vgg16", classes=10, shape=(1, 32, 32), seed=7)
    layers = LayerList(OrderedDict(list(model.named_children())[13:15]))
    figures: Figures = {}
    for window in range(1, 7):
        for scheme in ("greedy", *SCHEMES):
            held = held_bytes(copy.deepcopy(layers), window, STRATEGY[scheme])
            figures[f"window {window}, {scheme}: versions + stash, full window (MB)"] = held / 1e6
    return figures


def held_bytes(layers: nn.Sequential, window: int, strategy: str) -> int:
    """Versions, scratch and stash of a stage, at most, while a window slides."""
    motion, x = Motion(0.01), torch.randn(BATCH, 512, 1, 1)
    choices = plan_strategies(layers, x, window, motion, strategy)
    stage, most = VersionedStage(layers, motion, choices, journal=Journal()), 0
    for action in sliding(window, 2 * window):
        if action.verb == FORWARD:
            error = stage.forward(x)
        elif action.verb == BACKWARD:
            stage.backward(torch.zeros_like(error))
        else:
            stage.step()
        held = stage.memory()
        most = max(most, held.versions + held.scratch + held.stash)
    return most


def theorem_1(width: int) -> Figures:
    """Elements of versions and pairs at one stage of a square layer, one vector a mini-batch; the
    bound is Omega/N + 2 (m - 1) sqrt(Omega/N), and m Omega/N for PipeDream."""
    figures: Figures = {}
    for window in range(1, 9):
        bound = width**2 + 2 * (window - 1) * width
        figures[f"theorem 1, m = {window}: bound"] = bound
        for scheme, strategy in (("mcpipe", "recomputed"), ("pipedream", "stored")):
            figures[f"theorem 1, m = {window}: {scheme}"] = elements(width, window, strategy)
    return figures


def elements(width: int, window: int, strategy: str) -> int:
    """The most that a stage held, between any two actions of a full window."""
    layers = nn.Sequential(nn.Linear(width, width, bias=False))
    motion, x = Motion(0.01), torch.zeros(1, width)
    choices = plan_strategies(layers, x, window, motion, strategy)
    stage = VersionedStage(layers, motion, choices, journal=Journal())
    most = 0
    for action in sliding(window, 4 * window):
        if action.verb == FORWARD:
            stage.forward(torch.randn(1, width))
        elif action.verb == BACKWARD:
            stage.backward(torch.randn(1, width))
        else:
            stage.step()
            held = stage.memory()
            most = max(most, (held.versions + held.stash) // 4)
    return most


def topology(workers: int, scheme: str, batches: int, extra: str) -> str:
    """Workers in a row, at the host's own speed."""
    hops = "\n".join(
        f"  hop{n}: {{{LINK}, between: [worker{n}, worker{n + 1}]}}" for n in range(workers - 1)
    )
    return f"""\
name: mcpipe
nodes:
  worker: {{device: host, count: {workers}}}
links:
{hops}
faults: {{silence: 60 s}}
shaping: paced
seed: 7
train:
  scheme: {scheme}
  model: vgg16
  data: {{name: digits, train: {BATCH * batches}, test: 16}}
  {extra}
  window: {WINDOW}
  rounds: 1
  batch: {BATCH}
  lr: 0.01
"""


@dataclass(frozen=True)
class Peak:
    """What a node's stage held at most, in bytes but for `live`."""

    weights: int
    """Versions, scratch and stash, at one moment."""
    total: int
    """All that is counted, at one moment."""
    live: int
    """Versions."""


def peak(events: Sequence[dict[str, Any]]) -> Peak:
    """From the `memory` events of one node."""
    seen = [event for event in events if event["e"] == "memory"]
    return Peak(
        max((e["versions"] + e["scratch"] + e["stash"] for e in seen), default=0),
        max(
            (e["versions"] + e["scratch"] + e["stash"] + e["saved"] + e["optimiser"] for e in seen),
            default=0,
        ),
        max((e["live"] for e in seen), default=1),
    )


def rate(run: Finished) -> float:
    """Samples per second from the first worker's first forward to its last update."""
    spans = [e for e in run.events["worker0"] if e["e"] == "span" and e["k"] == "compute"]
    samples = BATCH * sum(span["n"] == "step" for span in spans)
    took_s: float = max(s["t"] + s["d"] for s in spans) - min(s["t"] for s in spans)
    return float(samples / took_s)


def cut(workers: int, batches: int, repetitions: int) -> Figures:
    """Memory of the stage with the large layers, and speed, under each exact scheme."""
    figures: Figures = {}
    peaks: dict[str, Peak] = {}
    speeds: dict[str, float] = {}
    for scheme in SCHEMES:
        text = topology(workers, scheme, batches, CUTS[workers])
        runs = [run_edgenet(text) for _ in range(repetitions)]
        peaks[scheme] = peak(runs[0].events["worker1"])
        speeds[scheme] = statistics.median(map(rate, runs))
        name = f"{workers} workers, {scheme}"
        figures |= {
            f"{name}: live versions": peaks[scheme].live,
            f"{name}: versions + stash (MB)": peaks[scheme].weights / 1e6,
            f"{name}: all counted (MB)": peaks[scheme].total / 1e6,
            f"{name}: peak resident (MB)": _resident(runs[0]) / 1e6,
            f"{name}: samples/s": speeds[scheme],
        }
    for scheme in SCHEMES[1:]:
        name = f"{workers} workers, {scheme} / pipedream"
        figures[f"{name}: versions + stash"] = peaks[scheme].weights / peaks["pipedream"].weights
        figures[f"{name}: samples/s"] = speeds[scheme] / speeds["pipedream"]
    return figures


def _resident(run: Finished) -> float:
    return float(run.summary["nodes"]["worker1"]["peak_rss_bytes"])


def windows(batches: int) -> Figures:
    """Versions + stash of the large stage over the window; and of the other schemes at 4."""
    figures: Figures = {}
    for window in range(1, 7):
        for scheme in SCHEMES:
            split = f"split: [C13, F2]\n  windows: [{window}, {window}, 1]"
            text = topology(3, scheme, batches, split)
            run = run_edgenet(text.replace(f"window: {WINDOW}\n", f"window: {window}\n"))
            most = peak(run.events["worker1"])
            figures[f"window {window}, {scheme}: versions + stash (MB)"] = most.weights / 1e6
            figures[f"window {window}, {scheme}: samples/s"] = rate(run)
    for scheme in OTHERS:
        run = run_edgenet(topology(3, scheme, batches, "split: [C13, F2]"))
        figures[f"window {WINDOW}, {scheme}: samples/s"] = rate(run)
        most_rss = _resident(run) / 1e6
        figures[f"window {WINDOW}, {scheme}: peak resident (MB)"] = most_rss
    return figures
