"""The networks of the SGLR paper: their parts, where they are cut, what their layers cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from edgenet.errors import InputError
from edgenet.models import alexnet, resnet
from edgenet.models.layers import build, cut, table
from edgenet.node.plan import resolve
from edgenet.topology.load import dump, loads
from tests.small_runs import assert_same, run, topology

GREY = (1, 28, 28)


def weighted_layers(model: nn.Module) -> int:
    """As papers count them: convolutions and products on the main path, no skip connections."""
    return sum(
        isinstance(module, (nn.Conv2d, nn.Linear)) and "skip" not in name
        for name, module in model.named_modules()
    )


def test_resnet_16_has_16_layers_and_the_papers_cut_leaves_9_and_7() -> None:
    model = build("resnet-16", classes=10, shape=GREY, seed=0)
    assert model.layer_names == ("C1", "B1", "B2", "B3", "B4", "B5", "B6", "B7", "F1")
    head, tail = cut(model, resnet.PAPER_CUT)
    assert (weighted_layers(head), weighted_layers(tail)) == (9, 7)
    assert round(table(head, GREY)[-1].activation_bytes / 2**20, 3) == 0.024  # sec. 4.4: S(L)


def test_table_of_resnet_16_counts_both_ways_through_a_block() -> None:
    rows = {r.name: r for r in table(build("resnet-16-w8", classes=10, shape=GREY, seed=0), GREY)}
    shapes = [rows[name].output_shape for name in ("C1", "B2", "B4", "B6", "B7", "F1")]
    assert shapes == [(8, 14, 14), (8, 14, 14), (16, 7, 7), (32, 4, 4), (64, 2, 2), (10,)]
    assert rows["C1"].forward_flops == 2 * 14 * 14 * 8 * 9
    assert rows["B1"].forward_flops == 2 * 14 * 14 * 8 * (9 * 8 + 9 * 8)
    assert rows["B3"].forward_flops == 2 * 7 * 7 * 16 * (9 * 8 + 9 * 16 + 8)
    assert rows["B4"].forward_flops == 2 * 7 * 7 * 16 * (9 * 16 + 9 * 16)
    assert rows["B7"].forward_flops == 2 * 2 * 2 * 64 * (9 * 32 + 9 * 64 + 32)
    # Weights, then a weight and a bias for each channel that is normalised.
    assert rows["B3"].parameters == 9 * 8 * 16 + 9 * 16 * 16 + 8 * 16 + 3 * 2 * 16
    assert rows["F1"].parameters == 64 * 10 + 10
    assert rows["B4"].activation_bytes == 4 * 16 * 7 * 7


def test_a_block_adds_its_input_to_what_it_computes() -> None:
    block = resnet.Block(4, 4, 1).eval()
    nn.init.zeros_(block.conv1.weight)
    nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 4, 5, 5)
    assert torch.equal(block(x), x.relu())


def test_alexnets_smashed_data_have_the_papers_size() -> None:
    model = build("alexnet", classes=10, shape=GREY, seed=0)
    assert model.layer_names == ("C1", "C2", "C3", "C4", "C5", "F1", "F2", "F3")
    rows = {row.name: row for row in table(model, GREY)}
    assert rows[alexnet.PAPER_CUT].output_shape == (32, 14, 14)
    assert round(rows["C1"].activation_bytes / 2**20, 3) == 0.024  # sec. 4.4: S(L) = .024 MB
    assert rows["C5"].output_shape == (256, 3, 3)
    assert rows["C3"].forward_flops == 2 * 7 * 7 * 128 * 9 * 64
    assert rows["F1"].parameters == 256 * 3 * 3 * 1024 + 1024
    assert weighted_layers(model) == 8


def test_alexnet_says_when_images_are_too_small() -> None:
    with pytest.raises(InputError, match="8x8 or more, not 7x28"):
        build("alexnet-w4", classes=10, shape=(1, 7, 28), seed=0)


@pytest.mark.parametrize(("model", "at"), [("resnet-16-w4", "B4"), ("alexnet-w4", "C1")])
def test_a_topology_can_name_them(model: str, at: str) -> None:
    spec = topology("psl", 2, model=model, cut=at)
    assert resolve(loads(dump(spec), file="dumped.yaml")).digest == resolve(spec).digest


def test_batch_normalisation_trains_alike_split_and_whole(tmp_path: Path) -> None:
    """Running statistics and all: PSL with one client is centralised training."""
    small: dict[str, Any] = {
        "model": "resnet-16-w4",
        "data": {"name": "digits", "train": 24, "test": 10},
        "rounds": 2,
        "batch": 8,
    }
    whole = run(topology("centralized", **small), tmp_path / "whole")
    split = run(topology("psl", cut="B4", **small), tmp_path / "split")
    assert_same(whole.state, split.state)
    assert int(split.state["C1.norm.num_batches_tracked"]) == 6
