"""Topologies against what exists: schemes, roles, models, data; before any process starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgenet.errors import InputError, TopologyError
from edgenet.node.plan import Plan, resolve
from edgenet.topology import loads

BASE = """\
name: plan
nodes:
  server: {device: edge-server}
  learner: {device: pi4, count: 3}
links:
  air: {rate: 100 Mbit, delay: 2 ms, base: server, members: learner}
train:
  scheme: fedavg
  model: two-nn
  data: {name: digits, train: 200, test: 100}
  rounds: 2
seed: 7
"""


def plan(text: str) -> Plan:
    return resolve(loads(text, file="plan.yaml"))


def test_single_roles_come_first_and_the_rest_in_file_order() -> None:
    seats = plan(BASE).seats
    assert [(seat.name, seat.role, seat.rank) for seat in seats] == [
        ("server", "server", 0),
        ("learner0", "learner", 1),
        ("learner1", "learner", 2),
        ("learner2", "learner", 3),
    ]
    assert [seat.essential for seat in seats] == [True, False, False, False]
    assert [seat.share for seat in seats] == [None, 0, 1, 2]
    assert seats[0].peers == (
        ("learner0", "learner"),
        ("learner1", "learner"),
        ("learner2", "learner"),
    )
    assert seats[2].peers == (("server", "server"),)


def test_a_node_called_like_the_role_plays_it_wherever_it_stands() -> None:
    text = BASE.replace("  server: {device: edge-server}\n", "").replace(
        "count: 3}\n", "count: 3}\n  server: {device: edge-server}\n"
    )
    assert plan(text).seat("server").role == "server"


def test_place_decides_first() -> None:
    seats = plan(BASE + "place: {server: learner1, learner: [server, learner0]}\n").seats
    assert [(seat.name, seat.role) for seat in seats] == [
        ("learner1", "server"),
        ("server", "learner"),
        ("learner0", "learner"),
    ]


def test_nodes_that_no_role_needs_have_no_seat() -> None:
    text = BASE.replace("scheme: fedavg", "scheme: centralized")
    assert [seat.name for seat in plan(text).seats] == ["server"]


def test_a_channel_is_the_composition_of_the_hops() -> None:
    channel = plan(BASE).channel("learner0", "learner1")
    assert channel.rate_bps == 100e6
    assert channel.delay_s == pytest.approx(4e-3)


def test_the_digest_changes_with_every_setting_and_not_with_the_file() -> None:
    a, b = plan(BASE), resolve(loads(BASE, file="other.yaml"))
    assert a.digest == b.digest
    assert a.digest != plan(BASE.replace("seed: 7", "seed: 8")).digest
    assert len(a.digest) == 32


def test_parameters_are_those_of_the_whole_model() -> None:
    assert plan(BASE).parameters == 784 * 200 + 200 + 200 * 200 + 200 + 200 * 10 + 10


MISTAKES = {
    "scheme": (
        "scheme: fedavg",
        "scheme: fedavgg",
        "plan.yaml:8: unknown scheme 'fedavgg'; schemes are centralized, fedavg, fedprox, "
        "ssl, psl, sfl, slr, sgl, sglr",
    ),
    "model": (
        "model: two-nn",
        "model: resnet",
        "plan.yaml:9: unknown model 'resnet'; models are ",
    ),
    "dataset": (
        "name: digits",
        "name: imagenet",
        "plan.yaml:10: unknown dataset 'imagenet'; datasets are digits, ",
    ),
    "optimizer": (
        "rounds: 2",
        "optimizer: lion",
        "plan.yaml:11: train has unknown optimizer 'lion'; choices are sgd, adam",
    ),
    "key of no scheme": (
        "rounds: 2",
        "roundz: 2",
        "plan.yaml:11: train has no key 'roundz' under scheme 'fedavg'; did you mean 'rounds'? "
        "keys are batch, ",
    ),
    "key of another scheme": (
        "rounds: 2",
        "mu_prox: 0.1",
        "plan.yaml:11: train has no key 'mu_prox' under scheme 'fedavg'; keys are ",
    ),
    "option's type": (
        "scheme: fedavg",
        "scheme: fedprox\n  mu_prox: much",
        "plan.yaml:9: train.mu_prox is 'much'; it must be a number",
    ),
    "option's value": (
        "scheme: fedavg",
        "scheme: fedprox\n  mu_prox: -1",
        "plan.yaml:9: train.mu_prox is -1.0; it must be a number of 0 or more",
    ),
    "no cut": (
        "scheme: fedavg",
        "scheme: psl",
        "plan.yaml:7: scheme 'psl' needs train.cut, the last layer that stays with the client; "
        "layers of 'two-nn' are ",
    ),
    "cut": (
        "scheme: fedavg",
        "scheme: psl\n  cut: C7",
        "plan.yaml:9: the model cannot be cut at 'C7'; the choices are ",
    ),
    "too many samples": (
        "train: 200",
        "train: 99999",
        "plan.yaml:10: ",
    ),
    "partition": (
        "rounds: 2",
        "partition: {sizes: [1, 2]}",
        "plan.yaml:11: ",
    ),
    "no node is left": (
        "  learner: {device: pi4, count: 3}\nlinks:\n  air: {rate: 100 Mbit, delay: 2 ms, "
        "base: server, members: learner}\n",
        "",
        "plan.yaml:2: scheme 'fedavg' needs one server, at least one learner, but the topology "
        "has only 1 node to place",
    ),
    "out of reach": (
        "members: learner}",
        "members: [learner0, learner2]}",
        "plan.yaml:5: 'server' cannot reach 'learner1', which it must talk to under scheme "
        "'fedavg'; join them by a link",
    ),
    "role": (
        "seed: 7",
        "place: {master: server}",
        "plan.yaml:12: scheme 'fedavg' has no role 'master'; roles are server, learner",
    ),
    "two servers": (
        "seed: 7",
        "place: {server: [learner0, learner1]}",
        "plan.yaml:12: exactly one node plays 'server', but 2 are placed there",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_with_its_place(mistake: str) -> None:
    old, new, expected = MISTAKES[mistake]
    assert old in BASE
    with pytest.raises(TopologyError) as caught:
        plan(BASE.replace(old, new))
    message = str(caught.value)
    assert message.startswith(expected)
    assert "\n" not in message


def test_missing_data_is_named_with_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGENET_DATA", str(tmp_path))
    with pytest.raises(InputError, match="EDGENET_DATA") as caught:
        plan(BASE.replace("name: digits", "name: mnist"))
    assert str(tmp_path) in str(caught.value)


def test_another_scheme_by_set_leaves_the_keys_of_the_first_behind() -> None:
    text = BASE.replace("fedavg", "fedprox").replace("rounds: 2", "rounds: 2\n  mu_prox: 0.3")
    text += "place: {server: server, learner: learner}\n"
    other = resolve(loads(text, "plan.yaml", ["train.scheme=psl", "train.cut=F1"]))
    assert dict(other.topology.train.options) == {}
    assert dict(other.topology.place) == {"server": ("server",)}
    with pytest.raises(TopologyError, match="no key 'mu_prox' under scheme 'fedavg'"):
        resolve(loads(text, "plan.yaml", ["train.scheme=fedavg", "train.mu_prox=1"]))
