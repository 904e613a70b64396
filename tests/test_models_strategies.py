"""Which strategy a layer's versions are kept by: the least that is exact."""

from __future__ import annotations

import copy
from collections import OrderedDict
from itertools import pairwise

import pytest
import torch
from test_models_versions import MOTIONS, follow, network, squares
from torch import Tensor, nn

from edgenet.errors import InputError
from edgenet.meters import Journal
from edgenet.models import pairs
from edgenet.models.layers import LayerList, build
from edgenet.models.motion import Motion
from edgenet.models.sizes import State
from edgenet.models.strategies import ADAPTIVE, Choice, plan_strategies
from edgenet.models.versioned import VersionedStage
from edgenet.schemes.timetable import timetable


def test_adaptive_stores_convolutions_and_never_takes_more_than_the_better() -> None:
    layers = network()
    x = torch.zeros(8, 2, 6, 6)
    motion = MOTIONS["plain"]
    chosen = {c.layer: c for c in plan_strategies(layers, x, 4, motion, ADAPTIVE)}
    assert chosen["conv"].strategy == "stored"
    for other in ("stored", "recomputed"):
        for choice in plan_strategies(layers, x, 4, motion, other):
            assert chosen[choice.layer].extra_bytes <= choice.extra_bytes
    wide = nn.Sequential(nn.Linear(64, 64))
    assert plan_strategies(wide, torch.zeros(4, 64), 4, motion, ADAPTIVE)[0].strategy == "low-rank"
    slow = Motion(0.1, 0.01)  # 1/mu cubed: a million
    assert plan_strategies(wide, torch.zeros(4, 64), 4, slow, ADAPTIVE)[0].strategy == "recomputed"


def test_adaptive_spends_what_it_saves_where_a_byte_saves_most_operations() -> None:
    """VGG16's convolutions, batch 8: pairs of C5 to C7 are smaller than their weights."""
    model = build("vgg16", classes=10, shape=(1, 32, 32), seed=1)
    first = LayerList(OrderedDict(list(model.named_children())[:13]))
    x = torch.zeros(1, 1, 32, 32).expand(8, -1, -1, -1)
    plain = MOTIONS["plain"]
    of = {way: plan_strategies(first, x, 4, plain, way) for way in ("stored", "recomputed")}
    needs = {way: sum(each.extra_bytes for each in choices) for way, choices in of.items()}
    chosen = plan_strategies(first, x, 4, plain, ADAPTIVE)
    assert [each.strategy for each in chosen] == ["stored"] * 7 + ["low-rank"] * 6
    assert sum(each.extra_bytes for each in chosen) < min(needs.values())
    bought = [way for way, pair in zip(chosen, of["recomputed"], strict=True)
              if way.extra_bytes > pair.extra_bytes]  # fmt: skip
    assert [each.layer.split(".")[0] for each in bought] == ["C5", "C6", "C7"]


def peak_bytes(
    layers: nn.Sequential, motion: Motion, strategy: str, x: Tensor, place: tuple[int, int]
) -> int:
    """Measured: the most that a stage holds while its window slides over a round."""
    window, batches = place
    table = timetable("pipedream", [window], [1] * batches)
    states = [State(*each) for each in table.states(0)]
    choices = plan_strategies(layers, x, window, motion, strategy, states)
    made = VersionedStage(copy.deepcopy(layers), motion, choices, journal=Journal())
    error = torch.zeros_like(layers(x))
    follow(made, window, [(x.clone(), error.clone()) for _ in range(batches)])
    return made.peak_bytes


CHAINS = {
    "even": ((16, 32), 8, 0.0),
    "wide": ((32, 32), 8, 0.0),
    "widening": ((16, 32, 32), 8, 0.0),
    "deep": ((16, 64, 64, 64), 4, 0.9),
    "little momentum": ((16, 64, 64), 4, 0.02),
    "one place": ((64, 64, 64), 1, 0.02),
}
"""Channels of convolutions, their images' side, and the momentum; where that is little, low rank is
out. Proportions as of VGG16's C5 and later."""


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize(
    "place", [(2, 5), (3, 7), (3, 3), (4, 4), (4, 5)], ids="window {0[0]} of {0[1]}".format
)
@pytest.mark.parametrize("batch", [1, 2, 4])
def test_adaptive_never_takes_more_than_the_better_as_measured(
    chain: str, place: tuple[int, int], batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scratch and all, in long rounds and in those that end before the window has slid."""
    monkeypatch.setattr(pairs, "SCRATCH_BYTES", 64 * 1024)
    channels, side, momentum = CHAINS[chain]
    layers = nn.Sequential(
        *(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(channels)),
        nn.Flatten(),
        nn.Linear(channels[-1] * side**2, 3),
    )
    x, motion = torch.zeros(batch, channels[0], side, side), Motion(0.01, momentum)
    peaks = {
        way: peak_bytes(layers, motion, way, x, place) for way in ("stored", "recomputed", ADAPTIVE)
    }
    assert peaks[ADAPTIVE] <= min(peaks["stored"], peaks["recomputed"])


def test_a_layer_that_cannot_be_taken_apart_is_refused_by_name() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2)

    with pytest.raises(InputError, match=r"layer 0 \(Block\)"):
        plan_strategies(nn.Sequential(Block()), torch.zeros(1, 2), 2, Motion(0.1), "stored")


def test_choices_are_values() -> None:
    choice = plan_strategies(squares(8), torch.zeros(2, 8), 3, Motion(0.1), "stored")[0]
    assert choice == Choice(
        layer="0",
        strategy="stored",
        weight_bytes=256,
        extra_bytes=512,
        extra_flops=64,
        version_bytes=256,
    )
