"""`balance: measured`: the cut that one host finds by measurement, and everybody then has."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from chains import chain, finish, one_torch_thread
from small_runs import assert_same, run_processes
from torch import Tensor, nn

from edgenet.cli.main import guarded, main
from edgenet.devices import PROFILES
from edgenet.errors import TopologyError
from edgenet.models.layers import build
from edgenet.models.timing import StageCost
from edgenet.node import ground
from edgenet.node.plan import resolve
from edgenet.topology import dump, load, loads
from edgenet.topology.spec import Optimizer
from edgenet.worker import parser

MEASURED = {"balance": "measured", "window": 4}


@pytest.fixture(autouse=True)
def _one_torch_thread() -> Iterator[None]:
    with one_torch_thread():
        yield


def inject(monkeypatch: pytest.MonkeyPatch, took_s: Mapping[int, float]) -> list[int]:
    """Let every layer take 1 s forward and 2 s backward, and layer i `took_s[i]` times as much;
    returns the list of the batches that layers are measured on."""
    seen: list[int] = []

    def fake(layer: nn.Module, x: Tensor, **_: object) -> tuple[StageCost, Tensor]:
        factor = took_s.get(len(seen), 1.0)
        seen.append(len(x))
        sizes = dict.fromkeys(
            ("weight_bytes", "gradient_bytes", "optimizer_bytes", "stash_bytes", "largest_bytes"), 0
        )
        return StageCost(forward_s=factor, backward_s=2 * factor, step_s=0.0, **sizes), layer(x)

    monkeypatch.setattr(ground, "stage_cost", fake)
    return seen


def test_the_cut_follows_measured_times_and_not_operations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The last layer has the fewest operations; here it takes as long as all others together."""
    inject(monkeypatch, {7: 7.0})
    layout = resolve(chain("mcpipe", 2, **MEASURED)).layout
    assert layout.names(1) == ("F3",)
    assert resolve(chain("mcpipe", 2)).layout.names(1) != ("F3",)


def test_the_cut_follows_the_devices_slow_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers take as long as each other: 6 and 2 of 8 are even where the first is 3 times slower
    than the host, not the other way round."""
    flops = PROFILES["pi3"].training_flops
    assert flops is not None
    monkeypatch.setattr(ground, "calibrate", lambda: 3 * flops)
    spec = chain("gpipe", 2, **MEASURED)
    slow = replace(spec.nodes[0], device="pi3")
    for nodes, starts in (((slow, spec.nodes[1]), (0, 2)), (spec.nodes, (0, 4))):
        inject(monkeypatch, {})
        assert resolve(replace(spec, nodes=nodes)).layout.starts == starts


@pytest.mark.parametrize(("scheme", "rows"), [("mcpipe", 10), ("1f1b", 2)])
def test_layers_are_measured_once_on_what_travels_at_once(
    scheme: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mini-batch of 10, or a quarter of it; the batch is that of the file."""
    seen = inject(monkeypatch, {})
    resolve(chain(scheme, 3, **MEASURED))
    assert seen == [rows] * 8


def test_windows_follow_the_measured_times_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the middle stage fills in front of a slow one, and not between even ones."""
    inject(monkeypatch, {7: 100.0})
    slow = resolve(chain("mcpipe", 3, **MEASURED)).layout
    inject(monkeypatch, {})
    even = resolve(chain("mcpipe", 3, **MEASURED)).layout
    assert slow.table.windows == (4, 4, 1)
    assert even.table.windows < slow.table.windows


def test_who_reads_the_resolved_text_has_the_same_cut_and_measures_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inject(monkeypatch, {0: 9.0})
    plan = resolve(chain("mcpipe", 3, **MEASURED))
    train = yaml.safe_load(dump(plan.topology))["train"]
    assert train["split"] == [plan.layout.names(n)[-1] for n in range(3)]
    assert train["windows"] == list(plan.layout.table.windows)
    again = resolve(loads(dump(plan.topology), file="topology.yaml"), measure=False)
    assert again.layout == plan.layout
    assert (again.digest, again.options, again.settled) == (plan.digest, plan.options, ())


def test_given_windows_stay_and_flushing_schemes_need_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inject(monkeypatch, {})
    assert resolve(chain("pipedream", 2, windows=[2, 1], **MEASURED)).settled == (
        "train.split=[C4,F3]",
    )
    inject(monkeypatch, {})
    assert resolve(chain("gpipe", 2, **MEASURED)).settled == ("train.split=[C4,F3]",)
    seen = inject(monkeypatch, {})
    assert resolve(chain("pipedream", 2, split=[1, 7], **MEASURED)).settled == ()
    assert seen == []


def test_ranks_that_read_the_file_each_for_itself_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "chain.yaml"
    file.write_text(dump(chain("mcpipe", 2, **MEASURED)), encoding="utf-8")
    with pytest.raises(TopologyError, match=r"train\.balance is measured.*--timetable"):
        resolve(load(file), measure=False)
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK"):
        monkeypatch.setenv(name, "2" if "SIZE" in name else "0")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "1")
    assert guarded(parser().parse_args([str(file)])) == 2
    assert main(["compare", str(file), "--schemes", "mcpipe"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert [line for line in told if "train.balance is measured" in line] == told[:2]


def test_what_was_measured_is_told_and_containers_are_given_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Measured indeed: any cut may come out, but it is one."""
    file = tmp_path / "chain.yaml"
    file.write_text(dump(chain("1f1b", 2, **MEASURED)), encoding="utf-8")
    assert main(["plan", str(file), "--timetable"]) == 0
    (kept,) = (line for line in capsys.readouterr().out.splitlines() if "to keep it: " in line)
    setting = kept.partition("--set ")[2]
    assert load(file, [setting]).train.options["split"][-1] == "F3"
    assert main(["plan", str(file), "--timetable", "--format", "json", "--set", setting]) == 0
    assert json.loads(capsys.readouterr().out)["settled"] == []
    assert main(["compose", str(file)]) == 0
    services = yaml.safe_load(capsys.readouterr().out)["services"]
    given = [[w for w in each["command"] if "split" in w] for each in services.values()]
    assert given[0] == given[1]
    assert len(given[0]) == 1


def test_measuring_leaves_random_numbers_alone() -> None:
    layers = build("alexnet-w4", classes=10, shape=(1, 28, 28), seed=0)
    before = torch.random.get_rng_state()
    costs = ground.layer_costs(layers, (1, 28, 28), Optimizer(), 4)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert len(costs) == 8
    assert min(cost.forward_s + cost.backward_s for cost in costs) > 0


@pytest.mark.processes
def test_a_run_keeps_the_cut_that_it_measured(tmp_path: Path) -> None:
    """The text in its folder, read again, trains to the same weights."""
    run = run_processes(chain("mcpipe", 2, **MEASURED), tmp_path / "run")
    again = finish(load(run / "topology.yaml"), tmp_path / "again")
    assert_same(torch.load(run / "model.pt", weights_only=True), again)
