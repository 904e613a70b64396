"""Attack finished runs of split learning: train a decoder on the smashed data of each, and tell
what it can draw of images that it has not seen.

bce is the binary cross-entropy of a pixel (higher: less leaks; it lies between that of the images
themselves and that of the mean image), ssim the structural similarity (1: all leaks). Two
estimates of information, in nats: `decoder`, what the decoder knows of an image (usable
information, Xu et al. 2020), and `mutual`, the mutual information of the first 4 principal
components of images and smashed data (Kraskov et al. 2004). Several runs are set side by side, and
share a picture: originals above reconstructions, a row for each run.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from edgenet.cli.arguments import add_format
from edgenet.cli.tables import console, table
from edgenet.errors import DONE, InputError
from edgenet.results.gallery import gallery
from edgenet.results.rundir import write_json

if TYPE_CHECKING:
    from edgenet.node.leakage import Attacked

HELP = "tell what the smashed data of a run give away"
_COLUMNS = (
    "run", "scheme", "phi", "client", "bce", "(mean image)", "ssim", "decoder", "mutual", "images",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="folders of runs")
    parser.add_argument(
        "--samples", type=int, default=5000, help="held-out images to use (default: 5000 or all)"
    )
    parser.add_argument(
        "--epochs", type=int, default=20, help="of training the decoder (default: 20)"
    )
    parser.add_argument(
        "--client", type=int, metavar="N", help="attack client N (default: drawn by the seed)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the attack (default: 0)")
    parser.add_argument(
        "--picture", type=Path, metavar="FILE", help="default: leakage.png in the first run"
    )
    add_format(parser, "a list of figures")


def execute(options: argparse.Namespace) -> int:
    """Attack each run; write leakage.json into it, and the picture."""
    from edgenet.node.leakage import Attack, attack  # brings torch

    if options.epochs < 1:
        raise InputError(f"--epochs is {options.epochs}; it must be 1 or more")
    how = Attack(
        samples=options.samples, epochs=options.epochs, seed=options.seed, client=options.client
    )
    found = []
    for run in options.runs:
        found.append(attack(run, how))
        _same_images(options.runs[0], found[0], run, found[-1])
        write_json(run / "leakage.json", found[-1].as_dict())
    pairs = list(zip(options.runs, found, strict=True))
    path = options.picture or options.runs[0] / "leakage.png"
    draw(path, found)
    if options.format == "json":
        told = [{"run": str(run), **each.as_dict()} for run, each in pairs]
        print(json.dumps(told, indent=2))
        return DONE
    out = console()
    out.print(table(_COLUMNS, [_row(run, each) for run, each in pairs]))
    out.print(f"picture: {path}", markup=False, soft_wrap=True)
    return DONE


def draw(path: Path, found: list[Attacked]) -> None:
    """Originals, and a row of reconstructions for each attack."""
    rows = [("original", found[0].images.numpy())]
    for each in found:
        name = each.plan.scheme.name
        has_phi = hasattr(each.plan.options, "phi")
        rows.append((f"{name}\nphi {each.phi:g}" if has_phi else name, each.guessed.numpy()))
    gallery(path, rows)


def _same_images(first: Path, one: Attacked, run: Path, other: Attacked) -> None:
    if one.images.shape != other.images.shape or not bool((one.images == other.images).all()):
        raise InputError(
            f"{run} was tested on other images than {first}; only runs on the same data can be set "
            "side by side"
        )


def _row(run: Path, each: Attacked) -> tuple[str, ...]:
    leak = each.leak
    client = "all" if each.client is None else str(each.client)
    figures = (leak.bce, leak.bce_blind, leak.ssim)
    return (
        run.name,
        each.plan.scheme.name,
        f"{each.phi:g}",
        client,
        *(f"{figure:.4f}" for figure in figures),
        f"{leak.decoder_nats:.1f} nats",
        f"{leak.mutual_nats:.2f} nats",
        str(leak.samples),
    )
