"""The mcPipe paper's figures 2 to 4 and its statements, beside what was measured."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from common import decided
from mcpipe_cells import (
    EXACT,
    LINKS,
    Cells,
    Curve,
    Setting,
    Size,
    curves,
    exact,
    throughput,
    trained,
    training,
)
from sglr_points import spread

from edgenet.results.figures import picture, plain_log

Drawn = Mapping[tuple[int, str], Mapping[str, Curve]]
"""(number of the figure, link) -> scheme -> its curve."""
_CLOSE = 0.01
"""Accuracies that differ by no more are almost exactly the same."""
_AS_LONG = 1.1
"""... and times up to so many of the other."""


def write(folder: Path, size: Size, cells: Cells, tables: str) -> dict[str, str]:
    """README.md, and CSV and PNG of every figure; returns the verdicts."""
    drawn = {
        (setting.number, link): curves(size, cells, setting, link)
        for setting in size.settings
        for link in LINKS
    }
    for setting in size.settings:
        draw(folder / f"fig{setting.number}.png", size, setting, drawn)
    write_csv(folder / "accuracy.csv", size, drawn)
    told = verdicts(size, cells, drawn)
    words = [_front(size), *(f"- {claim}: {said}" for claim, said in told.items()), ""]
    words += [_speeds(folder, size, cells), "", *map(_shown, size.settings), tables]
    (folder / "README.md").write_text("\n".join(words), encoding="utf-8")
    return told


def draw(path: Path, size: Size, setting: Setting, drawn: Drawn) -> None:
    """Mean accuracy over minutes, a panel for each kind of link."""
    with picture(path, columns=len(LINKS), size=(5.4, 3.8)) as axes:
        for place, link in zip(axes[0], LINKS, strict=True):
            for scheme, curve in drawn[setting.number, link].items():
                minutes = [n * curve.epoch_s / 60 for n in range(len(curve.mean) + 1)]
                place.plot(minutes, [0.1, *curve.mean], label=label(size, scheme))
            plain_log(place.xaxis, from_zero=0.05)
            place.set(xlabel="time (minutes)", ylabel="accuracy", xlim=(0, None),
                      title=f"{link}, {setting.workers} workers, {setting.data}")  # fmt: skip
        lines = axes[0][0].get_legend_handles_labels()
        axes[0][0].figure.legend(*lines, loc="outside lower center", ncols=5)


def label(size: Size, scheme: str) -> str:
    """The scheme, and whose training its curve shows where that is another's: 'gpipe (1f1b's)'."""
    whose = {seed: trained(size, scheme, seed) for seed in size.seeds}
    own = [seed for seed in size.seeds if whose[seed] == scheme]
    (lender,) = {*whose.values()} - {scheme} or {scheme}
    if lender == scheme:
        return scheme
    seeds = f"seed {', '.join(map(str, own))}; else " if own else ""
    return f"{scheme} ({seeds}{lender}'s)"


def write_csv(path: Path, size: Size, drawn: Drawn) -> None:
    """A line for each point of a curve."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        head = ("figure", "link", "scheme", "trained", "seed", "epoch", "minutes", "accuracy")
        rows.writerow(head)
        for (number, link), schemes in drawn.items():
            for scheme, curve in schemes.items():
                for seed, run in zip(size.seeds, curve.accuracies, strict=True):
                    whose = trained(size, scheme, seed)
                    for epoch, accuracy in enumerate(run, start=1):
                        minutes = round(epoch * curve.epoch_s / 60, 4)
                        point = (seed, epoch, minutes, accuracy)
                        rows.writerow((number, link, scheme, whose, *point))


def verdicts(size: Size, cells: Cells, drawn: Drawn) -> dict[str, str]:
    """The paper's statements of section V -> verdict and figures."""
    told = {}
    settings = {setting.number: setting for setting in size.settings}
    for (number, link), of in drawn.items():
        where = f"Fig. {number}, {link}"
        piped, greedy = of["pipedream"], of["greedy"]
        told[f"{where}: mcPipe is as accurate as PipeDream, epoch by epoch"] = _alike(
            exact(size, cells, settings[number], link), of
        )
        told[f"{where}: mcPipe takes PipeDream's time"] = _as_long(of)
        told[f"{where}: greedy is ahead at first"] = _ahead(greedy, piped, piped.epoch_s)
        told[f"{where}: greedy ends lower"] = _ahead(piped, greedy, piped.end_s)
        for scheme in ("local", "data-parallel"):
            claim = f"{where}: PipeDream outperforms {scheme}"
            told[claim] = _ahead(piped, of[scheme], piped.end_s)
        slowest = max(of, key=lambda scheme: of[scheme].epoch_s)
        ratio = of["data-parallel"].epoch_s / piped.epoch_s
        told[f"{where}: data-parallel takes longest"] = (
            f"{_said(slowest == 'data-parallel')}: {ratio:.1f} x PipeDream's time for an epoch; "
            f"the slowest is {slowest}"
        )
    told |= _more_workers(size, cells)
    if {3, 4} <= {setting.number for setting in size.settings}:
        easy, hard = (drawn[n, "Ethernet"]["pipedream"].mean[-1] for n in (3, 4))
        told["CIFAR-10 takes longer than MNIST to an accuracy"] = (
            f"{_said(easy > hard)}: after as many epochs {hard:.3f} and {easy:.3f}"
        )
    return told


def _said(holds: bool) -> str:
    return "confirmed" if holds else "refuted"


def _alike(double: Mapping[str, Sequence[float]], of: Mapping[str, Curve]) -> str:
    """mcPipe against PipeDream, first seed: in float64, where mathematics alone can show; in
    float32 a rounding of either of them may come to as much (mcpipe_rounding.py)."""
    apart = {scheme: _apart(double[scheme], double["pipedream"]) for scheme in double}
    said = [f"{scheme} within {100 * apart[scheme]:.1f}" for scheme in EXACT[1:]]
    single = _apart(of["mcpipe"].accuracies[0], of["pipedream"].accuracies[0])
    epochs = len(double["pipedream"])
    return (
        f"{_said(max(apart.values()) <= _CLOSE)}: in float64 {', '.join(said)} points over "
        f"{epochs} epochs; in float32 rounding takes mcpipe {100 * single:.1f} away"
    )


def _apart(one: Sequence[float], other: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def _as_long(of: Mapping[str, Curve]) -> str:
    slower = {scheme: of[scheme].epoch_s / of["pipedream"].epoch_s for scheme in EXACT[1:]}
    said = [f"{scheme} {ratio:.2f} x" for scheme, ratio in slower.items()]
    return f"{_said(max(slower.values()) <= _AS_LONG)}: {', '.join(said)}"


def _ahead(better: Curve, other: Curve, seconds: float) -> str:
    """Accuracy of one less the other's at a moment, seed by seed."""
    gains = [100 * (better.at(seconds, n) - other.at(seconds, n))
             for n in range(len(better.accuracies))]  # fmt: skip
    mean, deviation, count = spread(gains)
    return (
        f"{decided(mean, deviation, count)}: {mean:+.1f} points after {seconds / 60:.2f} minutes "
        f"(deviation {deviation:.1f} over {count} seeds)"
    )


def _more_workers(size: Size, cells: Cells) -> dict[str, str]:
    """The third worker's gain: the paper's 60 % take 40 and 30 minutes."""
    by_workers = {setting.workers: setting for setting in size.settings}
    told = {}
    for link in LINKS if {2, 3} <= set(by_workers) else ():
        two, three = (throughput(cells, by_workers[n], ["mcpipe"], link)[0] for n in (2, 3))
        told[f"{link}: mcPipe is faster with 3 workers than with 2 (paper: 1.33 x)"] = (
            f"{_said(three > two)}: {three / two:.2f} x the samples per second"
        )
    return told


def _speeds(folder: Path, size: Size, cells: Cells) -> str:
    """Samples per second, also as throughput.csv."""
    by_workers = {setting.workers: setting for setting in size.settings}
    head = ("workers", "link", *size.schemes)
    rows = [
        (str(workers), link, *(f"{x:.1f}" for x in throughput(cells, setting, size.schemes, link)))
        for workers, setting in by_workers.items()
        for link in LINKS
    ]
    with (folder / "throughput.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows((head, *rows))
    return "## Samples per second between two updates\n\n" + markdown(head, rows)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shown(setting: Setting) -> str:
    return f"![Fig. {setting.number}](fig{setting.number}.png)\n"


def _front(size: Size) -> str:
    one = size.settings[0]
    first = training(size, one, "pipedream", next(iter(LINKS)), size.seeds[0])[0]
    links = ", ".join(f"{name}: {what}" for name, what in LINKS.items())
    labels = [label(size, scheme) for scheme in size.schemes]
    lent = ", ".join(each for each, scheme in zip(labels, size.schemes, strict=True)
                     if each != scheme)  # fmt: skip
    return f"""\
# mcPipe, section V, {size.name}

{size.model} (VGG16, narrower where its name says so, with normalisation: without it hardly
anything is learned in so short a training), {size.samples} training images, {size.epochs} epochs,
batch {size.batch}, SGD {size.lr:g}, {len(size.seeds)} seeds, {size.test} test images, window 4;
workers are emulated boards of the kind {size.device}; {links}. The paper: full width, all images,
laptops, Ethernet, 10 seeds.

Accuracy comes from whole trainings on in-memory links (the same model as over sockets), time from
real runs of {size.timed} mini-batches over paced links between emulated boards. `local`, which
has no link, is timed once. The micro-batches of `gpipe`, `1f1b` and `pipedream-2bw` are normalised
each by itself.

Not every scheme was trained with every seed: of those that compute the same numbers one was, and
its accuracy stands for the others, over their own time: {lent}.
Such a curve, and such a row of accuracy.csv, is no measurement of the scheme's accuracy. That
`mcpipe` and `mcpipe-adaptive` compute PipeDream's numbers was measured with seed {size.seeds[0]}
alone, in float64, over half of the epochs; the other equalities are held by tests, on models
without normalisation.
A cell's name tells where stages start and their windows, as in `{first}`.

## The paper's statements

Accuracies are compared seed by seed, by Student's t-test at 95 % on one side; those of schemes with
the same mathematics in float64, because a rounding of float32 is enough for two trainings of
PipeDream itself to part by as many points ([rounding](../rounding.md)).
"""
