"""`data-parallel`: how gradients are added up, against one process that takes the joint batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from chains import MOVING, chain, finish, one_torch_thread
from small_runs import assert_same, events
from torch import Tensor
from virtual_time import together

from edgenet.cli.main import main
from edgenet.data import ShareBatches, load, partition, subset
from edgenet.links.group import Group
from edgenet.links.link import WireLink
from edgenet.links.memory import link_pair
from edgenet.links.shared import Limits, Shared
from edgenet.meters.journal import Journal
from edgenet.models.layers import build
from edgenet.models.local import LocalStage
from edgenet.models.stage import cross_entropy
from edgenet.node.plan import resolve
from edgenet.schemes.all_reduce import reducer
from edgenet.topology.load import loads
from edgenet.topology.spec import Topology

FORMS = ("ring", "master", "chain")
SAMPLES = (36, 24, 30, 28)
BATCH = 10
SCALARS = 16  # a number of samples and a sum of losses, of 8 bytes each


@pytest.fixture(autouse=True)
def _one_torch_thread() -> Iterator[None]:
    with one_torch_thread():
        yield


def spec(form: str, workers: int, **train: Any) -> Topology:
    """Workers with shares of different sizes: some run out of batches before the others."""
    sizes = list(SAMPLES[:workers])
    own = {"data": {"name": "digits", "train": sum(sizes), "test": 20}, "batch": BATCH, "lr": 0.001}
    return chain(
        "data-parallel", workers, partition={"sizes": sizes}, reduce=form, **{**own, **train}
    )


def joint(spec: Topology, workers: int) -> dict[str, Tensor]:
    """One process that takes a step with all the workers' batches put together."""
    train, seed = spec.train, spec.seed
    dataset = subset(load(train.data.name, None), train.data, seed)
    model = build(train.model, classes=10, shape=dataset.shape, seed=seed)
    dealt = partition(dataset.train_y, train.partition, workers, seed)
    shares = [ShareBatches(dataset, dealt[i], train.batch, seed, i) for i in range(workers)]
    stage = LocalStage(model, train.optimizer, train.lr)
    for _ in range(train.rounds):
        streams = [list(share) for share in shares]
        for step in range(max(map(len, streams))):
            batches = [stream[step] for stream in streams if len(stream) > step]
            x, y = (torch.cat(part) for part in zip(*batches, strict=True))
            _, error = cross_entropy(stage.forward(x), y)
            stage.backward(error)
            stage.step()
    return model.state_dict()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("workers", "optimizer"),
    [(2, {"name": "sgd"}), (3, {"name": "sgd", **MOVING}), (4, {"name": "adam"})],
)
def test_each_form_is_one_step_on_the_joint_batch(
    form: str, workers: int, optimizer: dict[str, Any], tmp_path: Path
) -> None:
    run = spec(form, workers, optimizer=optimizer)
    assert_same(finish(run, tmp_path), joint(run, workers))


def test_a_worker_alone_is_local_training(tmp_path: Path) -> None:
    run = replace(chain("data-parallel", 2), place={"worker": ("worker0",)})
    assert resolve(run).seats[0].peers == ()
    assert_same(finish(run, tmp_path), joint(run, 1))


@pytest.mark.processes
@pytest.mark.parametrize(("form", "workers"), [("ring", 3), ("master", 3)])
def test_processes_end_with_the_bits_of_threads(form: str, workers: int, tmp_path: Path) -> None:
    run = spec(form, workers)
    threads = finish(run, tmp_path / "memory")
    assert_same(finish(run, tmp_path / "gloo", "gloo"), threads, exact=True)


def mesh(names: Sequence[str], limits: Limits) -> dict[str, Group]:
    """Every worker's links to all the others, in memory."""
    shared = {name: Shared(journal=Journal(None), limits=limits) for name in names}
    links: dict[str, dict[str, WireLink]] = {name: {} for name in names}
    for a, b in combinations(names, 2):
        links[a][b], links[b][a] = link_pair((a, b), (shared[a], shared[b]))
    return {
        name: Group(name, [n for n in names if n != name], links[name], shared[name])
        for name in names
    }


def reduced(
    form: str, own: Sequence[list[Tensor]], limits: Limits | None = None, turns: int = 1
) -> tuple[list[list[Tensor]], list[float]]:
    """What each worker has after so many sums of copies of `own`, and the mean losses."""
    names = [f"worker{n}" for n in range(len(own))]
    groups = mesh(names, limits or Limits())
    found = [[t.clone() for t in tensors] for tensors in own]
    losses = [0.0] * len(own)

    def work(n: int) -> None:
        reduce = reducer(form, groups[names[n]], names, names[n])
        for _ in range(turns):
            for mine, given in zip(found[n], own[n], strict=True):
                mine.copy_(given)
            losses[n] = reduce(found[n], n + 1, float(n))

    try:
        together(*(partial(work, n) for n in range(len(own))))
    finally:
        for group in groups.values():
            for link in group:
                link.abandon()
    return found, losses


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("workers", [2, 3, 5])
def test_all_workers_get_the_same_bits_of_the_mean(form: str, workers: int) -> None:
    """Also of fewer numbers than there are workers."""
    samples = sum(range(1, workers + 1))
    for shapes in ([(2,)], [(7, 3), (5,), ()]):
        own = [[torch.randn(shape) for shape in shapes] for _ in range(workers)]
        found, losses = reduced(form, own)
        again, _ = reduced(form, own)
        for k in range(len(shapes)):
            mean = torch.stack([tensors[k].double() for tensors in own]).sum(0) / samples
            torch.testing.assert_close(found[0][k].double(), mean, rtol=1e-6, atol=1e-6)
            for tensors in (*found, *again):
                assert torch.equal(tensors[k], found[0][k])
        assert set(losses) == {sum(range(workers)) / samples}


@pytest.mark.parametrize("form", FORMS)
def test_boxes_that_hold_no_message_do_not_make_workers_wait_for_ever(form: str) -> None:
    """Everybody sends before it receives, 4 MB at a time, with room for a kilobyte."""
    limits = Limits(outbox_bytes=1024, inbox_bytes=1024)
    own = [[torch.full((3_000_000,), float(n))] for n in range(3)]
    found, _ = reduced(form, own, limits, turns=2)
    assert all(torch.equal(tensors[0], torch.full((3_000_000,), 0.5)) for tensors in found)


def parts(numbers: int, workers: int) -> list[int]:
    """Bytes of each part of a row of so many numbers."""
    return [4 * len(part) for part in torch.arange(numbers).tensor_split(workers)]


def asked_of(form: str, n: int, workers: int, numbers: int) -> int:
    """Payload that worker n sends in a step."""
    whole = 4 * numbers
    if form == "ring":
        sizes = parts(numbers, workers)
        rest = whole - sizes[(n + 1) % workers], whole - sizes[(n + 2) % workers]
        return sum(rest) + (workers - 1) * SCALARS
    down = 0 if n == 0 else whole + SCALARS
    handed_up = {"master": 0 if n else workers - 1, "chain": int(n < workers - 1)}[form]
    return down + handed_up * (whole + SCALARS // 2)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("workers", [2, 3, 4])
def test_the_bytes_of_each_form_are_what_it_promises(
    form: str, workers: int, tmp_path: Path
) -> None:
    run = spec(form, workers, evaluate=0, rounds=1)
    numbers, steps = resolve(run).parameters, -(-max(SAMPLES[:workers]) // BATCH)
    finish(run, tmp_path)
    moved = []
    for n in range(workers):
        counted = [e for e in events(tmp_path, f"worker{n}", "bytes") if e["k"] == "gradient"]
        sent, got = (sum(e["payload"] for e in counted if e["dir"] == way) for way in ("out", "in"))
        assert sent == steps * asked_of(form, n, workers, numbers)
        moved += [(sent, got)]
    assert sum(sent for sent, _ in moved) == sum(got for _, got in moved)
    if form == "ring":
        share = steps * 2 * (workers - 1) / workers * 4 * numbers
        assert all(each == pytest.approx(share, rel=1e-3) for pair in moved for each in pair)


WIRE = "rate: 1 Gbit"
NETWORKS = {
    "a switch": ("lan: {%s, members: worker}", "ring"),
    "an access point that is no worker": ("lan: {%s, base: box, members: worker}", "ring"),
    "a star around the first": (
        "lan: {%s, base: worker0, members: [worker1, worker2, worker3]}", "master"
    ),
    "a star around another": (
        "lan: {%s, base: worker1, members: [worker0, worker2, worker3]}", "chain"
    ),
    "wires in a row": (
        "a: {%s, between: [worker0, worker1]}\n  b: {%s, between: [worker1, worker2]}\n"
        "  c: {%s, between: [worker2, worker3]}", "chain"
    ),
    "wires in a circle": (
        "a: {%s, between: [worker0, worker1]}\n  b: {%s, between: [worker1, worker2]}\n"
        "  c: {%s, between: [worker2, worker3]}\n  d: {%s, between: [worker3, worker0]}", "ring"
    ),
}  # fmt: skip


def network(links: str, reduce: str = "") -> str:
    """A file with four workers and a box that is none."""
    return f"""\
nodes: {{worker: {{count: 4}}, box: {{}}}}
links:
  {links.replace("%s", WIRE)}
place: {{worker: worker}}
shaping: none
train:
  scheme: data-parallel
  data: {{name: digits, train: 40, test: 20}}
  {reduce}
"""


@pytest.mark.parametrize(("links", "form"), NETWORKS.values(), ids=NETWORKS)
def test_the_network_decides_on_the_form(links: str, form: str) -> None:
    plan = resolve(loads(network(links), file="t.yaml"))
    assert plan.layout.reduce == form
    assert plan.notes[-1].endswith(f"(train.reduce: {form})")
    names = [f"worker{n}" for n in range(4)]
    joined = {frozenset((seat.name, peer)) for seat in plan.seats for peer, _ in seat.peers}
    row = [frozenset(pair) for pair in pairwise(names)]
    star = [frozenset((names[0], name)) for name in names[1:]]
    circle = [*row, frozenset((names[-1], names[0]))]
    assert joined == set({"ring": circle, "master": star, "chain": row}[form])


@pytest.mark.parametrize("form", FORMS)
def test_every_form_may_be_asked_for_where_all_reach_all(form: str) -> None:
    links, _ = NETWORKS["a switch"]
    plan = resolve(loads(network(links, f"reduce: {form}"), file="t.yaml"))
    assert plan.layout.reduce == form


@pytest.mark.parametrize(
    ("where", "reduce", "said"),
    [
        ("a switch", "spiral",
         "train.reduce is 'spiral'; the choices are auto, ring, master, chain"),
        ("a star around the first", "ring",
         "train.reduce is ring, but no way between 'worker1' and 'worker2' leaves the other "
         "workers out; join the two by a link, or take master or chain"),
        ("wires in a row", "ring",
         "train.reduce is ring, but no way between 'worker3' and 'worker0' leaves the other "
         "workers out; join the two by a link, or take chain"),
        ("wires in a row", "master",
         "train.reduce is master, but no way between 'worker0' and 'worker2' leaves the other "
         "workers out; join the two by a link, or take chain"),
    ],
)  # fmt: skip
def test_what_the_network_does_not_allow_is_refused(
    where: str, reduce: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(network(NETWORKS[where][0], f"reduce: {reduce}"), encoding="utf-8")
    line = file.read_text().splitlines().index(f"  reduce: {reduce}") + 1
    assert main(["check", str(file)]) == 2
    assert capsys.readouterr().err == f"edgenet: {file}:{line}: {said}\n"


def test_check_says_the_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(network(NETWORKS["wires in a row"][0]), encoding="utf-8")
    assert main(["check", str(file)]) == 0
    told = capsys.readouterr().out
    assert "along the chain of worker0, worker1, worker2, worker3 (train.reduce: chain)" in told
