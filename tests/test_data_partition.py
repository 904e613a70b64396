"""How training data is dealt out: nothing twice, by the seed alone, and as each kind promises."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from edgenet.data import describe, partition
from edgenet.data.seeds import generator
from edgenet.errors import InputError
from edgenet.topology.spec import Partition

LABELS = torch.randint(10, (1003,), generator=torch.Generator().manual_seed(0))
KINDS = {
    "iid": Partition(),
    "shards": Partition(kind="shards"),
    "dirichlet": Partition(kind="dirichlet", alpha=0.3),
    "sizes": Partition(kind="sizes", sizes=(5, 100, 200, 1, 17)),
}


def deal(spec: Partition, nodes: int = 5, seed: int = 1, labels: Tensor = LABELS) -> list[Tensor]:
    return list(partition(labels, spec, nodes, seed))


@pytest.mark.parametrize("kind", KINDS)
def test_no_sample_is_dealt_twice_and_shares_are_sorted(kind: str) -> None:
    shares = deal(KINDS[kind])
    dealt = torch.cat(shares)
    assert len(shares) == 5
    assert dealt.dtype == torch.int64
    assert dealt.unique().numel() == len(dealt) == (323 if kind == "sizes" else 1003)
    assert all(len(share) and bool((share.diff() > 0).all()) for share in shares)


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_alone_decides(kind: str) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = deal(KINDS[kind])
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert all(map(torch.equal, one, deal(KINDS[kind])))
    assert not all(
        len(a) == len(b) and torch.equal(a, b)
        for a, b in zip(one, deal(KINDS[kind], seed=2), strict=True)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_one_node_gets_what_all_would_have_got(kind: str) -> None:
    (share,) = deal(KINDS[kind], nodes=1)
    assert torch.equal(share, torch.cat(deal(KINDS[kind])).sort().values)


def test_iid_sizes_differ_by_one_at_most() -> None:
    sizes = [len(share) for share in deal(KINDS["iid"], nodes=7)]
    assert max(sizes) - min(sizes) == 1
    assert [len(share) for share in deal(KINDS["iid"], nodes=1003)] == [1] * 1003


def test_iid_shares_look_like_the_whole() -> None:
    labels = torch.arange(10).repeat(1000)
    for counts in describe(labels, deal(Partition(), labels=labels), 10):
        assert min(counts) > 140
        assert max(counts) < 260


def test_shards_give_few_labels_to_each_node() -> None:
    labels = torch.arange(10).repeat(100)  # 10 x 100: pieces of 50 have one label each
    shares = deal(Partition(kind="shards"), nodes=10, labels=labels)
    assert all(len(share) == 100 for share in shares)
    assert all(labels[share].unique().numel() <= 2 for share in shares)
    other = deal(Partition(kind="shards", shards_per_node=1), nodes=20, labels=labels)
    assert all(labels[share].unique().numel() == 1 for share in other)


def test_dirichlet_goes_from_one_label_each_to_uniform() -> None:
    labels = torch.arange(10).repeat(500)

    def largest(alpha: float) -> float:
        """Mean over the labels of the largest part that one node has of it."""
        spec = Partition(kind="dirichlet", alpha=alpha)
        counts = torch.tensor(describe(labels, deal(spec, labels=labels), 10)).double()
        return float((counts.max(0).values / counts.sum(0)).mean())

    assert largest(0.05) > 0.8
    assert 0.3 < largest(1.0) < 0.7
    assert largest(1000.0) < 0.25


def test_dirichlet_with_a_tiny_alpha_still_deals_everything() -> None:
    shares = deal(Partition(kind="dirichlet", alpha=1e-9), nodes=3)
    assert sum(map(len, shares)) == 1003


def test_sizes_are_as_asked() -> None:
    assert [len(share) for share in deal(KINDS["sizes"])] == [5, 100, 200, 1, 17]


@pytest.mark.parametrize(
    ("spec", "nodes", "text"),
    [
        (Partition(kind="fair"), 2, "'fair' is unknown; the choices are iid, shards, dirichlet"),
        (Partition(), 1004, "1003 training samples cannot be dealt out to 1004 nodes"),
        (Partition(), 0, "to 0 nodes"),
        (Partition(kind="shards", shards_per_node=0), 5, "shards_per_node is 0"),
        (Partition(kind="shards", shards_per_node=300), 5, "allow from 1 to 200"),
        (Partition(kind="dirichlet", alpha=0.0), 5, "alpha must be above 0 and finite, not 0.0"),
        (Partition(kind="dirichlet", alpha=float("inf")), 5, "not inf"),
        (Partition(kind="dirichlet", alpha=0.001), 100, "raise alpha, or take fewer nodes"),
        (Partition(kind="sizes", sizes=(1, 2)), 3, "has 2 numbers for 3 nodes"),
        (Partition(kind="sizes"), 3, "has 0 numbers for 3 nodes"),
        (Partition(kind="sizes"), 1, "at least 1 each"),
        (Partition(kind="sizes", sizes=(1, 0)), 2, "at least 1 each"),
        (Partition(kind="sizes", sizes=(1000, 4)), 2, "at most 1003 (the training samples)"),
        (Partition(kind="sizes", sizes=(1000, 4)), 1, "at most 1003 (the training samples)"),
    ],
)
def test_impossible_dealings_say_why(spec: Partition, nodes: int, text: str) -> None:
    with pytest.raises(InputError) as caught:
        deal(spec, nodes)
    assert text in str(caught.value)


def test_describe_counts_labels() -> None:
    labels = torch.tensor([0, 1, 1, 2])
    shares = [torch.tensor([0, 1]), torch.tensor([2, 3])]
    assert describe(labels, shares, 4) == [[1, 1, 0, 0], [0, 1, 1, 0]]


def test_streams_are_independent_and_fixed() -> None:
    def first(*key: int | str) -> int:
        return int(torch.randint(1 << 40, (1,), generator=generator(*key)))

    keys: list[tuple[int | str, ...]] = [("a", 1), ("a", 2), ("b", 1), (1, 1), ("a", "1"), ("a",)]
    assert len({first(*key) for key in keys}) == len(keys)
    assert first("a", 1) == first("a", 1)
