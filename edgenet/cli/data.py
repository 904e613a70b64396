"""Look at the training data: `edgenet data show T` draws samples as T's sources see them.

Without a topology it draws every view that there is (`train.data.views`), of the embedded digits.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edgenet.cli.arguments import overrides
from edgenet.errors import DONE
from edgenet.results.figures import picture
from edgenet.topology import load

if TYPE_CHECKING:
    from edgenet.data import Dataset, Eye

HELP = "draw training samples as the sources see them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("action", choices=("show",), help="show: draw samples in every view")
    parser.add_argument(
        "topology", metavar="T", nargs="?", type=Path, help="topology file (YAML); none: all views"
    )
    parser.add_argument(
        "--set", metavar="KEY=VALUE", dest="changes", action="append", default=[],
        help="change any field of the file (repeatable)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, metavar="N", help="the same as --set seed=N")
    parser.add_argument(
        "--samples", type=int, default=4, metavar="N", help="how many, from the first (default: 4)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("data.png"), metavar="FILE",
        help="the picture to write (default: data.png)",
    )  # fmt: skip
    parser.set_defaults(shaping=None)


def execute(options: argparse.Namespace) -> int:
    """Draw it, and say where it is."""
    dataset, eyes = _eyes(options)
    samples = max(1, min(options.samples, len(dataset.train_y)))
    draw(dataset, eyes, samples, options.out)
    shape, train, test = "x".join(map(str, dataset.shape)), dataset.train_y, dataset.test_y
    print(f"{dataset.name}: {len(train)} training and {len(test)} test samples of {shape}, "
          f"{dataset.classes} classes; {samples} of them in {options.out}")  # fmt: skip
    return DONE


def draw(dataset: Dataset, eyes: dict[str, Eye], samples: int, path: Path) -> None:
    """A row for each sample: the original, then what each eye sees (a vector as bars)."""
    import torch

    at = torch.arange(samples)
    columns = {"original": dataset.train_x[at]} | {name: e.train(at) for name, e in eyes.items()}
    with picture(path, rows=samples, columns=len(columns), size=(1.5, 1.6)) as axes:
        for column, (name, seen) in enumerate(columns.items()):
            for row in range(samples):
                place, one = axes[row, column], seen[row]
                if one.dim() == 1:
                    place.bar(range(len(one)), one.numpy(), width=1.0)
                else:
                    place.imshow(
                        one.permute(1, 2, 0).squeeze(2).numpy(), cmap="gray", vmin=0, vmax=255
                    )
                place.set(xticks=[], yticks=[], title=name if row == 0 else "")
                place.grid(visible=False)
                if column == 0:
                    place.set_ylabel(f"label {int(dataset.train_y[row])}")


def _eyes(options: argparse.Namespace) -> tuple[Dataset, dict[str, Eye]]:
    """The data, and who sees it: the topology's sources, or one eye for each view."""
    from edgenet.data import VIEWS, Eye
    from edgenet.data import load as load_data
    from edgenet.node.plan import resolve
    from edgenet.node.substance import dataset_of, eye_of, seeing

    if options.topology is None:
        dataset = load_data("digits")
        seed = options.seed or 0
        return dataset, {view: Eye(dataset, view, seed, 0) for view in VIEWS if view != "plain"}
    plan = resolve(load(options.topology, overrides(options)))
    dataset = dataset_of(plan.topology)
    eyes = {}
    for number, name in enumerate(seeing(plan.scheme, plan.casts)):
        eye = eye_of(plan.topology, dataset, number)
        eyes[f"{name}: {eye.view}"] = eye
    return dataset, eyes
