"""The chaos benchmark: what it plans, how it judges, and one real run that is struck."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from edgenet.schemes import SCHEMES

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
STATE = {"w": torch.tensor([1.0, 2.0])}
OTHER = {"w": torch.tensor([1.0, 2.1])}
TOLD = {"faults": [{"node": "server", "peer": "learner1", "what": "lost"}]}


@pytest.fixture(scope="module")
def chaos() -> Iterator[Any]:
    """The benchmark's modules, which lie outside the package."""
    before = list(sys.path)
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import chaos
        import chaos_plan
        import chaos_run
        import chaos_verdict

        yield SimpleNamespace(main=chaos, plan=chaos_plan, run=chaos_run, verdict=chaos_verdict)
    finally:
        sys.path[:] = before


def case(chaos: Any, kind: str, node: str, scheme: str = "fedavg", restart: int = 0) -> Any:
    fault = chaos.plan.Fault(kind=kind, node=node, after=3, length_s=0.5)
    return chaos.plan.Case(
        number=0, scheme=scheme, restart=restart, shaping="paced", faults=(fault,)
    )


def outcome(chaos: Any, of: Any, undisturbed: Any = STATE, **seen: Any) -> tuple[str, str]:
    usual: dict[str, Any] = {
        "code": 0, "said": "", "summary": {}, "weights": STATE, "placed": of.faults,
        "wall_s": 4.0, "to_end_s": 2.0, "leftovers": (),
    }  # fmt: skip
    found = chaos.run.Seen(**{**usual, **seen})
    verdict = chaos.verdict.judge(of, chaos.plan.cast(of.scheme), found, undisturbed)
    return verdict.outcome, verdict.why


def test_a_plan_strikes_every_scheme_in_every_way_and_is_its_seeds(chaos: Any) -> None:
    plan = chaos.plan.draw(5, 200, relay=True)
    assert plan == chaos.plan.draw(5, 200, relay=True) != chaos.plan.draw(6, 200, relay=True)
    struck = [(case.scheme, fault) for case in plan for fault in case.faults]
    assert len(struck) == 200
    assert {scheme for scheme, _ in struck} == set(SCHEMES)
    assert {fault.kind for _, fault in struck} == {*chaos.plan.HARD, *chaos.plan.MILD}
    assert Counter(case.shaping for case in plan)["relay"] == 4
    assert {case.restart for case in plan} == {0, chaos.plan.RESTART}
    silence_s = chaos.plan.SILENCE_S
    for scheme, fault in struck:
        assert fault.node in chaos.plan.cast(scheme).nodes
        assert fault.after < chaos.plan.ROUNDS
        if fault.kind in chaos.plan.MILD:
            assert 0 < fault.length_s < silence_s / 2
        elif fault.length_s:
            assert fault.length_s > silence_s
    few = chaos.plan.draw(5, len(SCHEMES), relay=False)
    assert [case.scheme for case in few] == list(SCHEMES)


def test_a_bound_grows_with_the_undisturbed_run_and_with_every_fault(chaos: Any) -> None:
    one = case(chaos, "wake", "server").faults
    bound_s = chaos.plan.bound_s
    assert bound_s(10.0, one) - bound_s(4.0, one) == pytest.approx(24.0)
    assert bound_s(4.0, one * 2) - bound_s(4.0, one) > chaos.plan.SILENCE_S + 15.0


def test_a_fault_that_leaves_the_mathematics_alone_leaves_the_weights(chaos: Any) -> None:
    mild = case(chaos, "pause", "learner1")
    assert outcome(chaos, mild) == ("same weights", "")
    assert outcome(chaos, mild, weights=OTHER)[0] == "wrong"
    assert outcome(chaos, mild, code=3, said="learner1 was lost")[0] == "wrong"
    assert outcome(chaos, mild, code=None)[0] == "hung"
    timed = case(chaos, "pause", "learner1", scheme=chaos.plan.TIMED)
    assert outcome(chaos, timed, undisturbed=None)[0] == "same weights"  # as far as can be told
    assert outcome(chaos, timed, undisturbed=None, summary=TOLD)[0] == "wrong"
    late = {"faults": [{**each, "what": "late"} for each in TOLD["faults"]]}
    assert outcome(chaos, timed, undisturbed=None, summary=late)[0] == "same weights"
    cut = case(chaos, "cut", "learner1", scheme=chaos.plan.TIMED)  # found late before it is silent
    assert outcome(chaos, cut, undisturbed=None, summary=late)[0] == "complete, loss recorded"
    restarted = case(chaos, "kill", "server", restart=2)
    assert outcome(chaos, restarted)[0] == "same weights"
    assert outcome(chaos, restarted, weights=OTHER, summary=TOLD)[0] == "wrong"
    assert outcome(chaos, restarted, code=3, said="server was killed")[0] == "wrong"


def test_who_was_lost_is_told(chaos: Any) -> None:
    lost = case(chaos, "kill", "learner1")
    assert outcome(chaos, lost, weights=OTHER, summary=TOLD) == ("complete, loss recorded", "")
    word, why = outcome(chaos, lost, weights=OTHER)
    assert (word, "learner1" in why) == ("wrong", True)
    assert outcome(chaos, lost, weights=None)[1] == "exit code 0 and no model.pt"
    nan = {"w": torch.tensor([1.0, float("nan")])}
    assert outcome(chaos, lost, weights=nan, summary=TOLD)[0] == "wrong"
    assert outcome(chaos, lost, code=3, said="learner1 was lost")[0] == "wrong"  # a quorum is left


def test_a_failed_run_names_who_was_hit(chaos: Any) -> None:
    hit = case(chaos, "kill", "server", scheme="mcpipe")
    named = outcome(chaos, hit, code=3, said="...\nlearner0 lost server; look at its log")
    assert named == ("named cause", "")
    assert outcome(chaos, hit, code=3, said="something went wrong")[0] == "wrong"
    assert outcome(chaos, hit, code=3, said="Traceback (most recent call last)")[0] == "wrong"
    assert outcome(chaos, hit, code=1, said="server was killed")[0] == "wrong"


@pytest.mark.processes
@pytest.mark.timeout(120)
def test_a_killed_server_is_struck_told_of_and_nothing_is_left(chaos: Any, tmp_path: Path) -> None:
    struck = case(chaos, "kill", "server")
    told = chaos.main.Told(
        struck,
        seen := chaos.run.play(struck, 100.0),
        chaos.verdict.judge(struck, chaos.plan.cast("fedavg"), seen, None),
    )
    assert (told.verdict.outcome, told.verdict.why) == ("named cause", "")
    assert seen.placed == struck.faults
    assert 0 < seen.to_end_s < seen.wall_s
    assert seen.leftovers == ()
    figures = chaos.main.totals([told])
    assert (figures["faults"], figures["hangs"], figures["wrong"]) == (1, 0, 0)
    chaos.main.write([told], figures | {"wall_s": 4.0}, tmp_path, seed=0)
    assert "| `fedavg` | 1 named cause; " in (tmp_path / "README.md").read_text()
    assert "kill,server,3" in (tmp_path / "faults.csv").read_text()
