"""What is to be known of the SGLR benchmark's tables, beside their figures."""

from __future__ import annotations

from collections.abc import Sequence

from sglr_points import active
from sglr_traffic import flops

LEAKAGE_NOTE = """\
The decoder is trained on held-out smashed data of the attacked client's own head; the paper's was
trained on other images, so the losses are not of one scale. Decoder: usable information of a whole
image against the mean image; mutual: Kraskov's estimate for the first 4 principal components.
Originals, and reconstructions of the first seed:

![originals above reconstructions, a row for each phi](leakage.png)
"""

AIR_NOTE = """\
SplitAvg's common gradient is counted once on the air ("broadcast once"), where all active clients
hear one transmission. On links from one node to another, which is what a run has here, each active
client gets a copy: there SplitAvg saves no bytes against PSL, and it saves no time anywhere in
these runs, since they send the copies.
"""


def active_note(clients: Sequence[int], phis: Sequence[float]) -> str:
    """How many clients are active, and which cells are therefore equal."""
    told = "; ".join(
        f"{count} clients: " + ", ".join(f"{active(phi, count)} with phi {phi:g}" for phi in phis)
        for count in clients
    ).replace("1 clients", "1 client")
    return (
        f"Active clients, floor(phi C), of {told}. With fewer than two nothing is averaged: such "
        "cells are those of phi 0, the same runs.\n"
    )


def share_note(model: str) -> str:
    """Why the clients' part of the operations is not the paper's."""
    here, wide = (head / whole for head, whole in (flops(model, "C1"), flops("alexnet", "C1")))
    return (
        f"A client of five computes C1 alone, {100 * here:.2f} % of the operations of {model} "
        "(three times the forward pass; a product and a sum count as two, pooling and activations "
        f"as none): {here / 5:.4f}. Width does not explain the paper's 0.0105, which is C1 with "
        "5.3 % of the model: C1 grows with the width and most other layers with its square, so at "
        f"the full width it is {wide / 5:.4f}. The paper tells neither its layers' sizes nor what "
        "it counts. FedAvg's part, which depends on neither, agrees.\n"
    )
