"""Mistakes in `train`, `faults`, `place` and the rest: the same table as test_topology_errors."""

from __future__ import annotations

import pytest

from edgenet.errors import TopologyError
from edgenet.topology import loads

NODES = "nodes: {server: {}, learner: {count: 3}}\n"
HEAD = NODES + "train:\n  scheme: fedavg\n"  # what follows is line 4
WHOLE = NODES + "train: {scheme: fedavg}\n"  # what follows is line 3

CASES = {
    "no scheme": (NODES + "train: {model: two-nn}\n", "t.yaml:2: train names no scheme; write for"),
    "scheme is a number": (
        NODES + "train: {scheme: 3}\n",
        "t.yaml:2: train has scheme 3; it must be a name",
    ),
    "train is text": (NODES + "train: fedavg\n", "t.yaml:2: train is 'fedavg'; it must be a mapp"),
    "negative rounds": (HEAD + "  rounds: -3\n", "t.yaml:4: train has rounds -3; it must lie betw"),
    "no rounds": (HEAD + "  rounds: 0\n", "t.yaml:4: train has rounds 0; it must lie between 1"),
    "rounds is text": (
        HEAD + "  rounds: ten\n",
        "t.yaml:4: train has rounds 'ten'; it must be a whole number",
    ),
    "rounds and epochs": (
        HEAD + "  rounds: 3\n  epochs: 3\n",
        "t.yaml:5: train has both rounds and epochs; keep one",
    ),
    "empty key": (
        HEAD + "  rounds:\n",
        "t.yaml:4: train has an empty 'rounds'; write a value or leave the line out",
    ),
    "batch of nothing": (HEAD + "  batch: 0\n", "t.yaml:4: train has batch 0; it must lie betwee"),
    "learning rate is not a number": (
        HEAD + "  lr: .nan\n",
        "t.yaml:4: train has lr nan; it must be a finite number",
    ),
    "infinite learning rate": (
        HEAD + "  lr: .inf\n",
        "t.yaml:4: train has lr inf; it must be a finite number",
    ),
    "learning rate is a truth value": (
        HEAD + "  lr: true\n",
        "t.yaml:4: train has lr true; it must be a number",
    ),
    "negative learning rate": (
        HEAD + "  lr: -0.1\n",
        "t.yaml:4: train has lr -0.1; it must lie between 0 and 1e+06",
    ),
    "cut is a list": (
        HEAD + "  cut: [1]\n",
        "t.yaml:4: train has cut a list; it must be a layer's name or a number of layers",
    ),
    "unknown key of data": (
        HEAD + "  data: {nam: mnist}\n",
        "t.yaml:4: train.data has unknown key 'nam'; did you mean 'name'? keys are name, train,",
    ),
    "data is a list": (
        HEAD + "  data: [mnist]\n",
        "t.yaml:4: train has data a list; it must be a name",
    ),
    "unknown partition": (
        HEAD + "  partition: dirichlett\n",
        "t.yaml:4: train has unknown partition 'dirichlett'; did you mean 'dirichlet'? choices are",
    ),
    "two partitions": (
        HEAD + "  partition: {shards: 2, dirichlet: 1}\n",
        "t.yaml:4: train.partition needs exactly one of iid, shards, dirichlet, sizes",
    ),
    "sizes without numbers": (
        HEAD + "  partition: sizes\n",
        "t.yaml:4: train has partition 'sizes'; write partition: {sizes: [600, 400]}",
    ),
    "a size of nothing": (
        HEAD + "  partition: {sizes: [5, 0]}\n",
        "t.yaml:4: train.partition has sizes 0; it must lie between 1 and",
    ),
    "dirichlet of zero": (
        HEAD + "  partition: {dirichlet: 0}\n",
        "t.yaml:4: train.partition has dirichlet 0; it must lie between 0.001 and",
    ),
    "unknown optimizer": (
        HEAD + "  optimizer: adamw\n",
        "t.yaml:4: train has unknown optimizer 'adamw'; did you mean 'adam'? choices are sgd, adam",
    ),
    "three betas": (
        HEAD + "  optimizer: {name: adam, betas: [1, 1, 1]}\n",
        "t.yaml:4: train.optimizer has 3 betas; there are two",
    ),
    "momentum above one": (
        HEAD + "  optimizer: {momentum: 9}\n",
        "t.yaml:4: train.optimizer has momentum 9; it must lie between 0 and 1",
    ),
    "mapping in a mapping of a scheme's key": (
        HEAD + "  window: {size: {more: 2}}\n",
        "t.yaml:4: train has window with a mapping in it; a scheme's own keys take numbers, names",
    ),
    "scheme's key that is not a number": (
        HEAD + "  mu_prox: .nan\n",
        "t.yaml:4: train has mu_prox nan; it must be a finite number",
    ),
    "unknown key of faults": (
        WHOLE + "faults: {hartbeat: 1 s}\n",
        "t.yaml:3: faults has unknown key 'hartbeat'; did you mean 'heartbeat'? keys are heartbea",
    ),
    "time without unit": (
        WHOLE + "faults: {silence: 4}\n",
        "t.yaml:3: faults has a bad silence: 4 is no time; write a number and one of us, ms, s,",
    ),
    "deadline of zero": (
        WHOLE + "faults: {deadline: 0 s}\n",
        "t.yaml:3: faults has deadline 0; it must be a time above 0",
    ),
    "silence below the heartbeat": (
        WHOLE + "faults: {silence: 1 s, heartbeat: 2 s}\n",
        "t.yaml:3: faults has silence 1 s, which is not longer than the heartbeat (2 s): every",
    ),
    "impossible quorum": (
        WHOLE + "faults: {quorum: 1.5}\n",
        "t.yaml:3: faults has a bad quorum: 1.5 is no fraction in (0, 1] and no whole count above",
    ),
    "unknown shaping": (
        WHOLE + "shaping: netm\n",
        "t.yaml:3: the topology has unknown shaping 'netm'; did you mean 'netem'? choices are aut",
    ),
    "negative seed": (
        WHOLE + "seed: -1\n",
        "t.yaml:3: the topology has seed -1; it must lie between 0 and 4294967295",
    ),
    "huge seed": (WHOLE + "seed: 99999999999\n", "t.yaml:3: the topology has seed 99999999999; it"),
    "bad name": (
        WHOLE + "name: ../../etc\n",
        "t.yaml:3: the topology has the bad name '../../etc'; a name is a letter and then up to 39",
    ),
    "empty place": (WHOLE + "place: {}\n", "t.yaml:3: place is empty; write 'role: node' or leave"),
    "place of an unknown node": (
        WHOLE + "place: {server: sever}\n",
        "t.yaml:3: place names unknown node 'sever'; did you mean 'server'? nodes are server, "
        "learner0..learner2",
    ),
    "node in two roles": (
        WHOLE + "place:\n  server: server\n  client: [learner, server]\n",
        "t.yaml:5: place gives node 'server' two roles, server and client",
    ),
}


@pytest.mark.parametrize(("text", "message"), CASES.values(), ids=CASES)
def test_mistakes(text: str, message: str) -> None:
    with pytest.raises(TopologyError) as caught:
        loads(text, "t.yaml")
    assert str(caught.value)[: len(message)] == message
    assert "\n" not in str(caught.value)
