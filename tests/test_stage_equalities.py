"""A model that is split trains as if it were not, and as torch's own loop would."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from edgenet.models.layers import LayerList, build, cut
from edgenet.models.local import LocalStage
from edgenet.models.stage import Stage, cross_entropy
from edgenet.topology.spec import Optimizer

GREY = (1, 28, 28)
SPECS = {
    "sgd": Optimizer(),
    "momentum": Optimizer(momentum=0.9, weight_decay=1e-3),
    "adam": Optimizer(name="adam", weight_decay=1e-3),
}
CUTS = [("two-nn", 1), ("two-nn", 2), ("two-nn-small", 1), ("two-nn-small", 2)]
CUTS += [("leaf-cnn", at) for at in (1, 2, 3)]


def batches(count: int = 4) -> list[tuple[Tensor, Tensor]]:
    random = torch.Generator().manual_seed(0)
    return [
        (torch.randn(6, *GREY, generator=random), torch.randint(10, (6,), generator=random))
        for _ in range(count)
    ]


def model(name: str = "two-nn-small") -> LayerList:
    return build(name, classes=10, shape=GREY, seed=1)


def train(*stages: Stage) -> None:
    """Go once over the batches, the way split schemes do."""
    for x, labels in batches():
        for part in stages:
            x = part.forward(x)
        _, error = cross_entropy(x, labels)
        for part in reversed(stages):
            error = part.backward(error)
        for part in stages:
            part.step()


def closed(name: str, spec: Optimizer, *, fused: bool) -> list[Tensor]:
    """The weights after the plainest loop in torch."""
    plain = model(name)
    options = {"lr": 0.05, "weight_decay": spec.weight_decay, "fused": fused}
    if spec.name == "adam":
        update: torch.optim.Optimizer = torch.optim.Adam(
            plain.parameters(), betas=spec.betas, **options
        )
    else:
        update = torch.optim.SGD(plain.parameters(), momentum=spec.momentum, **options)
    for x, labels in batches():
        update.zero_grad()
        nn.functional.cross_entropy(plain(x), labels).backward()
        update.step()
    return list(plain.state_dict().values())


@pytest.mark.parametrize("optimizer", SPECS)
@pytest.mark.parametrize("name", ["two-nn", "leaf-cnn"])
def test_a_stage_trains_exactly_like_torch(name: str, optimizer: str) -> None:
    whole = LocalStage(model(name), SPECS[optimizer], 0.05, needs_input_error=False)
    train(whole)
    for mine, theirs in zip(whole.state(), closed(name, SPECS[optimizer], fused=True), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize(
    ("optimizer", "tolerance"), [("sgd", 0), ("momentum", 1e-6), ("adam", 1e-4)]
)
def test_fused_updates_are_the_plain_ones(optimizer: str, tolerance: float) -> None:
    whole = LocalStage(model("two-nn"), SPECS[optimizer], 0.05)
    train(whole)
    for mine, theirs in zip(
        whole.state(), closed("two-nn", SPECS[optimizer], fused=False), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("optimizer", SPECS)
@pytest.mark.parametrize(("name", "at"), CUTS)
def test_every_cut_trains_as_the_whole(name: str, at: int, optimizer: str) -> None:
    spec = SPECS[optimizer]
    whole = LocalStage(model(name), spec, 0.05, needs_input_error=False)
    head, tail = cut(model(name), at)
    first = LocalStage(head, spec, 0.05, needs_input_error=False)
    second = LocalStage(tail, spec, 0.05)
    train(whole)
    train(first, second)
    assert first.names + second.names == whole.names
    for mine, theirs in zip(first.state() + second.state(), whole.state(), strict=True):
        assert torch.equal(mine, theirs)
