"""What the SGLR paper prints: tables 1 to 5, to be set beside what is measured.

Accuracies in percent. Keys are as in `sglr_tables`: (clients, column). A dash in the paper is
missing here.
"""

from __future__ import annotations

CLIENTS = (1, 2, 4, 6, 8, 10, 15, 20)

_ALPHA = {
    0.0: (82.45, 82.04, 82.68, 82.84, 83.49, 83.49, 84.34, 84.88),
    2.0: (82.45, 82.11, 82.14, 83.56, 58.41, 34.37),
    1.5: (82.45, 82.00, 83.42, 84.21, 83.87, 84.21, 84.08),
    1.0: (82.45, 81.68, 82.93, 84.58, 84.52, 84.98, 85.79, 86.00),
    0.5: (82.45, 81.76, 82.46, 83.30, 84.23, 84.78, 85.30, 86.25),
}
"""Table 1: alpha -> accuracy by clients. (Table 2 has 84.28 for alpha 1.0 and 6 clients.)"""

_PHI = {
    (0.0, 0.25): (82.45, 81.91, 82.90, 83.20, 83.73, 84.35, 85.87, 86.33),
    (0.0, 0.5): (82.45, 81.84, 83.16, 84.02, 84.27, 84.74, 85.86, 86.59),
    (0.0, 0.75): (82.45, 81.94, 83.81, 84.08, 85.14, 85.49, 85.86, 86.82),
    (0.5, 0.25): (82.45, 81.88, 82.78, 83.06, 84.33, 84.65, 85.89, 86.96),
    (0.5, 0.5): (82.45, 81.93, 83.24, 84.89, 85.04, 85.22, 86.71, 87.48),
    (0.5, 0.75): (82.45, 81.92, 84.22, 84.62, 85.29, 85.93, 87.22, 87.47),
    (1.0, 0.25): (82.45, 81.95, 83.30, 83.70, 84.58, 84.82, 85.19, 86.54),
    (1.0, 0.5): (82.45, 82.10, 83.66, 84.32, 85.41, 85.89, 86.15, 87.11),
    (1.0, 0.75): (82.45, 81.72, 84.45, 84.24, 85.68, 86.11, 86.20, 86.67),
}
"""Table 2: (alpha, phi) -> accuracy by clients."""

_PHASED = {
    "initial-60": (82.45, 81.99, 83.49, 84.12, 84.76, 85.12, 85.23),
    "initial-40": (82.45, 81.79, 82.96, 84.97, 85.32, 85.20, 86.12),
    "final-60": (82.45, 82.21, 83.22, 84.48, 84.47, 85.05, 85.62),
    "final-40": (82.45, 81.47, 82.83, 83.56, 84.31, 85.68, 86.53),
    "always": (82.45, 81.82, 82.07, 83.62, 81.61, 69.45, 60.67),
}
"""Table 3: phases -> accuracy by clients, with alpha 1.0 and phi 1."""

_PHASED_CLIENTS = (1, 2, 4, 8, 10, 15, 20)

METHODS = {
    "centralized": (90.5, 2.944),
    "fedavg": (89.7, 0.588),
    "sglr": (89.3, 0.031),
    "sfl": (86.0, 0.031),
    "psl": (84.7, 0.031),
}
"""Table 4: scheme -> (accuracy, PFLOPs per client)."""

LEAKAGE = {0.0: 0.2153, 0.25: 0.2142, 0.5: 0.2166, 0.75: 0.2296, 1.0: 0.2759}
"""Table 5: phi -> loss of the decoder."""


def accuracy(clients: int, alpha: float, phi: float, phases: str) -> float | None:
    """What tables 1 to 3 have for a setting; None where they have nothing."""
    found: tuple[float, ...]
    order: tuple[int, ...]
    if phi == 1.0:
        found = _PHASED.get(phases, ()) if alpha == 1.0 else ()
        order = _PHASED_CLIENTS
    else:
        found = _ALPHA.get(alpha, ()) if phi == 0.0 else _PHI.get((alpha, phi), ())
        order = CLIENTS
    at = order.index(clients) if clients in order else len(found)
    return found[at] if at < len(found) else None
