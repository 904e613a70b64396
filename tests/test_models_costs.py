"""The SGLR paper's cost model against the figures that the paper draws from it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from edgenet.errors import InputError
from edgenet.models.alexnet import PAPER_CUT
from edgenet.models.costs import (
    AVERAGED,
    SCHEMES,
    Sizes,
    client_flops,
    reduction,
    traffic,
    traffic_on_links,
    training_time_s,
)
from edgenet.models.layers import build, cut, table

PAPER = Sizes(
    smashed_bytes=0.024, model_bytes=200, head_bytes=67, samples=50_000, clients=100, phi=0.5
)
"""Sec. 4.4, in MB."""


@pytest.mark.parametrize(("other", "percent", "digits"), [("sfl", 88.6, 1), ("fedavg", 95.499, 3)])
def test_sglr_saves_what_the_paper_says(other: str, percent: float, digits: int) -> None:
    saved = 100 * reduction("sglr", other, PAPER)
    assert math.floor(saved * 10**digits) / 10**digits == percent  # the paper cuts digits off


def test_table_6_by_hand() -> None:
    sizes = Sizes(smashed_bytes=3, model_bytes=1000, head_bytes=50, samples=40, clients=4, phi=0.25)
    assert traffic("fedavg", sizes) == 2 * 4 * 1000
    assert traffic("ssl", sizes) == traffic("sfl", sizes) == 2 * 40 * 3 + 2 * 4 * 50
    assert traffic("psl", sizes) == traffic("slr", sizes) == 2 * 40 * 3
    assert traffic("sglr", sizes) == traffic("sgl", sizes) == 1.75 * 40 * 3 + 3
    assert traffic("sfl", replace(sizes, syncs=5)) == 2 * 40 * 3 + 5 * 2 * 4 * 50


def test_the_averaged_gradient_is_one_of_a_batch_a_step() -> None:
    """4 clients with 10 samples each in batches of 5: two steps, in each of which one unique
    gradient (three active of four) and one averaged one come down."""
    sizes = Sizes(smashed_bytes=3, model_bytes=0, head_bytes=0, samples=40, clients=4, phi=0.75)
    assert traffic_on_links("sglr", sizes) == 40 * 3 + 2 * (5 * 3 + 5 * 3)
    labelled = replace(sizes, label_bytes=8)
    assert traffic_on_links("sglr", labelled) - traffic_on_links("sglr", sizes) == 40 * 8


@pytest.mark.parametrize("scheme", SCHEMES)
def test_without_active_clients_every_byte_is_table_6s(scheme: str) -> None:
    sizes = replace(PAPER, phi=0.0)
    extra = sizes.smashed_bytes if scheme in AVERAGED else 0.0
    assert traffic_on_links(scheme, sizes) == pytest.approx(traffic(scheme, sizes) - extra)


def test_training_time_by_hand() -> None:
    sizes = Sizes(smashed_bytes=3, model_bytes=1000, head_bytes=50, samples=40, clients=4, phi=0.5)
    seconds = {name: training_time_s(name, sizes, 7, 10) for name in SCHEMES}
    assert seconds["fedavg"] == 7 + 2 * 1000 / 10
    assert seconds["ssl"] == 7 + 2 * 40 * 3 / 10 + 2 * 4 * 50 / 10
    assert seconds["sfl"] == pytest.approx(7 + 2 * 40 * 3 / (4 * 10) + 2 * 50 / 10)
    assert seconds["sglr"] == pytest.approx(7 + (1.5 * 40 * 3 + 3) / (4 * 10))


def test_flops_are_those_of_the_layers_that_a_client_holds() -> None:
    shape = (1, 28, 28)
    model = build("alexnet", classes=10, shape=shape, seed=0)
    head, _ = cut(model, PAPER_CUT)
    of_head, of_model = (sum(r.forward_flops for r in table(m, shape)) for m in (head, model))
    sizes = replace(PAPER, samples=5000, clients=5)
    flops = {s: client_flops(s, of_head, of_model, sizes) for s in ("centralized", *SCHEMES)}
    assert flops["sglr"] == flops["psl"] == flops["sfl"] == 3 * (2 * 28 * 28 * 32 * 9) * 1000
    assert flops["centralized"] == 5 * flops["fedavg"]  # table 4: 2.944 and 0.588
    assert flops["fedavg"] > 10 * flops["sglr"]


@pytest.mark.parametrize("ask", [traffic, traffic_on_links])
def test_another_scheme_has_no_formula(ask: Callable[[str, Sizes], float]) -> None:
    with pytest.raises(InputError, match="no cost model is known for scheme 'gossip'; there is"):
        ask("gossip", PAPER)
    with pytest.raises(InputError, match="'gossip'"):
        client_flops("gossip", 1, 1, PAPER)
