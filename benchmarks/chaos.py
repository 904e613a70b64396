"""Kills, freezes, cut links and bursts of delay over every scheme: does each run end, and rightly?

Every scheme first runs undisturbed, then with faults drawn from `--seed`: two to a run where there
are many. They strike through the run's control socket, as a person's would in `edgenet watch`, when
a round has been reported. docs/faults.md is what the outcomes are held to: the weights of the
undisturbed run where nobody was lost for good, a complete run that tells who was, or exit code 3
and a sentence that names a node that was hit or its peer. A run that is still there at its bound
(`chaos_plan.bound_s`: 2 undisturbed runs, and for each fault its length, `silence`, 15 s and 2
undisturbed runs) has hung.
"""

from __future__ import annotations

import argparse
import csv
import os
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from chaos_plan import HARD, MILD, TIMED, Case, bound_s, cast, draw
from chaos_run import STOP, Seen, play
from chaos_verdict import HUNG, WRONG, Verdict, judge
from common import Figures, say

RESULTS = Path(__file__).with_name("results") / "chaos"
SIDE_BY_SIDE = 2
_FIRST_BOUND_S = 180.0


@dataclass(frozen=True)
class Told:
    """One run, judged."""

    case: Case
    seen: Seen
    verdict: Verdict


def main() -> None:
    """Play, and end with 1 if a run hung, was wrong or left anything."""
    given = _arguments()
    began = time.monotonic()
    cases = draw(given.seed, given.faults, relay=os.geteuid() == 0)
    if given.only:
        cases = [case for case in cases if case.number in given.only]
    folder = Path(given.out)
    told = _play_all(cases, folder)
    figures = totals(told) | {"wall_s": time.monotonic() - began}
    write(told, figures, folder, given.seed)
    if given.format == "text":
        print(table(told))
    say(figures, given.format)
    bad = [each for each in told if each.verdict.outcome in (HUNG, WRONG) or each.seen.leftovers]
    sys.exit(1 if bad else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--faults", type=int, default=56, help="how many in all (default: 56)")
    size.add_argument("--quick", dest="faults", action="store_const", const=28, help="28")
    size.add_argument("--full", dest="faults", action="store_const", const=200, help="200")
    parser.add_argument("--seed", type=int, default=0, help="the same one makes the same faults")
    parser.add_argument("--only", type=int, nargs="+", help="these cases of the plan alone")
    parser.add_argument("--out", default=str(RESULTS), help="folder of the report")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return parser.parse_args()


def _play_all(cases: Sequence[Case], folder: Path) -> list[Told]:
    """Two schemes at a time; Ctrl-C ends what runs."""
    names = dict.fromkeys(case.scheme for case in cases)
    own = [[case for case in cases if case.scheme == name] for name in names]
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        try:
            return [
                told for some in pool.map(lambda own: _scheme(own, folder), own) for told in some
            ]
        except BaseException:
            STOP.set()
            pool.shutdown(cancel_futures=True)
            raise


def _scheme(cases: Sequence[Case], folder: Path) -> list[Told]:
    """All of a scheme's, after a run without faults."""
    undisturbed = _undisturbed(cases[0].scheme)
    return [_one(case, undisturbed, folder) for case in cases]


def _undisturbed(scheme: str) -> Seen:
    case = Case(number=-1, scheme=scheme, restart=0, shaping="paced", faults=())
    seen = play(case, _FIRST_BOUND_S)
    if seen.code != 0 or seen.weights is None:
        sys.exit(f"{scheme} failed undisturbed:\n{seen.said}")
    return seen


def _one(case: Case, undisturbed: Seen, folder: Path) -> Told:
    keep = folder / "failed" / f"{case.number}-{case.scheme}"
    seen = play(case, bound_s(undisturbed.wall_s, case.faults))
    weights = None if case.scheme == TIMED else undisturbed.weights
    verdict = judge(case, cast(case.scheme), seen, weights)
    told = Told(case, seen, verdict)
    if verdict.why or seen.leftovers:
        keep.parent.mkdir(parents=True, exist_ok=True)
        keep.with_suffix(".txt").write_text(f"{describe(told)}\n\n{seen.said}", encoding="utf-8")
    print(describe(told), file=sys.stderr)
    return told


def describe(told: Told) -> str:
    """One run in a line."""
    case, seen = told.case, told.seen
    blows = ", ".join(
        f"{fault.kind} {fault.node} after {fault.after} ({fault.length_s:g} s)"
        + ("" if fault in seen.placed else " came too late")
        for fault in case.faults
    )
    more = [words for words in (told.verdict.why, told.verdict.cause) if words]
    more += [f"left: {', '.join(seen.leftovers)}"] if seen.leftovers else []
    return (
        f"{case.number} {case.scheme} ({case.shaping}, restart {case.restart}): {blows}: "
        f"{told.verdict.outcome}, {seen.wall_s:.1f} s{''.join(f'; {each}' for each in more)}"
    )


def totals(told: Sequence[Told]) -> Figures:
    """Over all runs."""
    outcomes = Counter(each.verdict.outcome for each in told)
    return {
        "faults": sum(len(each.seen.placed) for each in told),
        "too_late": sum(len(each.case.faults) - len(each.seen.placed) for each in told),
        "runs": len(told),
        "hangs": outcomes[HUNG],
        "wrong": outcomes[WRONG],
        "leftovers": sum(len(each.seen.leftovers) for each in told),
        "worst_s": max((each.seen.to_end_s for each in told), default=0.0),
        "outcomes": dict(outcomes),
    }


def cells(told: Sequence[Told]) -> Mapping[tuple[str, str], list[Told]]:
    """(scheme, kind of fault) -> the runs in which it struck."""
    found = defaultdict[tuple[str, str], list[Told]](list)
    for each in told:
        for fault in each.seen.placed:
            found[each.case.scheme, fault.kind].append(each)
    return found


def table(told: Sequence[Told]) -> str:
    """Markdown: a scheme a line, a kind of fault a column; outcomes and the worst time to end."""
    kinds, found = (*HARD, *MILD), cells(told)
    lines = [f"| scheme | {' | '.join(kinds)} |", "| --- " * (len(kinds) + 1) + "|"]
    for scheme in dict.fromkeys(each.case.scheme for each in told):
        row = [_cell(found.get((scheme, kind), [])) for kind in kinds]
        lines.append(f"| `{scheme}` | {' | '.join(row)} |")
    return "\n".join(lines)


def _cell(runs: Sequence[Told]) -> str:
    if not runs:
        return ""
    counts = Counter(each.verdict.outcome for each in runs)
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
    left = sum(len(each.seen.leftovers) for each in runs)
    worst = f"{max(each.seen.to_end_s for each in runs):.0f} s"
    return "; ".join([outcomes, worst] + ([f"{left} left behind"] if left else []))


def write(told: Sequence[Told], figures: Figures, folder: Path, seed: int) -> None:
    """README.md and faults.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    outcomes = ", ".join(f"{count} {name}" for name, count in figures["outcomes"].items())
    text = f"""\
# Chaos

{figures["faults"]} faults in {figures["runs"]} runs, seed {seed}: {figures["hangs"]} hangs, \
{figures["wrong"]} wrong, {figures["leftovers"]} left behind; at most {figures["worst_s"]:.0f} s \
from a run's last fault to its end, {figures["wall_s"] / 60:.0f} minutes in all ({outcomes}).

A cell: how the runs ended in which the fault struck, and the longest time from the run's last fault
to its end.

{table(told)}
"""
    (folder / "README.md").write_text(text, encoding="utf-8")
    with (folder / "faults.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ["case", "scheme", "shaping", "restart", "kind", "node", "after", "length_s",
             "struck", "outcome", "why", "wall_s", "to_end_s", "leftovers"]
        )  # fmt: skip
        for each in told:
            for fault in each.case.faults:
                writer.writerow(
                    [each.case.number, each.case.scheme, each.case.shaping, each.case.restart,
                     fault.kind, fault.node, fault.after, fault.length_s,
                     fault in each.seen.placed, each.verdict.outcome,
                     each.verdict.why or each.verdict.cause,
                     f"{each.seen.wall_s:.2f}", f"{each.seen.to_end_s:.2f}",
                     "; ".join(each.seen.leftovers)]
                )  # fmt: skip


if __name__ == "__main__":
    main()
