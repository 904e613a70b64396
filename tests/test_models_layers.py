"""Models: what they are made of, that the seed alone decides, and that they can be cut anywhere."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from edgenet.errors import InputError
from edgenet.models.layers import MODELS, LayerList, build, cut, initialise, table

GREY = (1, 28, 28)


def make(name: str, seed: int = 1, classes: int = 10) -> LayerList:
    return build(name, classes=classes, shape=GREY, seed=seed)


def same(one: nn.Module, other: nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return list(a) == list(b) and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize(
    ("name", "classes", "parameters"),
    [
        ("two-nn", 10, 199_210),  # McMahan et al. 2017, sec. 3
        ("two-nn-small", 10, 784 * 50 + 50 + 50 * 20 + 20 + 20 * 10 + 10),
        ("leaf-cnn", 62, 6_603_710),  # LEAF's CNN for FEMNIST
        ("leaf-cnn-w8", 62, 208 + 3216 + 784 * 512 + 512 + 512 * 62 + 62),
    ],
)
def test_models_have_the_published_sizes(name: str, classes: int, parameters: int) -> None:
    model = make(name, classes=classes)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert model(torch.zeros(3, *GREY)).shape == (3, classes)


def test_leaf_cnn_has_the_papers_layer_names() -> None:
    assert make("leaf-cnn").layer_names == ("C1", "C2", "F1", "F2")


@pytest.mark.parametrize("name", MODELS)
def test_models_take_other_images(name: str) -> None:
    model = build(name, classes=7, shape=(3, 32, 32), seed=0)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 7)


@pytest.mark.parametrize("name", MODELS)
def test_the_seed_alone_decides(name: str) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = make(name)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert same(first, make(name))
    assert not same(first, make(name, seed=2))


def test_threads_do_not_disturb_each_other() -> None:
    with ThreadPoolExecutor(8) as pool:
        models = list(pool.map(lambda i: make("two-nn", seed=i % 2), range(32)))
    expected = [make("two-nn", seed=0), make("two-nn", seed=1)]
    assert all(same(model, expected[i % 2]) for i, model in enumerate(models))


def test_weights_are_those_of_torchs_own_initialisation() -> None:
    torch.manual_seed(3)
    plain = nn.Sequential(nn.Conv2d(1, 32, 5), nn.Conv2d(32, 64, 5), nn.Linear(3136, 2048))
    model = make("leaf-cnn", seed=3)
    ours = list(model.parameters())[:6]
    for mine, theirs in zip(ours, plain.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-7)


def test_initialise_knows_normalisation_and_refuses_what_it_does_not_know() -> None:
    norm = nn.BatchNorm2d(2)
    norm.weight.data.fill_(9)
    initialise(nn.Sequential(norm), torch.Generator())
    assert norm.weight.tolist() == [1, 1]
    with pytest.raises(TypeError, match="Embedding"):
        initialise(nn.Sequential(nn.Embedding(2, 2)), torch.Generator())


@pytest.mark.parametrize("name", MODELS)
def test_every_cut_computes_the_same_and_keeps_the_names(name: str) -> None:
    model = make(name)
    x = torch.rand(4, *GREY)
    for count in range(1, len(model)):
        for at in (count, model.layer_names[count - 1]):
            head, tail = cut(model, at)
            assert torch.equal(tail(head(x)), model(x))
            assert [*head.state_dict(), *tail.state_dict()] == list(model.state_dict())
            assert head.layer_names + tail.layer_names == model.layer_names
            assert next(head.parameters()) is next(model.parameters())


@pytest.mark.parametrize("at", ["F2", "C3", "", 0, 4, -1, True, 1.0])
def test_an_impossible_cut_lists_the_choices(at: object) -> None:
    with pytest.raises(InputError) as caught:
        cut(make("leaf-cnn"), at)  # type: ignore[arg-type]
    assert repr(at) in str(caught.value)
    assert "C1, C2, F1 (the head's last layer), or 1 to 3 (layers)" in str(caught.value)


def test_a_single_layer_cannot_be_cut() -> None:
    head, _ = cut(make("leaf-cnn"), 1)
    with pytest.raises(InputError, match="a single layer"):
        cut(head, 1)


@pytest.mark.parametrize(
    ("name", "shape", "classes", "text"),
    [
        ("vgg", GREY, 10, "'vgg' is unknown; the choices are two-nn, two-nn-small, leaf-cnn"),
        ("two-nn", (784,), 10, "takes inputs of shape (channels, height, width), not (784,)"),
        ("two-nn", (1, 0, 28), 10, "not (1, 0, 28)"),
        ("two-nn", GREY, 1, "at least 2 classes, not 1"),
        ("leaf-cnn", (1, 3, 28), 10, "4x4 or more, not 3x28"),
    ],
)
def test_an_impossible_model_says_why(
    name: str, shape: tuple[int, ...], classes: int, text: str
) -> None:
    with pytest.raises(InputError) as caught:
        build(name, classes=classes, shape=shape, seed=0)
    assert text in str(caught.value)


def test_table_of_leaf_cnn() -> None:
    model = make("leaf-cnn")
    c1, c2, f1, f2 = rows = table(model, GREY, batch=8)
    assert [row.name for row in rows] == ["C1", "C2", "F1", "F2"]
    assert [row.output_shape for row in rows] == [(32, 14, 14), (64, 7, 7), (2048,), (10,)]
    assert c2.activation_bytes == 3136 * 4
    assert c2.batch_bytes == 8 * 3136 * 4
    assert c1.forward_flops == 2 * 28 * 28 * 32 * 25
    assert c2.forward_flops == 2 * 14 * 14 * 64 * 25 * 32
    assert f1.forward_flops == 2 * 3136 * 2048
    assert f1.backward_flops == 2 * f1.forward_flops
    assert f2.weight_bytes == 4 * f2.parameters == 4 * (2048 * 10 + 10)
    assert sum(row.parameters for row in rows) == sum(p.numel() for p in model.parameters())


def test_table_leaves_the_model_alone() -> None:
    layer = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    model = LayerList(OrderedDict(C=layer))
    before = {key: t.clone() for key, t in model.state_dict().items()}
    table(model, GREY)
    assert all(torch.equal(t, before[key]) for key, t in model.state_dict().items())
    assert model.training
    assert layer.training
    assert not layer[0]._forward_hooks


def test_table_of_a_tail_and_of_a_wrong_shape() -> None:
    head, tail = cut(make("leaf-cnn"), "C2")
    at = table(head, GREY)[-1].output_shape
    assert table(tail, at)[-1].output_shape == (10,)
    with pytest.raises(InputError, match=r"layer F1 does not take inputs of shape \(32, 7, 7\)"):
        table(tail, (32, 7, 7))
