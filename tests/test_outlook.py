"""What a plan makes of its predictions: which candidates there are, which it proposes, what it says
of the user's own settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_runs import topology
from test_forecast import BOARDS, changed
from test_parallel import spec_of

from edgenet.cli.main import main
from edgenet.cli.plan import about
from edgenet.errors import InputError, TopologyError
from edgenet.node.costing import Costs
from edgenet.node.predictions import PREDICTED, Outlook, changes, predict
from edgenet.shaping import cgroups
from edgenet.topology.load import dump
from edgenet.topology.spec import Topology


def outlook(spec: Topology, *schemes: str, sets: tuple[str, ...] = ()) -> Outlook:
    """The candidates of these schemes on a topology with `--set`s."""
    load = changed(dump(spec))
    return predict(lambda more: load((*sets, *more)), Costs(1e9, budget_s=0.001), schemes)


def names(found: Outlook) -> list[str]:
    """The candidates'."""
    return sorted(each.name for each in found.found)


# ---- what fits -------------------------------------------------------------------------------


def test_what_fits_comes_first_and_nearest_is_what_lacks_least() -> None:
    load = changed(BOARDS.replace("two-nn-small", "leaf-cnn-w8"))
    costs = Costs(1e9, budget_s=0.001)
    rooms = {
        each.name: min(each.room_bytes.values()) for each in predict(load, costs, ("psl",)).found
    }
    assert len(set(rooms.values())) > 1
    costs.alone_bytes = max(rooms.values())  # so that one candidate just fits
    found = predict(load, costs, ("psl",))
    (first,) = found.fitting
    assert first is found.found[0] is found.nearest
    assert rooms[first.name] == max(rooms.values())
    assert first.lacks_bytes == {}
    others = [each.round_s for each in found.found[1:]]
    assert others == sorted(others)
    costs.alone_bytes += 1000
    none = predict(load, costs, ("psl",))
    assert (none.fitting, none.nearest.name) == ([], first.name)
    assert max(none.nearest.lacks_bytes.values()) == 1000


def test_only_what_fits_is_starred() -> None:
    load = changed(BOARDS.replace("two-nn-small", "leaf-cnn-w8"))
    costs = Costs(1e9, budget_s=0.001)
    ample = predict(load, costs, ("psl",))
    assert sum(each["pareto"] for each in about(ample, ())) > 1
    costs.alone_bytes = max(min(each.room_bytes.values()) for each in ample.found) - 1
    found = about(predict(load, costs, ("psl",)), ())
    starred = [each["candidate"] for each in found if each["pareto"]]
    assert starred == [each["candidate"] for each in found if not each["does_not_fit"]]
    assert len(starred) == 1
    assert all(each["lacks_bytes"] for each in found[1:])


def test_where_nothing_fits_nothing_is_proposed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, plot = tmp_path / "boards.yaml", tmp_path / "plan.png"
    tiny = "devices: {tiny: {cores: 1, memory_bytes: 1.0e+6, training_flops: 1.0e+9}}\n"
    file.write_text(BOARDS.replace("[pi4, pi1]", "tiny") + tiny)
    assert main(["plan", str(file), "--schemes", "psl", "--plot", str(plot)]) == 0
    said = capsys.readouterr().out
    assert "*" not in said
    assert "To run" not in said
    assert "None of them fits the memory of its devices, so none is proposed. Nearest to it" in said
    assert "learner0 lacks " in said
    assert plot.read_bytes().startswith(b"\x89PNG")


# ---- the user's own settings -----------------------------------------------------------------


def test_what_cannot_be_run_is_left_out_with_a_reason() -> None:
    data = {"name": "digits", "train": 60, "views": ["plain", "sensor"]}
    found = outlook(spec_of("fpl", 2, data=data), "fpl", "transfer-images")
    assert names(found) == ["fpl, J->F1", "fpl, J->F2", "fpl, J->F3"]
    assert "lets learner1 see no images" in found.left_out["transfer-images"]
    with pytest.raises(TopologyError, match="see no images"):
        outlook(spec_of("fpl", 2, data=data), "transfer-images")
    with pytest.raises(InputError, match="mean of activations of 128 numbers"):
        outlook(spec_of("fpl", 2, data=data, merge="mean"), "fpl")


def test_a_mean_has_no_weights_and_less_to_compute() -> None:
    learned, mean = (
        {each.name: each for each in outlook(spec_of("fpl", 2, merge=merge), "fpl").found}
        for merge in ("learned", "mean")
    )
    name, junction_bytes = "fpl, J->F1", 4 * (2 * 784 + 1) * 784
    assert learned[name].sent_bytes == mean[name].sent_bytes
    spared = learned[name].memory_bytes["server"] - mean[name].memory_bytes["server"]
    assert spared > 2 * junction_bytes  # weights and gradients


def test_the_mean_round_is_that_of_the_sources_that_take_part() -> None:
    always, half, never = (
        {each.name: each for each in outlook(spec_of("fpl", 2, rounds=2, **more), "fpl").found}
        for more in ({}, {"leaves": {"learner0": 2}}, {"leaves": {"learner0": 1}})
    )
    for name, each in half.items():
        assert 2 * each.sent_bytes == always[name].sent_bytes + never[name].sent_bytes
        whole = always[name].memory_bytes["learner0"]
        assert each.memory_bytes["learner0"] == whole >= never[name].memory_bytes["learner0"] > 0


SETS: list[tuple[str, dict[str, Any], tuple[str, ...], str, str]] = [
    ("sfl", {"cut": 1}, ("train.sync=batch",), "sfl, cut F1, sync batch", ""),
    ("gfl", {"averaged": ["F1", "F3"]}, (), "gfl, averaged F1/F3", ""),
    ("gfl", {"averaged": ["F2", "F3"]}, (), "gfl, averaged F2/F3", ""),
    ("psl", {"cut": 1}, ("train.sync=batch",), "psl, cut F1", "train.sync counts under sfl only."),
    ("psl", {"cut": "F3"}, (), "psl, cut F2", "psl: train.cut=F3, as set, is no candidate."),
    ("d-sgd", {"spread": "F3/F2"}, (), "d-sgd, F2.. on learner0",
     "d-sgd: train.spread=F3/F2, as set, is no candidate."),
]  # fmt: skip


@pytest.mark.parametrize(("scheme", "train", "sets", "name", "note"), SETS)
def test_what_the_user_sets_counts_or_is_told(
    scheme: str, train: dict[str, Any], sets: tuple[str, ...], name: str, note: str
) -> None:
    found = outlook(topology(scheme, 2, **train), *dict.fromkeys((scheme, "sfl")), sets=sets)
    assert name in names(found)
    about = [each for each in found.notes if each.startswith((f"{scheme}:", f"train.{note[6:10]}"))]
    assert about == ([note] if note else about[:0])


def test_what_no_scheme_knows_is_refused() -> None:
    with pytest.raises(TopologyError, match="no key 'sync' under scheme 'psl'"):
        outlook(topology("psl", 2, cut=1), "psl", sets=("train.sync=batch",))


def test_what_a_plan_cannot_know_is_told() -> None:
    spec = topology("psl", 2, faults={"deadline": "3 s"}, cut=1)
    assert outlook(spec, "psl").notes == ["Not in the prediction: faults.deadline."]


def test_to_run_a_candidate_takes_no_settings_of_others() -> None:
    given = ("train.rounds=2", "train.sync=batch", "train.cut=F2", "train.scheme=sfl",
             "train.leaves.learner0=2")  # fmt: skip
    found = outlook(spec_of("fpl", 2, batch=50), "psl", "sfl", "fpl", sets=given)
    told = {each.name: changes(given, each) for each in found.found}
    assert told["psl, cut F1"] == ("train.rounds=2", "train.scheme=psl", "train.cut=F1")
    assert told["fpl, J->F3"][:2] == ("train.rounds=2", "train.cut=F2")


# ---- the command -----------------------------------------------------------------------------


@pytest.fixture
def small_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command takes its own size for that of a node without anything; this one has tests."""
    monkeypatch.setattr(cgroups, "resident_bytes", lambda: 250_000_000)


@pytest.mark.usefixtures("small_process")
def test_the_command_ranks_the_candidates_and_draws_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, plot = tmp_path / "boards.yaml", tmp_path / "plan.png"
    file.write_text(BOARDS)
    schemes = [name for name in PREDICTED if name not in ("gfl", "ssl", "sfl", "slr", "sgl")]
    words = ["--schemes", ",".join(schemes), "--format", "json", "--plot", str(plot)]
    assert main(["plan", str(file), *words]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {each["candidate"].partition(",")[0] for each in found} == set(schemes)
    ranks = [(bool(each["does_not_fit"]), each["round_s"]) for each in found]
    assert ranks == sorted(ranks)
    assert any(each["pareto"] for each in found)
    assert all(each["on_air_bytes"] <= each["sent_bytes"] for each in found)
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("small_process")
def test_the_command_tells_how_to_run_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "boards.yaml"
    file.write_text(BOARDS)
    assert main(["plan", str(file), "--schemes", "fedavg", "--set", "train.rounds=2"]) == 0
    said = capsys.readouterr().out
    assert f"edgenet run {file} --set train.rounds=2 --set train.scheme=fedavg" in said
    assert main(["plan", str(file), "--schemes", "fedagv"]) == 2
    assert "nothing is predicted for 'fedagv'" in capsys.readouterr().err
