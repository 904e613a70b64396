"""What split and federated learning cost: bytes, time and operations, by the SGLR paper's formulas.

Pal et al., "Server-side local gradient averaging and learning rate acceleration for scalable split
learning", table 6, Eqs. 19 and 20, and the last column of table 4. Symbols, all per epoch (for
FedAvg: per round), sizes in one unit of the caller's choice, here called bytes:

    S(L)    a sample's activation at the cut       S(w)    the whole model
    S(w_c)  a client's part of it                  |D|     training samples of all clients together
    |C|     clients                                phi     part of the clients under SplitAvg
    R       rate of a client's link                T       one epoch's computing

Eq. 20 counts the averaged gradient as S(L), one sample's. The gradient of a step is one of a
whole batch, and in an epoch as many of them are broadcast as a client has batches: |D_i| S(L) =
|D| S(L) / |C|. `traffic` has the equation as it is printed, `traffic_on_links` what has to cross.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgenet.errors import InputError

PARALLEL = ("psl", "slr", "sfl", "sgl", "sglr")
"""Split learning in which all clients work at once."""
AVERAGED = ("sgl", "sglr")
"""Schemes with SplitAvg."""
SCHEMES = ("fedavg", "ssl", *PARALLEL)
"""Schemes whose traffic is known: table 6 has FL (`fedavg`), `ssl`, `sfl` and `sglr`. `sgl` sends
what `sglr` sends; `psl` and `slr` send what `sfl` sends but for the weights."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What the traffic of a scheme depends on."""

    smashed_bytes: float
    """S(L)."""
    model_bytes: float
    """S(w)."""
    head_bytes: float
    """S(w_c)."""
    samples: int
    """|D|, in equal shares."""
    clients: int
    """|C|."""
    phi: float = 0.0
    """Of the schemes with SplitAvg."""
    syncs: int = 1
    """How often an epoch SFL averages the heads."""
    label_bytes: float = 0.0
    """Of a sample's label, which travels with the smashed data (table 6 leaves it out)."""


def traffic(scheme: str, sizes: Sizes) -> float:
    """Bytes that all clients together exchange in an epoch: table 6, "Tot. Comm.", and Eq. 20.

    Divided by |C| it is the column "Comm. per Client", and for `sglr` Eq. 19.

    Raises:
        InputError: no formula is known for `scheme`.
    """
    if scheme not in AVERAGED:
        return traffic_on_links(scheme, sizes)
    up_and_down = (2 - sizes.phi) * sizes.samples * sizes.smashed_bytes
    return up_and_down + sizes.smashed_bytes  # Eq. 20


def traffic_on_links(scheme: str, sizes: Sizes) -> float:
    """Bytes that have to cross in an epoch when a broadcast counts once; like `traffic` but for
    the averaged gradient, which is one of a batch a step (and which nobody sends if phi is 0)."""
    _check(scheme)
    heads = 2 * sizes.clients * sizes.head_bytes
    if scheme == "fedavg":
        return 2 * sizes.clients * sizes.model_bytes
    activations = sizes.samples * (sizes.smashed_bytes + sizes.label_bytes)
    gradients = sizes.samples * sizes.smashed_bytes
    if scheme in AVERAGED:
        broadcast = gradients / sizes.clients if sizes.phi > 0 else 0.0
        return activations + (1 - sizes.phi) * gradients + broadcast
    if scheme == "sfl":
        return activations + gradients + sizes.syncs * heads
    return activations + gradients + (heads if scheme == "ssl" else 0.0)


def training_time_s(scheme: str, sizes: Sizes, compute_s: float, rate_bytes_per_s: float) -> float:
    """Seconds for an epoch: table 6, "Tot. Training Time", which Fig. 3 draws.

    All clients send at once, each at `rate_bytes_per_s` (R); under `ssl` one after the other.

    Args:
        scheme: one of `SCHEMES`.
        sizes: what is exchanged.
        compute_s: T, the time of the forward and backward passes.
        rate_bytes_per_s: R.

    Raises:
        InputError: no formula is known for `scheme`.
    """
    at_once = 1 if scheme == "ssl" else sizes.clients
    return compute_s + traffic(scheme, sizes) / at_once / rate_bytes_per_s


def reduction(scheme: str, other: str, sizes: Sizes) -> float:
    """By which part `scheme` moves fewer bytes than `other` (sec. 4.4): 0.886 is 88.6 %."""
    return 1 - traffic(scheme, sizes) / traffic(other, sizes)


def client_flops(scheme: str, head_flops: int, model_flops: int, sizes: Sizes) -> float:
    """Operations of one client in an epoch: table 4, "Comput. per Client".

    A sample costs its forward pass three times, the backward pass being two of them (Amodei and
    Hernandez 2018, which the paper cites). Under `centralized` the one node has all samples.

    Args:
        scheme: one of `SCHEMES`, or `centralized`.
        head_flops: of one sample's forward pass through the client's part
            (`layers.LayerRow.forward_flops`).
        model_flops: the same through the whole model.
        sizes: the number of samples and clients.

    Raises:
        InputError: no formula is known for `scheme`.
    """
    if scheme == "centralized":
        return 3.0 * model_flops * sizes.samples
    _check(scheme)
    flops = model_flops if scheme == "fedavg" else head_flops
    return 3.0 * flops * sizes.samples / sizes.clients


def _check(scheme: str) -> None:
    if scheme not in SCHEMES:
        raise InputError(
            f"no cost model is known for scheme {scheme!r}; there is one for {', '.join(SCHEMES)}"
        )
