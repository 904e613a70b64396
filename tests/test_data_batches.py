"""Batches of a share, and testing a model."""

from __future__ import annotations

import math
import threading

import pytest
import torch
from torch import Tensor, nn

from edgenet.data import Dataset, ShareBatches, evaluate, load
from edgenet.data.batches import evaluate_at
from edgenet.errors import InputError
from edgenet.models.layers import build
from edgenet.models.local import LocalStage
from edgenet.schemes.bench import Batches
from edgenet.topology.spec import Optimizer


def numbered(samples: int = 20, test: int = 7) -> Dataset:
    """Every image says its number, in both channels; labels are even or odd."""
    x = torch.arange(samples, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 2, 3, 3)
    y = torch.arange(samples) % 2
    return Dataset(
        name="numbered",
        train_x=x,
        train_y=y,
        test_x=x[:test],
        test_y=y[:test],
        classes=2,
        mean=(0.0, 0.1),
        std=(1 / 255, 0.5),
    )


def batches(batch: int = 3, seed: int = 1, share: int | str = 0, samples: int = 10) -> Batches:
    return ShareBatches(numbered(), torch.arange(samples) * 2, batch, seed, share)


def order(one_pass: Batches) -> list[int]:
    """The samples' numbers in the order of one pass."""
    return torch.cat([x[:, 0, 0, 0] for x, _ in one_pass]).round().int().tolist()


def test_a_pass_has_every_sample_once_and_keeps_the_last_batch() -> None:
    share = batches()
    sizes = [len(labels) for _, labels in share]
    assert (share.samples, len(share)) == (10, 4)
    assert sizes == [3, 3, 3, 1]
    assert sorted(order(share)) == list(range(0, 20, 2))
    assert len(batches(batch=5)) == 2
    assert len(batches(batch=100)) == 1


def test_every_pass_is_in_a_new_order_that_only_its_key_decides() -> None:
    torch.manual_seed(0)
    share = batches(samples=10)
    passes = [order(share) for _ in range(3)]
    assert len({tuple(one) for one in passes}) == 3
    torch.manual_seed(1)
    again = batches(batch=10)
    assert [order(again) for _ in range(3)] == passes
    assert order(batches(seed=2)) != passes[0]
    assert order(batches(share=1)) != passes[0]
    assert order(batches(share="cam0")) != passes[0]


def test_torchs_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    order(batches())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_run_can_go_on_with_a_later_pass() -> None:
    whole, resumed = batches(), batches()
    passes = [order(whole) for _ in range(3)]
    assert isinstance(resumed, ShareBatches)
    resumed.restore({"passes": 2})
    assert order(resumed) == passes[2]


def test_passes_that_overlap_are_different_ones() -> None:
    share = batches(batch=1)
    pairs = list(zip(share, share, strict=True))
    left = [int(x[0, 0, 0, 0].round()) for (x, _), _ in pairs]
    right = [int(x[0, 0, 0, 0].round()) for _, (x, _) in pairs]
    assert sorted(left) == sorted(right)
    assert left != right


def test_batches_are_normalised_per_channel() -> None:
    data = numbered()
    before = data.train_x.clone()
    ((x, labels),) = ShareBatches(data, torch.tensor([5, 4]), 9, 1, 0)
    first = 0 if labels[0] == 1 else 1
    assert x.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert x.shape == (2, 2, 3, 3)
    torch.testing.assert_close(x[first, 0], torch.full((3, 3), 5.0))
    torch.testing.assert_close(x[first, 1], torch.full((3, 3), (5 / 255 - 0.1) / 0.5))
    assert torch.equal(data.train_x, before)


def test_real_data_has_mean_0_and_deviation_1() -> None:
    data = load("digits")
    ((x, _),) = ShareBatches(data, torch.arange(len(data.train_y)), 5000, 1, 0)
    assert abs(float(x.mean())) < 1e-3
    assert abs(float(x.std()) - 1) < 1e-3


@pytest.mark.parametrize(("batch", "samples"), [(0, 10), (-1, 10), (3, 0)])
def test_impossible_batches_say_why(batch: int, samples: int) -> None:
    with pytest.raises(InputError, match=f"'cam0' has {samples} samples in batches of {batch}"):
        batches(batch=batch, samples=samples, share="cam0")


def test_the_test_set_comes_in_order() -> None:
    asked: list[Tensor] = []

    def infer(at: Tensor) -> Tensor:
        asked.append(at)
        return nn.functional.one_hot(at % 2, 2).float()

    score = evaluate_at(infer, numbered(), batch=3)
    assert [len(at) for at in asked] == [3, 3, 1]
    assert torch.cat(asked).tolist() == list(range(7))
    assert (score.accuracy, score.samples) == (1.0, 7)


def always_even(x: Tensor) -> Tensor:
    return torch.tensor([[2.0, 0.0]]).expand(len(x), 2)


def test_evaluate_gives_mean_loss_and_share_of_right_answers() -> None:
    right, wrong = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))
    for batch in (1, 2, 7, 100):
        score = evaluate(always_even, numbered(), batch)
        assert score.samples == 7
        assert score.accuracy == pytest.approx(4 / 7)
        assert score.loss == pytest.approx((4 * right + 3 * wrong) / 7)


def test_shares_of_the_test_set_add_up() -> None:
    data = numbered()
    parts = [evaluate(always_even, data, 2, torch.arange(i, 7, 3)) for i in range(3)]
    whole = evaluate(always_even, data)
    assert sum(part.samples for part in parts) == 7
    assert sum(part.loss * part.samples for part in parts) == pytest.approx(7 * whole.loss)


def test_a_stage_is_tested_without_disturbing_it() -> None:
    data = load("digits")
    model = build("two-nn", classes=10, shape=data.shape, seed=0)
    stage = LocalStage(model, Optimizer(), 0.1)
    score = evaluate(stage, data)
    assert score == evaluate(model, data)
    assert score.samples == 360
    assert score.loss == pytest.approx(math.log(10), abs=0.2)
    assert stage.open_forwards == 0
    assert model.training


def test_threads_share_a_dataset() -> None:
    data, found = load("digits"), {}

    def read(share: int) -> None:
        own = ShareBatches(data, torch.arange(share, 1437, 4), 32, 1, share)
        found[share] = sum(float(x.double().sum()) for x, _ in own)

    threads = [threading.Thread(target=read, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for share in range(4):
        x = data.normalised(data.train_x[share::4])
        assert found[share] == pytest.approx(float(x.double().sum()), abs=0.1)


def test_two_nn_learns_digits() -> None:
    data = load("digits")
    model = build("two-nn", classes=10, shape=data.shape, seed=0)
    stage = LocalStage(model, Optimizer(momentum=0.9), 0.02, needs_input_error=False)
    share = ShareBatches(data, torch.arange(len(data.train_y)), 32, 0, 0)
    for _ in range(3):
        for x, labels in share:
            logits = stage.forward(x).requires_grad_()
            nn.functional.cross_entropy(logits, labels).backward()
            assert logits.grad is not None
            stage.backward(logits.grad)
            stage.step()
    assert evaluate(stage, data).accuracy > 0.93
