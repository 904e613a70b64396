"""The junction layer: it grows, shrinks, and weighs its sources, while the rest trains on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import events, run
from test_faults import Run, start  # noqa: F401 (a fixture)
from test_parallel import IMAGE, spec_of
from torch import Tensor, nn

from edgenet.errors import InputError, TopologyError
from edgenet.models.junction import Junction, with_junction
from edgenet.models.layers import build
from edgenet.models.local import LocalStage
from edgenet.models.stage import cross_entropy
from edgenet.node.plan import resolve
from edgenet.schemes.parallel_options import FplOptions
from edgenet.topology.spec import Optimizer

pytestmark = pytest.mark.processes

OPTIMIZERS = [Optimizer(), Optimizer(momentum=0.9), Optimizer(name="adam")]


def drawn(widths: dict[str, int], shape: tuple[int, ...], **more: Any) -> Junction:
    junction = Junction(widths, shape, **more)
    junction.draw(tuple(widths), torch.Generator().manual_seed(1))
    return junction


def inputs(rows: int, columns: int) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(2))


def test_a_junction_is_one_linear_layer_on_the_joined_outputs() -> None:
    junction = drawn({"a": 3, "b": 5}, (4,))
    plain = nn.Linear(8, 4)
    with torch.no_grad():
        plain.weight.copy_(torch.cat([junction.columns("a"), junction.columns("b")], dim=1))
        plain.bias.copy_(junction.bias)
    x = inputs(6, 8)
    torch.testing.assert_close(junction(x), plain(x).relu())
    assert max(p.abs().max().item() for p in junction.parameters()) <= 8**-0.5
    no_relu = drawn({"a": 3, "b": 5}, (4,), activation=False)
    torch.testing.assert_close(no_relu(x), plain(x))


def test_a_source_that_joins_leaves_the_output_unchanged() -> None:
    junction = drawn({"a": 3, "b": 2, "c": 5}, (4,))
    junction.remove("b")
    a, b, c = inputs(6, 10).split([3, 2, 5], dim=1)
    before = junction(torch.cat([a, c], dim=1))
    junction.add("b")
    assert junction.sources == ("a", "b", "c")
    after = junction(torch.cat([a, b, c], dim=1))
    torch.testing.assert_close(after, before, rtol=0, atol=1e-6)
    assert junction.norms()["b"] == 0.0 < junction.norms()["a"]


def test_a_source_that_leaves_takes_its_own_columns_alone() -> None:
    junction = drawn({"a": 3, "b": 2}, (4,))
    kept = junction.columns("a").clone()
    junction.remove("b")
    x = inputs(6, 3)
    torch.testing.assert_close(junction(x), (x @ kept.T + junction.bias).relu())
    assert list(junction.norms()) == ["a"]


@pytest.mark.parametrize("spec", OPTIMIZERS, ids=lambda spec: f"{spec.name}-{spec.momentum:g}")
def test_the_optimizer_goes_on_with_the_others(spec: Optimizer) -> None:
    """As if the columns that come had been there from the start without a gradient."""
    grows, never = drawn({"a": 3, "b": 2}, (4,)), drawn({"a": 3, "b": 2}, (4,))
    with torch.no_grad():
        never.columns("b").zero_()
    grows.remove("b")
    stages = [LocalStage(junction, spec, 0.1) for junction in (grows, never)]
    labels, x = torch.arange(6) % 4, inputs(6, 5)
    for step in range(6):
        if step == 3:
            grows.add("b")
            stages[0].renew()
        for stage, junction in zip(stages, (grows, never), strict=True):
            wide = "b" in grows.sources
            seen = x if wide else torch.cat([x[:, :3], torch.zeros(6, 2)], dim=1)
            _, error = cross_entropy(
                stage.forward(seen if junction is never or wide else x[:, :3]), labels
            )
            stage.backward(error)
            stage.step()
        if spec.name == "sgd" or step <= 3:  # Adam counts the steps of each parameter by itself
            torch.testing.assert_close(grows.columns("a"), never.columns("a"))
            torch.testing.assert_close(grows.bias, never.bias)
    if spec.name == "sgd":
        torch.testing.assert_close(grows.columns("b"), never.columns("b"))
    assert grows.columns("b").norm() > 0


@pytest.mark.parametrize("before", ["C1", "C2", "F1", "F2"])
def test_a_junction_gives_the_next_layer_what_it_takes(before: str) -> None:
    """... from images and from a vector of sensor readings."""
    model = build("leaf-cnn", classes=10, shape=(1, 8, 8), seed=1)
    shapes = {"left": (1, 8, 8), "right": (1, 8, 8), "meter": (7,)}
    whole = with_junction(
        model, before, shapes, image=(1, 8, 8), generator=torch.Generator().manual_seed(1)
    )
    seen = {name: inputs(5, 64).view(5, 1, 8, 8) for name in ("left", "right")}
    assert whole({**seen, "meter": inputs(5, 7)}).shape == (5, 10)
    assert whole.junction is not None
    assert whole.junction.columns("meter").shape[1] == 128


def test_a_mean_needs_outputs_of_one_size() -> None:
    model = build("two-nn-small", classes=10, shape=IMAGE, seed=1)
    with pytest.raises(InputError, match="the mean of activations of 128 numbers"):
        with_junction(
            model, "F2", {"a": IMAGE, "b": (7,)}, image=IMAGE, learned=False,
            generator=torch.Generator(),
        )  # fmt: skip


# ---- in runs --------------------------------------------------------------------------------


def active(rounds: list[dict[str, Any]]) -> list[str]:
    """Who took part in each round, by their last letters."""
    return ["".join(name[-1] for name in event["active"]) for event in rounds]


def test_sources_join_leave_and_come_back_by_plan(tmp_path: Path) -> None:
    spec = spec_of(
        "fpl", 3, junction="F2", rounds=7, joins={"learner1": 3, "learner2": 6},
        leaves={"learner2": 4},
    )  # fmt: skip
    found = run(spec, tmp_path / "run")
    assert active(found.rounds) == ["02", "02", "012", "01", "01", "012", "012"]
    norms = [event["junction"] for event in found.rounds]
    assert [sorted(each) for each in norms] == [event["active"] for event in found.rounds]
    # It joins with nothing and gains; it comes back with nothing.
    assert 0 < norms[2]["learner1"] < norms[3]["learner1"] < norms[4]["learner1"]
    assert norms[5]["learner2"] < norms[2]["learner2"] / 2


def test_until_a_source_joins_nothing_is_heard_of_it(tmp_path: Path) -> None:
    found = run(
        spec_of("fpl", 3, junction="F2", rounds=3, joins={"learner2": 3}), tmp_path / "with"
    )
    assert [len(event["active"]) for event in found.rounds] == [2, 2, 3]
    assert [sorted(event["junction"]) for event in found.rounds[:2]] == [
        ["learner0", "learner1"]
    ] * 2
    sent = [e for e in events(found.run_dir, "learner2", "bytes") if e["k"] == "activation"]
    assert {e["r"] for e in sent} == {3}


def test_a_source_of_noise_gets_less_weight(tmp_path: Path) -> None:
    """With a little weight decay it even loses what it was drawn with."""
    data = {"name": "digits", "train": 1200, "test": 60, "views": ["hflip", "noise", "vflip"]}
    spec = spec_of("fpl", 3, junction="F2", rounds=10, data=data, optimizer={"weight_decay": 0.003})
    first, *_, last = [event["junction"] for event in run(spec, tmp_path / "run").rounds]
    assert last["learner1"] < 0.85 * min(last["learner0"], last["learner2"])
    assert last["learner1"] < first["learner1"]
    assert last["learner0"] > first["learner0"]


def test_images_and_sensor_readings_share_one_junction(tmp_path: Path) -> None:
    data = {"name": "digits", "train": 600, "test": 60, "views": ["blur", "sensor"]}
    spec = spec_of("fpl", 2, junction="F2", rounds=5, data=data)
    found = run(spec, tmp_path / "run")
    assert found.state["branch_learner1.S1.linear.weight"].shape == (128, 56)
    assert found.state["trunk.J.from_learner1"].shape == (50, 128)
    assert found.rounds[-1]["accuracy"] > 0.5


@pytest.mark.parametrize(
    ("train", "sentence"),
    [
        ({"joins": {"nobody": 2}}, "train.joins has nobody: 2; it maps sources (learner0"),
        ({"leaves": {"learner0": 0}}, "train.leaves has learner0: 0; it maps sources"),
        ({"leaves": {"learner0": "soon"}}, "train.leaves.learner0 is 'soon'; it must be a whole"),
        ({"joins": {"learner0": 2, "learner1": 2}}, "train.leaves lets no source take part in "
         "epoch 1"),
        ({"joins": {"learner0": 9}}, "train.joins has learner0: 9, but epoch 3 is the last, so it "
         "would never take part; let it join earlier, or raise train.epochs"),
        ({"joins": {"learner0": 2}, "leaves": {"learner0": 2}}, "and so has the other; drop both"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(train: dict[str, Any], sentence: str) -> None:
    with pytest.raises(TopologyError, match=r"small.yaml:\d+: ") as caught:
        resolve(spec_of("fpl", 2, **train))
    assert sentence in str(caught.value)


def test_who_takes_part_when() -> None:
    own = FplOptions(joins={"a": 3, "b": 6, "c": 2}, leaves={"a": 5, "b": 4})
    epochs = range(1, 8)
    assert [epoch for epoch in epochs if own.takes_part("a", epoch)] == [3, 4]
    assert [epoch for epoch in epochs if own.takes_part("b", epoch)] == [1, 2, 3, 6, 7]
    assert [epoch for epoch in epochs if own.takes_part("c", epoch)] == [2, 3, 4, 5, 6, 7]
    assert all(own.takes_part("d", epoch) for epoch in epochs)


def test_the_run_goes_on_without_a_source_that_is_killed(start: Callable[[Any], Run]) -> None:  # noqa: F811
    data = {"name": "digits", "train": 1200, "test": 60, "views": ["blur", "erase", "crop"]}
    spec = spec_of("fpl", 3, junction="F2", rounds=12, batch=10, data=data,
                   faults={"heartbeat": "0.5 s", "silence": "2 s"})  # fmt: skip
    run = start(spec)
    run.reach(2)
    os.kill(run.pid("learner1"), signal.SIGKILL)
    code, summary, err = run.end(60.0)
    assert code == 0, err
    assert summary["rounds"] == 12
    assert summary["nodes"]["learner1"]["status"] == "lost"
    rounds = events(run.out, "server", "round")
    assert rounds[1]["active"] == ["learner0", "learner1", "learner2"]
    assert rounds[-1]["active"] == ["learner0", "learner2"]
    assert list(rounds[-1]["junction"]) == ["learner0", "learner2"]
    assert rounds[-1]["accuracy"] > 0.5
    header = (run.out / "rounds.csv").read_text(encoding="utf-8").splitlines()[0]
    assert "junction.learner0,junction.learner1,junction.learner2" in header
    assert "norm of its columns" in (run.out / "report.html").read_text(encoding="utf-8")


def test_vertical_split_learning_ends_without_one_of_its_sources(
    start: Callable[[Any], Run],  # noqa: F811
) -> None:
    data = {"name": "digits", "train": 1200, "test": 60, "views": ["blur", "erase"]}
    run = start(spec_of("sl-vertical", 2, cut="F1", rounds=12, batch=10, data=data))
    run.reach(2)
    os.kill(run.pid("learner1"), signal.SIGKILL)
    code, _, err = run.end(15.0)
    assert code == 3
    assert "learner1" in err
    assert "set faults.restart to have all nodes started again" in err
