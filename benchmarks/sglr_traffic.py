"""Bytes and time of the SGLR benchmark: table 6 and Fig. 3, and real runs held against them.

The runs are `edgenet run` as a user calls it: a process for each node, gloo links, unshaped. They
train for one epoch; the bytes are those that the nodes counted on their links, without evaluation.
An averaged gradient crosses here once for each active client, since every link is one to one; on a
medium it would cross once. Both are given: the second is the first without the copies, which the
journal tells (it has the active clients of every step).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common import Finished, run_edgenet
from sglr_points import Point, Size

from edgenet.models import costs
from edgenet.models.layers import build, cut, table
from edgenet.results.figures import picture

PAPER = costs.Sizes(
    smashed_bytes=0.024e6,
    model_bytes=200e6,
    head_bytes=67e6,
    samples=50_000,
    clients=100,
    phi=0.5,
)
"""Sec. 4.4."""
SHAPE = (1, 28, 28)
SCHEMES = ("fedavg", "ssl", "psl", "sfl", "slr", "sgl", "sglr")
CLIENTS, BATCHES, PHI = 8, 8, 0.5


@dataclass(frozen=True)
class Measured:
    """One scheme's epoch on real links."""

    scheme: str
    sizes: costs.Sizes
    on_links: int
    """Payload bytes, without evaluation and control."""
    control: int
    """Payload bytes of control messages: who has how much data, which round it is."""
    copies: int
    """Of these, copies of an averaged gradient that a medium would carry once."""
    accuracy: float

    @property
    def broadcast_once(self) -> int:
        """Bytes on a medium that can broadcast."""
        return self.on_links - self.copies

    @property
    def deviation(self) -> float:
        """Of the bytes on a medium from `costs.traffic_on_links`, as a part of it."""
        return self.broadcast_once / costs.traffic_on_links(self.scheme, self.sizes) - 1


def sizes_of(model: str, at: str, *, samples: int, clients: int, phi: float) -> costs.Sizes:
    """What the cost model needs to know of one of our models; a label travels as one byte."""
    whole = build(model, classes=10, shape=SHAPE, seed=0)
    head, _ = cut(whole, at)
    rows = {part: table(layers, SHAPE) for part, layers in (("w", whole), ("c", head))}
    return costs.Sizes(
        smashed_bytes=rows["c"][-1].activation_bytes,
        model_bytes=sum(row.weight_bytes for row in rows["w"]),
        head_bytes=sum(row.weight_bytes for row in rows["c"]),
        samples=samples,
        clients=clients,
        phi=phi,
        label_bytes=1,
    )


def flops(model: str, at: str) -> tuple[int, int]:
    """(head's, whole model's) operations of one sample's forward pass."""
    whole = build(model, classes=10, shape=SHAPE, seed=0)
    head, _ = cut(whole, at)
    both = (sum(row.forward_flops for row in table(part, SHAPE)) for part in (head, whole))
    of_head, of_model = both
    return of_head, of_model


def measure(size: Size) -> list[Measured]:
    """An epoch of every scheme, over gloo."""
    small = replace(size, samples=BATCHES * size.batch, epochs=1, test=100)
    found = []
    for scheme in SCHEMES:
        phi = PHI if scheme in costs.AVERAGED else 0.0
        alpha = 0.5 if scheme in ("slr", "sglr") else 0.0
        point = Point(size.resnet, "B4", scheme, CLIENTS, alpha, phi, "always", 1)
        run = run_edgenet(point.topology(small))
        sizes = sizes_of(
            size.resnet, "B4", samples=CLIENTS * small.samples, clients=CLIENTS, phi=phi
        )
        found.append(_measured(scheme, sizes, run, size.batch))
    return found


def _measured(scheme: str, sizes: costs.Sizes, run: Finished, batch: int) -> Measured:
    kinds: Mapping[str, Any] = run.summary["bytes"]["by_kind"]
    averaged = [
        len(active)
        for event in run.events["server"]
        if event["e"] == "round"
        for active in event.get("averaged", ())
    ]
    copies = sum(max(active - 1, 0) for active in averaged) * batch * sizes.smashed_bytes
    return Measured(
        scheme=scheme,
        sizes=sizes,
        on_links=sum(v["payload"] for kind, v in kinds.items() if kind != "control"),
        control=kinds.get("control", {}).get("payload", 0),
        copies=int(copies),
        accuracy=float(run.summary["accuracy"]),
    )


FIG_3 = ((50_000, "MNIST"), (500_000, "IMDB-Wiki"), (2_000_000, "ImageNet"))
"""|D| and the datasets of Fig. 3."""
SETTINGS = ((200e6, 100), (500e6, 100), (200e6, 500))
"""(S(w) in bytes, |C|) of the three settings. The paper's text does not say which it drew; the
first is that of section 4.4, the others vary one thing each."""
RATE_BYTES_PER_S = 10e6
"""R; the paper does not give it either. T is left out: it is the same for all."""


def draw_figure_3(path: Path) -> list[tuple[Any, ...]]:
    """Training time of SGLR, FL, SL and SFL; returns its rows: (|D|, S(w), |C|, seconds ...)."""
    names = {"sglr": "SGLR", "fedavg": "FL", "ssl": "SL", "sfl": "SFL"}
    rows: list[tuple[Any, ...]] = []
    with picture(path, columns=len(FIG_3), size=(3.6, 3.2)) as axes:
        for axis, (samples, data) in zip(axes[0], FIG_3, strict=True):
            times: dict[str, list[float]] = {name: [] for name in names}
            for model_bytes, clients in SETTINGS:
                sizes = replace(PAPER, samples=samples, model_bytes=model_bytes, clients=clients)
                for name in names:
                    seconds = costs.training_time_s(name, sizes, 0.0, RATE_BYTES_PER_S)
                    times[name].append(seconds)
                rows.append((samples, model_bytes, clients, *(times[name][-1] for name in names)))
            _bars(axis, times, names)
            spaced = f"{samples:,}".replace(",", " ")
            axis.set_title(f"{data}, |D| = {spaced}")
    return rows


def _bars(axis: Any, times: Mapping[str, list[float]], names: Mapping[str, str]) -> None:
    for at, (name, seconds) in enumerate(times.items()):
        places = [group + 0.2 * (at - 1.5) for group in range(len(SETTINGS))]
        axis.bar(places, seconds, width=0.19, label=names[name])
    labels = [f"{size / 1e6:g} MB,\n{clients} clients" for size, clients in SETTINGS]
    axis.set_xticks(range(len(SETTINGS)), labels)
    axis.set_yscale("log")
    axis.set_xlabel("S(w), |C|")
    axis.set_ylabel("communication of an epoch (s)")
    axis.set_ylim(top=12 * max(map(max, times.values())))
    axis.legend(fontsize=7, ncols=len(names), loc="upper center", columnspacing=1)
