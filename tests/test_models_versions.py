"""Weight versions: every strategy against torch's autograd on copies of the model."""

from __future__ import annotations

import copy
from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn

from edgenet.errors import NodeError
from edgenet.meters import Journal
from edgenet.models import pairs
from edgenet.models.motion import Motion
from edgenet.models.strategies import ADAPTIVE, plan_strategies
from edgenet.models.versioned import VersionedStage
from edgenet.schemes.timetable import BACKWARD, FORWARD, sliding

MOTIONS = {
    "plain": Motion(0.1),
    "decay": Motion(0.1, 0.0, 0.01),
    "momentum": Motion(0.05, 0.9),
    "both": Motion(0.05, 0.8, 0.01),
}


def network() -> nn.Sequential:
    """Every kind of layer."""
    torch.manual_seed(5)
    layers = OrderedDict(
        conv=nn.Conv2d(2, 4, 3, padding=1),
        norm=nn.BatchNorm2d(4),
        relu=nn.ReLU(),
        pool=nn.MaxPool2d(2),
        flat=nn.Flatten(),
        one=nn.Linear(36, 12),
        relu2=nn.ReLU(),
        two=nn.Linear(12, 3, bias=False),
    )
    return nn.Sequential(layers)


def stage(
    layers: nn.Sequential,
    motion: Motion,
    strategy: str,
    window: int,
    batch: int = 5,
    shape: tuple[int, ...] = (2, 6, 6),
) -> VersionedStage:
    x = torch.zeros(batch, *shape)
    choices = plan_strategies(layers, x, window, motion, strategy)
    return VersionedStage(layers, motion, choices, journal=Journal())


def data(count: int, *shape: int) -> list[tuple[Tensor, Tensor]]:
    """Inputs, and errors of outputs."""
    random = torch.Generator().manual_seed(9)
    return [
        (torch.randn(*shape, generator=random), 0.1 * torch.randn(shape[0], 3, generator=random))
        for _ in range(count)
    ]


def reference(
    layers: nn.Sequential, motion: Motion, window: int, batches: list[tuple[Tensor, Tensor]]
) -> tuple[list[Tensor], list[Tensor]]:
    """(weights at the end, errors of the inputs): a copy of the model for each version."""
    newest = [p.detach().clone() for p in layers.parameters()]
    velocity = [torch.zeros_like(p) for p in newest]
    open_: dict[int, tuple[Tensor, Tensor, list[Tensor]]] = {}
    errors = []
    for action in sliding(window, len(batches)):
        x, error = batches[action.batch - 1]
        if action.verb == FORWARD:
            leaf = x.clone().requires_grad_()
            weights = [t.clone().requires_grad_() for t in newest]
            names = [name for name, _ in layers.named_parameters()]
            y = torch.func.functional_call(layers, dict(zip(names, weights, strict=True)), leaf)
            open_[action.batch] = (leaf, y, weights)
        elif action.verb == BACKWARD:
            leaf, y, weights = open_.pop(action.batch)
            (y * error).sum().backward()
            errors.append(leaf.grad)
        else:
            for w, v, at in zip(newest, velocity, weights, strict=True):
                v.mul_(motion.momentum).add_(at.grad + motion.decay * w)
                w.sub_(motion.lr * v)
    return newest, errors


def follow(made: VersionedStage, window: int, batches: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    errors = []
    for action in sliding(window, len(batches)):
        x, error = batches[action.batch - 1]
        if action.verb == FORWARD:
            made.forward(x)
        elif action.verb == BACKWARD:
            errors.append(made.backward(error))
        else:
            made.step()
    return errors


@pytest.mark.parametrize("window", [1, 2, 3, 6])
@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("strategy", ["stored", "recomputed", ADAPTIVE])
def test_weights_and_errors_are_those_of_stored_copies(
    strategy: str, motion: str, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairs, "SCRATCH_BYTES", 400)  # several blocks a layer
    layers, batches = network(), data(9, 5, 2, 6, 6)
    weights, errors = reference(copy.deepcopy(layers), MOTIONS[motion], window, batches)
    made = stage(layers, MOTIONS[motion], strategy, window)
    for mine, its in zip(follow(made, window, batches), errors, strict=True):
        torch.testing.assert_close(mine, its, rtol=0, atol=1e-5)
    for mine, its in zip(layers.parameters(), weights, strict=True):
        torch.testing.assert_close(mine.detach(), its, rtol=0, atol=1e-5)


@pytest.mark.parametrize("count", range(1, 10))
def test_stored_has_exactly_the_versions_that_are_needed(count: int) -> None:
    """Also while a short round's window drains: its first mini-batches share a version."""
    layers = squares(4)
    made = stage(layers, MOTIONS["plain"], "stored", 4, shape=(4,))
    for action in sliding(4, count):
        if action.verb == FORWARD:
            made.forward(torch.ones(5, 4))
        elif action.verb == BACKWARD:
            made.backward(torch.ones(5, 4))
        else:
            made.step()
            held = made.memory()
            assert held.versions == held.live * layers[0].weight.nbytes
    assert made.memory().live == 1


@pytest.mark.parametrize("window", [1, 2, 4])
@pytest.mark.parametrize("motion", MOTIONS)
def test_convolutions_of_any_form_pass_errors_on_by_low_rank(window: int, motion: str) -> None:
    torch.manual_seed(6)
    layers = nn.Sequential(
        nn.Conv2d(2, 4, (3, 2), padding=(1, 2), dilation=(1, 2)),
        nn.ReLU(),
        nn.Conv2d(4, 3, 3, stride=(2, 1), bias=False),
        nn.ReLU(),
        nn.Conv2d(3, 1, (2, 4), stride=2),
        nn.Flatten(),
        nn.Linear(2, 3),
    )
    batches, chosen = data(8, 5, 2, 6, 6), MOTIONS[motion]
    weights, errors = reference(copy.deepcopy(layers), chosen, window, batches)
    made = stage(layers, chosen, "low-rank", window, shape=(2, 6, 6))
    for mine, its in zip(follow(made, window, batches), errors, strict=True):
        torch.testing.assert_close(mine, its, rtol=0, atol=1e-5)
    for mine, its in zip(layers.parameters(), weights, strict=True):
        torch.testing.assert_close(mine.detach(), its, rtol=0, atol=1e-5)


def test_buffers_of_a_normalisation_are_torchs() -> None:
    layers, batches = network(), data(4, 5, 2, 6, 6)
    other = copy.deepcopy(layers)
    reference(other, MOTIONS["plain"], 1, batches)
    follow(stage(layers, MOTIONS["plain"], "stored", 1), 1, batches)
    assert list(other.buffers())[2] == 4
    for mine, its in zip(layers.buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(mine, its)


def test_greedy_is_another_algorithm_with_a_window() -> None:
    batches = data(9, 5, 2, 6, 6)
    greedy, exact = network(), network()
    follow(stage(greedy, MOTIONS["plain"], "newest", 3), 3, batches)
    weights, _ = reference(exact, MOTIONS["plain"], 3, batches)
    far = max(
        float((a.detach() - b).abs().max())
        for a, b in zip(greedy.parameters(), weights, strict=True)
    )
    assert far > 1e-3


@pytest.mark.parametrize("count", [0, 1, 2, 5])
@pytest.mark.parametrize("motion", MOTIONS)
def test_later_and_earlier_undo_each_other(motion: str, count: int) -> None:
    """Equations (2) and (4) on numbers, against (1) step by step."""
    move, w, v = MOTIONS[motion], 0.7, 0.3 if MOTIONS[motion].momentum else 0.0
    first, gradients = (w, v), [0.4, -1.1, 2.0, 0.25, -0.6][:count]
    for g in gradients:
        v = move.momentum * v + g + move.decay * w
        w -= move.lr * v
    alpha, beta, gammas = move.later(count)
    assert alpha * first[0] + beta * first[1] + sum(
        a * b for a, b in zip(gammas, gradients, strict=True)
    ) == pytest.approx(w, abs=1e-12)
    now, past, rest = move.earlier(count)
    assert now * w + past * v + sum(
        a * b for a, b in zip(rest, gradients, strict=True)
    ) == pytest.approx(first[0], abs=1e-9)


def squares(width: int, count: int = 1) -> nn.Sequential:
    """The network of Theorem 1: square fully connected layers, without biases."""
    torch.manual_seed(1)
    return nn.Sequential(*(nn.Linear(width, width, bias=False) for _ in range(count)))


@pytest.mark.parametrize("window", range(1, 9))
def test_theorem_1_element_by_element(window: int) -> None:
    """At most Omega/N + 2 (m - 1) sqrt(Omega/N) elements, where PipeDream holds m Omega/N."""
    width = 16
    layer = width * width  # Omega/N
    bound = layer + 2 * (window - 1) * width
    peaks = {}
    for strategy in ("stored", "recomputed", "low-rank"):
        made = stage_of_vectors(squares(width), strategy, window)
        random = torch.Generator().manual_seed(2)
        for action in sliding(window, 3 * window + 2):
            if action.verb == FORWARD:
                made.forward(torch.randn(1, width, generator=random))
            elif action.verb == BACKWARD:
                made.backward(torch.randn(1, width, generator=random))
            else:
                made.step()
                held = made.memory()
                peaks[strategy] = max(peaks.get(strategy, 0), (held.versions + held.stash) // 4)
        assert made.peak.live == window
    assert peaks["stored"] == window * layer
    assert peaks["recomputed"] == bound
    assert peaks["low-rank"] == bound


def stage_of_vectors(layers: nn.Sequential, strategy: str, window: int) -> VersionedStage:
    x = torch.zeros(1, layers[0].in_features)
    motion = MOTIONS["plain"]
    choices = plan_strategies(layers, x, window, motion, strategy)
    return VersionedStage(layers, motion, choices, journal=Journal())


def test_the_scratch_is_a_block_and_not_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "SCRATCH_BYTES", 64 * 64 * 4 // 16)
    made = stage_of_vectors(squares(64, 3), "recomputed", 4)
    for action in sliding(4, 9):
        if action.verb == FORWARD:
            made.forward(torch.ones(1, 64))
        elif action.verb == BACKWARD:
            made.backward(torch.ones(1, 64))
        else:
            made.step()
    assert made.peak.scratch == 64 * 64 * 4 // 16
    assert made.peak.versions == 3 * 64 * 64 * 4


def test_bytes_are_counted_exactly() -> None:
    """conv | norm | relu | pool | flatten | linear | relu | linear, batch 5, one open forward."""
    made = stage(network(), MOTIONS["momentum"], "stored", 2)
    weights = sum(p.nbytes for p in made.layers.parameters())
    before = made.memory()
    assert before.versions == weights + sum(b.nbytes for b in made.layers.buffers())
    assert (before.optimiser, before.saved, before.stash, before.live) == (weights, 0, 0, 1)
    made.forward(torch.randn(5, 2, 6, 6))
    images, pooled, hidden = 5 * 4 * 36 * 4, 5 * 4 * 9, 5 * 12 * 4
    expected = (
        5 * 2 * 36 * 4  # input
        + 2 * images  # of norm and of relu; relu's output is what pool saves
        + 2 * 4 * 4  # norm's mean and deviation
        + images  # relu's output
        + pooled * (4 + 8)  # pool's output, and where the largest stood
        + 2 * hidden  # relu2's input and output
    )
    once = made.memory().saved
    assert once in (expected, expected - images)
    made.forward(torch.randn(5, 2, 6, 6))
    assert made.memory().saved == 2 * once


def test_misuse_is_named() -> None:
    made = stage_of_vectors(squares(4), "stored", 2)
    with pytest.raises(NodeError, match="without an open forward"):
        made.backward(torch.ones(1, 4))
    made.forward(torch.ones(1, 4))
    with pytest.raises(NodeError, match="open forwards"):
        made.state()
    with pytest.raises(NodeError, match="answer the forwards"):
        made.backward(torch.ones(2, 4))
