"""LocalStage: its verbs, what it refuses, and what it counts."""

from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn

from edgenet.errors import InputError, NodeError
from edgenet.models.layers import LayerList, build
from edgenet.models.local import LocalStage
from edgenet.models.stage import Stage, cross_entropy
from edgenet.topology.spec import Optimizer

GREY = (1, 28, 28)


def batches(count: int = 4) -> list[tuple[Tensor, Tensor]]:
    random = torch.Generator().manual_seed(0)
    return [
        (torch.randn(6, *GREY, generator=random), torch.randint(10, (6,), generator=random))
        for _ in range(count)
    ]


def model(name: str = "two-nn-small") -> LayerList:
    return build(name, classes=10, shape=GREY, seed=1)


def stage(layers: nn.Module | None = None, spec: Optimizer | None = None) -> LocalStage:
    return LocalStage(layers or model(), spec or Optimizer(), 0.05)


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


def test_gradients_of_several_batches_add_up() -> None:
    whole, plain = stage(), model()
    for x, labels in batches(3):
        whole.backward(cross_entropy(whole.forward(x), labels)[1])
        nn.functional.cross_entropy(plain(x), labels).backward()
    for mine, theirs in zip(whole.layers.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=0, atol=1e-6)
    whole.step()
    assert all(p.grad is None for p in whole.layers.parameters())


def test_backward_answers_the_oldest_forward() -> None:
    layers = LayerList(OrderedDict(F=nn.Linear(2, 1, bias=False)))
    part = stage(layers)
    for value in (1.0, 10.0):
        part.forward(torch.full((1, 2), value))
    assert part.open_forwards == 2
    for value in (1.0, 11.0):
        part.backward(torch.ones(1, 1))
        assert layers[0].weight.grad.tolist() == [[value, value]]
    with pytest.raises(NodeError, match="without an open forward"):
        part.backward(torch.ones(1, 1))


def test_results_are_detached_and_arguments_left_alone() -> None:
    part, x = stage(), torch.rand(2, *GREY)
    before = x.clone()
    y = part.forward(x)
    error = part.backward(torch.ones_like(y))
    assert not y.requires_grad
    assert not error.requires_grad
    assert not x.requires_grad
    assert torch.equal(x, before)
    assert error.shape == x.shape
    assert error.abs().sum() > 0


def test_the_error_of_the_data_is_not_computed_unless_asked_for() -> None:
    for part, x in (
        (LocalStage(model(), Optimizer(), 0.1, needs_input_error=False), torch.rand(2, *GREY)),
        (stage(nn.Sequential(nn.Embedding(5, 3))), torch.tensor([[1, 4]])),
    ):
        y = part.forward(x)
        error = part.backward(torch.ones_like(y))
        assert error.shape == x.shape
        assert not error.any()
        assert error.untyped_storage().nbytes() <= 8
        assert all(p.grad is not None for p in part.layers.parameters())


def test_changed_weights_and_wrong_errors_are_refused() -> None:
    part = stage()
    y = part.forward(torch.rand(2, *GREY))
    with pytest.raises(NodeError, match=r"float32 \(3, 10\).*float32 \(2, 10\)"):
        part.backward(torch.ones(3, 10))
    with pytest.raises(NodeError, match="float64"):
        part.backward(y.double())
    part.step()
    with pytest.raises(NodeError, match="weights changed between"):
        part.backward(y)
    part.forget()
    assert part.stash_bytes == part.open_forwards == 0
    y = part.forward(torch.rand(2, *GREY))
    part.load(part.state())
    with pytest.raises(NodeError, match="weights changed between"):
        part.backward(y)


def test_forget_drops_gradients_too() -> None:
    part = stage()
    before = [t.clone() for t in part.state()]
    part.backward(part.forward(torch.rand(2, *GREY)))
    part.forget()
    part.step()
    assert all(torch.equal(a, b) for a, b in zip(part.state(), before, strict=True))


def test_state_is_live_and_load_copies() -> None:
    one, other = stage(), stage(build("two-nn-small", classes=10, shape=GREY, seed=2))
    held = one.state()
    one.load(other.state())
    assert all(torch.equal(a, b) for a, b in zip(held, other.state(), strict=True))
    train(one)
    assert not torch.equal(held[0], other.state()[0])
    assert torch.equal(held[0], one.layers.state_dict()[one.names[0]])


def test_load_refuses_another_models_state() -> None:
    part = stage()
    before = part.state()[0].clone()
    with pytest.raises(NodeError, match=r"given 5 tensors; the stage has 6: F1\.linear\.weight"):
        part.load(part.state()[:-1])
    wrong = [torch.zeros_like(t) for t in part.state()]
    wrong[-1] = torch.zeros(11)
    with pytest.raises(NodeError, match=r"float32 \(11,\) for F3.linear.bias, .* \(10,\)"):
        part.load(wrong)
    assert torch.equal(part.state()[0], before)


def test_infer_keeps_nothing_and_is_in_evaluation_mode() -> None:
    layers = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.9), nn.BatchNorm1d(4))
    part, x = stage(layers), torch.ones(8, 4)
    before = [t.clone() for t in part.state()]
    y = part.infer(x)
    assert torch.equal(y, part.infer(x))
    assert not y.requires_grad
    assert part.open_forwards == part.peak_stash_bytes == 0
    assert all(torch.equal(a, b) for a, b in zip(part.state(), before, strict=True))
    assert layers.training
    assert part.infer(y).shape == part.forward(y).shape  # its result may be trained on


def test_pull_adds_the_proximal_term() -> None:
    mu, lr = 0.5, 0.05
    part = stage()
    anchor = [torch.zeros_like(t) for t in part.state()]
    before = [t.clone() for t in part.state()]
    part.pull(anchor, mu)  # without a backward the gradient is the term alone
    part.step()
    for now, w in zip(part.state(), before, strict=True):
        torch.testing.assert_close(now, w * (1 - lr * mu))
    part.pull(anchor, 0.0)
    assert all(p.grad is None for p in part.layers.parameters())
    with pytest.raises(NodeError, match="pull was given 1 tensors"):
        part.pull(anchor[:1], mu)


def test_pull_leaves_buffers_alone() -> None:
    part = stage(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    part.pull([torch.zeros_like(t) for t in part.state()], 1.0)
    part.step()
    state = dict(zip(part.names, part.state(), strict=True))
    assert state["1.running_var"].tolist() == [1, 1]
    assert state["1.weight"].tolist() == pytest.approx([0.95, 0.95])


def test_bytes_are_counted_once_per_memory() -> None:
    part = stage(LayerList(OrderedDict(F=nn.Sequential(nn.Linear(100, 50), nn.ReLU()))))
    assert part.weight_bytes == 4 * (100 * 50 + 50)
    x = torch.rand(8, 100)
    kept = 4 * 8 * (100 + 50)  # the input, and ReLU's output; not the weights, nor what it clipped
    for count in (1, 2):
        y = part.forward(x)
        assert part.stash_bytes == count * kept
    part.backward(y)
    part.backward(y)
    assert part.stash_bytes == 0
    assert part.peak_stash_bytes == 2 * kept


def test_a_stage_without_weights_passes_errors_on() -> None:
    part = stage(nn.Sequential(nn.ReLU()))
    part.forward(torch.tensor([[-1.0, 2.0]]))
    assert part.backward(torch.ones(1, 2)).tolist() == [[0, 1]]
    part.step()
    assert part.state() == []


@pytest.mark.parametrize(
    ("spec", "lr", "text"),
    [
        (Optimizer(name="lamb"), 0.1, "'lamb' is unknown; the choices are sgd, adam"),
        (Optimizer(), -1.0, "lr must be a number of at least 0, not -1.0"),
        (Optimizer(), float("nan"), "not nan"),
        (Optimizer(momentum=1.0), 0.1, "momentum must be a number of at least 0 and below 1"),
        (Optimizer(weight_decay=float("inf")), 0.1, "weight_decay"),
        (Optimizer(name="adam", betas=(0.9, 1.0)), 0.1, "betas"),
    ],
)
def test_impossible_optimizers_say_why(spec: Optimizer, lr: float, text: str) -> None:
    with pytest.raises(InputError) as caught:
        LocalStage(model(), spec, lr)
    assert text in str(caught.value)


def test_training_does_not_import_the_compiler() -> None:
    """It costs a small board over a second and 100 MB a process, see optimizers.py."""
    program = (
        "import sys, torch\n"
        "from edgenet.models.calibrate import calibrate\n"
        "from edgenet.models.local import LocalStage\n"
        "from edgenet.topology.spec import Optimizer\n"
        "calibrate(0.0)\n"
        "stage = LocalStage(torch.nn.Linear(2, 2), Optimizer(name='adam'), 0.1)\n"
        "stage.backward(stage.forward(torch.ones(1, 2)))\n"
        "stage.step()\n"
        "print([m for m in ('torch._dynamo', 'sympy', 'torchvision') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
