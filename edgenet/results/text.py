"""Figures in the form in which people read them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

MISSING = "-"
_BLOCKS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
_ASCII_BLOCKS = "_.-=+*%#"


def amount(value: float | None) -> str:
    """Bytes in decimal units: 0 B, 980 B, 2.1 MB, 26.4 MB."""
    if value is None or not math.isfinite(value):
        return MISSING
    unit, *larger = "B", "kB", "MB", "GB", "TB"
    while larger and abs(value) >= 999.5:
        value /= 1000
        unit, *larger = larger
    return f"{value:.0f} {unit}" if unit == "B" or abs(value) >= 99.95 else f"{value:.1f} {unit}"


def headers(kernel: Mapping[str, int]) -> str:
    """What the kernel counted at emulated interfaces beside what the links did."""
    part = 100 * kernel["headers"] / max(1, kernel["kernel"])
    return (
        f"{amount(kernel['kernel'])} left the emulated interfaces, {amount(kernel['headers'])} of "
        f"it ({part:.1f} %) in headers, acknowledgements and what was sent again"
    )


def seconds(value: float | None) -> str:
    """A duration: 850 ms, 1.24 s, 72.4 s, 12:05, 3:02:10."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value < 0.0005:
        return "0 s"
    if value < 0.9995:
        return f"{value * 1000:.0f} ms"
    if value < 9.995:
        return f"{value:.2f} s"
    return f"{value:.1f} s" if value < 99.95 else clock(value)


def clock(value: float) -> str:
    """Minutes and seconds: 0:07, 12:05, 3:02:10."""
    minutes, rest = divmod(int(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def moment(value: Any) -> str:
    """'2026-11-21 16:11:55 +0000', from what run.json has ('2026-11-21T16:11:55+0000')."""
    date, _, time = str(value).partition("T")
    return f"{date} {time[:8]} {time[8:]}".rstrip()


def number(value: float | None, digits: int = 3) -> str:
    """A figure with so many decimals."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def sparkline(values: list[float], width: int, *, ascii_only: bool = False) -> str:
    """The last `width` values as blocks, scaled from their least to their largest."""
    levels = _ASCII_BLOCKS if ascii_only else _BLOCKS
    shown = [value for value in values if math.isfinite(value)][-width:]
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    scale = (len(levels) - 1) / (high - low) if high > low else 0.0
    return "".join(levels[round((value - low) * scale)] for value in shown)


def repeated(summary: Mapping[str, Any]) -> str:
    """What a run of several attempts did for nothing."""
    lost, bytes_ = seconds(summary["lost_s"]), amount(summary["bytes"]["lost"])
    return f"{summary['attempts']} attempts; {lost} and {bytes_} of it went into rounds done again"
