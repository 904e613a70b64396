"""The SGLR paper's tables 1 to 6 and Fig. 3, measured: split learning with SplitLr and SplitAvg.

Writes results/sglr/<size>/README.md with all tables, the paper's figures in brackets, each table
as CSV and PNG, and points.csv with a line a training run; what stands there is not run again, so
an interrupted benchmark goes on where it stopped. On stdout: the paper's claims, each with what was
measured.

Tables 1 to 5 are trained on in-memory links, a thread for each node, which gives the same model as
processes and sockets, bit for bit (tests/test_equalities.py, tests/test_split_equalities.py; one
point is run both ways here, too). Table 6 is measured on real runs over gloo.

--quick: ResNet-16 and AlexNet an eighth and a quarter as wide, 320 samples a client, 4 epochs, up
to 8 clients; some 1000 core-seconds, under 10 minutes on two quiet cores. Without a flag: the
paper's 1000 samples a client, 8 and 16 clients, about an hour. --full: full width, 1000 samples a
client, 20 epochs, 1 to 20 clients: some 100 hours on two cores.
"""

from __future__ import annotations

import csv
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common import arguments, machine, run_edgenet, say
from sglr_claims import STEPS_AN_EPOCH, claims
from sglr_notes import AIR_NOTE, LEAKAGE_NOTE, active_note, share_note
from sglr_paper import CLIENTS
from sglr_points import (
    ATTACKED,
    LEAKING_PHIS,
    PHIS,
    Results,
    Size,
    Store,
    points,
    split,
    train,
    train_all,
)
from sglr_tables import (
    Grid,
    accuracy_grids,
    draw,
    draw_leakage,
    draw_rows,
    leakage_grid,
    methods_grid,
)
from sglr_traffic import PAPER, Measured, draw_figure_3, measure

from edgenet.data.catalogue import DATASETS, VARIABLE
from edgenet.models import costs

RESULTS = Path(__file__).parent / "results" / "sglr"


def size_of(*, quick: bool, full: bool) -> Size:
    """How much of it; Fashion-MNIST where it is, else the digits."""
    root = os.environ.get(VARIABLE, "")
    there = bool(root) and not DATASETS["fashion-mnist"].missing(Path(root))
    data, test, most = ("fashion-mnist", 4000, 1000) if there else ("digits", 360, 70)
    suffix = "" if there else "-digits"
    small = Size(
        name=f"quick{suffix}",
        data=data,
        resnet="resnet-16-w8",
        alexnet="alexnet-w8",
        clients=(1, 2, 8),
        samples=min(320, most),
        epochs=4,
        test=test,
        batch=16,
    )
    if quick:
        return small
    if not full:
        medium = replace(small, name=f"medium{suffix}", clients=(8, 16), samples=most)
        return replace(medium, epochs=5, batch=8)
    return Size(
        name=f"full{suffix}",
        data=data,
        resnet="resnet-16",
        alexnet="alexnet",
        clients=CLIENTS,
        samples=most,
        epochs=20,
        test=10_000 if there else test,
    )


def main() -> None:
    """Train what is missing, write everything, print the claims."""
    given = arguments(__doc__)
    size = size_of(quick=given.quick, full=given.full)
    folder = RESULTS / size.name
    folder.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    store = Store(folder / "points.csv")
    train_all(points(size), size, store, folder / "leakage")
    traffic = measure(size)
    told = [*claims(store.results, size, traffic), both_links(size)]
    write(folder, size, store.results, traffic, told)
    figures: dict[str, Any] = {f"claim_{i}": words for i, words in enumerate(told, start=1)}
    figures |= {"points": len(store.results), "wall_s": round(time.monotonic() - start, 1)}
    figures["report"] = str(folder / "README.md")
    say(figures, given.format)


def both_links(size: Size) -> str:
    """One point in threads on in-memory links and in processes over gloo."""
    point = split(size.resnet, 4, 0.5, 0.5, 1)
    small = replace(size, samples=8 * size.batch, epochs=2)
    run = run_edgenet(point.topology(small))
    with tempfile.TemporaryDirectory(prefix="edgenet-sglr-") as name:
        memory = train(point, small, Path(name))
    gloo = next(e["test_loss"] for e in run.events["server"] if "test_loss" in e)
    same = "the same" if gloo == memory["loss"] else "not the same"
    return f"{same} test loss on in-memory links and over gloo: {memory['loss']:.6f}, {gloo:.6f}"


def write(
    folder: Path, size: Size, results: Results, traffic: Sequence[Measured], told: Sequence[str]
) -> None:
    """README.md, and a CSV and a PNG for each table."""
    grids = accuracy_grids(results, size)
    for grid in grids:
        draw(grid, folder / f"{grid.name}.png")
    methods, leaks = methods_grid(results, size), leakage_grid(results, size)
    draw_rows(methods, ("accuracy (%)", "part of CL's"), folder / "table4.png")
    draw_rows(leaks, ("BCE", "SSIM", "mutual (nats)"), folder / "table5.png")
    draw_leakage(folder / "leakage", folder / "leakage.png")
    for grid in (*grids, methods, leaks):
        grid.write_csv(folder)
    printed, rows = traffic_tables(traffic, folder)
    times = draw_figure_3(folder / "fig3.png")
    with (folder / "fig3.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("samples", "model_bytes", "clients", "sglr", "fedavg", "ssl", "sfl"))
        writer.writerows(times)
    parts = [_front(size, results, told), *_sections((*grids, methods, leaks), size), printed, rows]
    (folder / "README.md").write_text("\n".join([*parts, AIR_NOTE, _figure_3()]), encoding="utf-8")


def _front(size: Size, results: Results, told: Sequence[str]) -> str:
    asked = points(size)
    known = sum(point in results for point in asked)
    seeds = sorted({point.seed for point in results})
    claims_ = "\n".join(f"- {words}" for words in told)
    return f"""\
# SGLR, {size.name}

{size.data}, {size.samples} i.i.d. samples a client, {size.epochs} epochs, batch {size.batch}, Adam
{size.lr:g}; tables 1, 2, 3 and 5: {size.resnet} cut behind B4; table 4: {size.alexnet} cut behind
C1. Accuracy on {size.test} test images (in place of the paper's 10 000 validation images), mean
+- sample deviation over seeds {", ".join(map(str, seeds))}; in brackets what the paper prints, for
its full width, 1000 samples a client ({STEPS_AN_EPOCH} steps an epoch, against {size.steps} steps
in all here) and an unknown number of epochs. {known} of {len(asked)} training runs, on in-memory
links; table 6 on real runs over gloo. Measured on
{machine()}.

## The paper's claims

A claim is confirmed or refuted where the mean difference over seeds passes Student's t-test at 95 %
(one side; for 3 seeds 2.92 standard errors). Seeds are paired: same data, same initial model.

{claims_}

## Tables
"""


def _sections(grids: Sequence[Grid], size: Size) -> list[str]:
    """Each table with its picture, and what is to be known of it."""
    notes = {"table2": active_note(size.clients, PHIS), "table3": active_note(size.clients, (1.0,)),
             "table4": share_note(size.alexnet),
             "table5": active_note((ATTACKED,), LEAKING_PHIS[1:]) + LEAKAGE_NOTE}  # fmt: skip
    found = []
    for grid in grids:
        found.append(f"{grid.markdown()}\n![{grid.title}]({grid.name}.png)\n")
        found += [notes[grid.name]] if grid.name in notes else []
    return found


@dataclass(frozen=True)
class _Formula:
    """A line of table 6."""

    scheme: str
    total: str


FORMULAS = (
    _Formula("fedavg", "2 C S(w)"),
    _Formula("ssl", "2 D S(L) + 2 C S(w_c)"),
    _Formula("sfl", "2 D S(L) + 2 C S(w_c)"),
    _Formula("sglr", "(2 - phi) D S(L) + S(L)"),
)


def traffic_tables(traffic: Sequence[Measured], folder: Path) -> tuple[str, str]:
    """Table 6 with section 4.4's numbers, and the bytes on links against it; also as CSV."""
    lines = ["### Table 6: communication of an epoch, section 4.4's numbers", ""]
    lines += ["| scheme | formula | GB | SGLR moves less by (%) |", "| --- | --- | --- | --- |"]
    for line in FORMULAS:
        total = costs.traffic(line.scheme, PAPER) / 1e9
        saved = 100 * costs.reduction("sglr", line.scheme, PAPER)
        lines.append(f"| {line.scheme} | {line.total} | {total:.3f} | {saved:.3f} |")
    lines += ["", "The paper: 88.6 % less than SFL, 95.499 % less than FL.", ""]
    columns = ("scheme", "Table 6 (B)", "has to cross (B)", "measured, broadcast once (B)",
               "deviation (%)", "measured on links (B)", "control (B)")  # fmt: skip
    rows = [_measured(each) for each in traffic]
    with (folder / "table6.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows((columns, *rows))
    own = ["### Table 6 on real links: an epoch over gloo, 8 clients with 64 samples, phi 0.5", ""]
    own += [f"| {' | '.join(columns)} |", "| --- " * len(columns) + "|"]
    own += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines), "\n".join([*own, ""])


def _measured(each: Measured) -> tuple[str, ...]:
    return (
        each.scheme,
        f"{costs.traffic(each.scheme, each.sizes):.0f}",
        f"{costs.traffic_on_links(each.scheme, each.sizes):.0f}",
        str(each.broadcast_once),
        f"{100 * each.deviation:+.3f}",
        str(each.on_links),
        str(each.control),
    )


def _figure_3() -> str:
    """Where SGLR stops being faster than FL."""
    even = 2 * PAPER.model_bytes * PAPER.clients / ((2 - PAPER.phi) * PAPER.smashed_bytes)
    return f"""\
### Fig. 3: communication time of an epoch, by table 6

![Fig. 3](fig3.png)

R = 10 MB/s for each client, without T; the paper's text gives neither R nor which three settings it
drew. S(L), S(w_c), phi as in section 4.4. With its 200 MB and 100 clients SGLR is faster than FL up
to |D| = {even:,.0f} samples, where the smashed data outweigh the model; five times the clients,
five times the samples.
"""


if __name__ == "__main__":
    main()
