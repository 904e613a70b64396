"""Errors that leave before the gradients: the same numbers, in another order."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from edgenet.models.layers import build
from edgenet.models.local import LocalStage
from edgenet.schemes.timetable import timetable, urgent
from edgenet.topology.spec import Optimizer


def stages(model: str, *, error: bool = True) -> tuple[LocalStage, LocalStage]:
    """Two of the same layers; the first ones' error is not wanted, as of a model's beginning."""
    layers = build(model, classes=10, shape=(1, 28, 28), seed=3)
    made = (
        LocalStage(copy.deepcopy(layers), Optimizer(), 0.1, needs_input_error=error)
        for _ in range(2)
    )
    usual, early = made
    return usual, early


def answered(stage: LocalStage, x: Tensor, *, urgently: bool) -> Tensor:
    stage.use(stage.checkpoint()["steps"], urgent=urgently)
    return stage.backward(stage.forward(x).square())


@pytest.mark.parametrize("model", ["leaf-cnn-w8", "resnet-16-w8", "vgg16-w16", "two-nn-small"])
def test_urgent_backwards_give_the_same_errors_and_weights(model: str) -> None:
    usual, early = stages(model)
    draw = torch.Generator().manual_seed(1)
    for step in range(3):
        for part in range(3):
            x = torch.randn(4, 1, 28, 28, generator=draw)
            errors = [answered(usual, x, urgently=False), answered(early, x, urgently=part == 2)]
            assert torch.equal(*errors), (step, part)
        usual.step(), early.step()
    for mine, its in zip(usual.state(), early.state(), strict=True):
        assert torch.equal(mine, its)


def test_gradients_are_owed_and_counted_until_somebody_needs_them() -> None:
    usual, early = stages("leaf-cnn-w8")
    x = torch.randn(4, 1, 28, 28)
    for stage in (usual, early):
        answered(stage, x, urgently=stage is early)
    owed = early.stash_bytes
    assert owed > x.nbytes
    assert early.peak_stash_bytes >= owed
    assert usual.stash_bytes == 0
    assert all(parameter.grad is None for parameter in early.layers.parameters())
    for mine, its in zip(usual.gradients(), early.gradients(), strict=True):
        assert torch.equal(mine, its)
    assert early.stash_bytes == 0


def test_what_is_given_up_leaves_nothing_owed() -> None:
    _, early = stages("leaf-cnn-w8")
    answered(early, torch.randn(4, 1, 28, 28), urgently=True)
    early.forget()
    assert early.stash_bytes == 0
    assert all(not gradient.any() for gradient in early.gradients())


def test_a_first_stage_is_never_urgent() -> None:
    usual, early = stages("leaf-cnn-w8", error=False)
    x = torch.randn(4, 1, 28, 28)
    for stage in (usual, early):
        assert not answered(stage, x, urgently=True).any()
        assert stage.stash_bytes == 0


def test_the_last_backward_before_an_update_is_urgent() -> None:
    for row in timetable("1f1b", [3, 2, 1], [4, 2]).stages:
        assert urgent(row) == {(1, 4), (2, 2)}
    (row,) = timetable("model-parallel", [1], [1, 1]).stages
    assert urgent(row) == {(1, 0), (2, 0)}
