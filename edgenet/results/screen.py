"""Draws a run that is going on, for a terminal of any width from 60 columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Group, JustifyMethod, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from edgenet.results import text
from edgenet.results.events import Event, natural
from edgenet.results.nodewatch import NodeWatch
from edgenet.results.watch import Watch, changed

_BAD = "bold bright_red"
_STYLES = {
    "computing": "green",
    "slowed": "yellow",
    "sending": "cyan",
    "waiting": "dim",
    "evaluating": "magenta",
    "done": "bold green",
    "lost": _BAD,
    "frozen": _BAD,
    "failed": _BAD,
    "paused": "yellow",
    "interrupted": "yellow",
}
_MOST_ROWS = 24
"""Nodes above this number, or more than the terminal is high, are folded into groups."""
_OTHER_LINES = 11
"""Lines of the picture that are no rows of the table."""


_FAULTS = 3
"""The latest faults and changes, that are shown."""

_LEAST_WIDTHS = {
    "node": 6,
    "role": 6,
    "device": 6,
    "state": 12,
    "round": 5,
    "out/s": 8,
    "in/s": 8,
    "memory": 7,
    "cpu": 5,
}
"""Columns from left to right, with widths that keep the table from moving at each change."""
_OF_NODES = ("node", "state", "out/s", "in/s", "round", "role", "memory", "device", "cpu")
"""The most telling columns of single nodes first: a narrow terminal leaves out the last ones."""
_OF_GROUPS = ("node", "state", "device", "out/s", "in/s", "cpu", "memory", "round", "role")
"""The same for groups."""
_GAP = 2
"""Blanks between two columns."""
_LEFT = ("node", "role", "device", "state")


@dataclass(frozen=True)
class Frame:
    """What the picture is drawn for."""

    title: str
    """The topology."""
    facts: tuple[str, ...]
    """Scheme, shaping, ..."""
    total_rounds: int
    now: float
    """Epoch seconds."""
    width: int
    height: int
    ascii_only: bool = False
    """The terminal cannot show more than ASCII."""


def draw(watch: Watch, frame: Frame) -> RenderableType:
    """The whole picture."""
    parts: list[RenderableType] = [_header(watch, frame), _progress(watch, frame), ""]
    return Group(*parts, _table(watch, frame), "", _curves(watch, frame), *_faults(watch, frame))


def _header(watch: Watch, frame: Frame) -> Text:
    separator = " | " if frame.ascii_only else " \u00b7 "
    elapsed = watch.since(frame.now)
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(frame.title, style="bold")
    for fact in (*frame.facts, text.clock(elapsed)):
        line.append(separator, style="dim")
        line.append(fact)
    return line


def _progress(watch: Watch, frame: Frame) -> Table:
    total, done = max(1, frame.total_rounds), len(watch.rounds)
    bar = ProgressBar(total, done, complete_style="cyan", finished_style="green")
    row: list[RenderableType] = [Text(f"round {watch.current}/{frame.total_rounds}", "bold"), bar]
    if watch.round_s is not None:
        left_s = watch.round_s * max(0, frame.total_rounds - done)
        row.append(Text(f"{text.seconds(watch.round_s)} a round", style="dim"))
        row.append(Text(f"{text.clock(left_s)} left" if left_s else "", style="dim"))
    grid = Table.grid(padding=(0, _GAP, 0, 0), expand=True)
    for number in range(len(row)):
        grid.add_column(ratio=1 if number == 1 else None, no_wrap=True)
    grid.add_row(*row)
    return grid


def _table(watch: Watch, frame: Frame) -> Table:
    groups = _groups(list(watch.nodes.values()), frame)
    rows = [_cells(group, frame) for group in groups]
    table = Table(
        box=None if frame.ascii_only else box.SIMPLE_HEAD,
        header_style="dim",
        border_style="dim",
        padding=(0, 1 if not frame.ascii_only else _GAP, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    folded = len(groups) < len(watch.nodes)
    columns = _columns(rows, frame.width, _OF_GROUPS if folded else _OF_NODES)
    for title, width in columns.items():
        justify: JustifyMethod = "left" if title in _LEFT else "right"
        table.add_column(title, justify=justify, min_width=width, no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*(row[title] for title in columns))
    return table


def _groups(nodes: list[NodeWatch], frame: Frame) -> list[list[NodeWatch]]:
    """One group per row: single nodes while they fit, else the nodes of one role and device."""
    if len(nodes) <= min(_MOST_ROWS, max(4, frame.height - _OTHER_LINES)):
        return [[node] for node in nodes]
    groups: dict[tuple[str, str], list[NodeWatch]] = {}
    for node in nodes:
        groups.setdefault((node.role, node.device), []).append(node)
    return list(groups.values())


def _columns(rows: list[dict[str, Text]], width: int, wanted: Sequence[str]) -> dict[str, int]:
    """Title -> width of as many of the wanted columns as there is room for, from left to right."""
    widths = {
        title: max([least, *(row[title].cell_len for row in rows)])
        for title, least in _LEAST_WIDTHS.items()
    }
    chosen, room = set(), width + _GAP
    for title in wanted:
        room -= widths[title] + _GAP
        if room >= 0:
            chosen.add(title)
    return {title: width for title, width in widths.items() if title in chosen}


def _cells(group: list[NodeWatch], frame: Frame) -> dict[str, Text]:
    """Column -> its text, for one node or a group."""
    rates = [node.rates(frame.now) for node in group]
    memory = [node.rss_bytes for node in group if node.rss_bytes is not None and not node.gone]
    shares = [node.cpu_share for node in group if node.cpu_share is not None and not node.gone]
    rounds = sorted({node.round for node in group})
    span = str(rounds[0]) if len(rounds) == 1 else f"{rounds[0]}-{rounds[-1]}"
    return {
        "node": _name(group),
        "role": Text(group[0].role),
        "device": Text(group[0].device),
        "state": _state(group, frame),
        "round": Text(span),
        "out/s": _rate(sum(rate[0] for rate in rates)),
        "in/s": _rate(sum(rate[1] for rate in rates)),
        "memory": Text(text.amount(sum(memory)) if memory else ""),
        "cpu": Text(f"{sum(shares):.0%}" if shares else ""),
    }


def _name(group: list[NodeWatch]) -> Text:
    if len(group) == 1:
        return Text(group[0].name)
    stems = sorted({natural(node.name)[0] for node in group})
    name = f"{stems[0]}*" + (", .." if len(stems) > 1 else "")
    return Text(name).append(f" x {len(group)}", style="dim")


def _state(group: list[NodeWatch], frame: Frame) -> Text:
    """A dot and the state; of a group the bad and the commonest states with their numbers."""
    counts = Counter(node.state for node in group)
    dot = "*" if frame.ascii_only else "\u25cf"
    line = Text()
    most = 3 if frame.width >= 90 else 2
    ranked = sorted(counts.items(), key=lambda item: (_STYLES.get(item[0]) != _BAD, -item[1]))
    for number, (state, count) in enumerate(ranked[:most]):
        style = _STYLES.get(state, "")
        line.append("  " if number else "").append(f"{dot} ", style=style)
        line.append(f"{count} {state}" if len(group) > 1 else state, style=style)
    return line


def _rate(bytes_per_s: float) -> Text:
    return Text(text.amount(bytes_per_s)) if bytes_per_s >= 1 else Text("-", style="dim")


def _curves(watch: Watch, frame: Frame) -> Table:
    """The course of accuracy and loss, side by side."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    width = max(8, min(30, frame.width // 2 - 20))
    row = []
    for key, values, style in (
        ("accuracy", [each.accuracy for each in watch.rounds], "green"),
        ("loss", [each.loss for each in watch.rounds], "yellow"),
    ):
        known = [value for value in values if value is not None]
        line = Text.assemble((f"{key} ", "dim"))
        line.append(text.sparkline(known, width, ascii_only=frame.ascii_only), style=style)
        line.append(" " + text.number(known[-1] if known else None), style="bold")
        row.append(line)
    grid.add_row(*row)
    return grid


def _faults(watch: Watch, frame: Frame) -> list[Text]:
    """The latest faults and warnings, and what was made to happen, one line each."""
    told = sorted([*watch.faults, *watch.changes, *watch.warnings], key=lambda event: event.t)
    lines = [Text(), *(_happened(event) for event in told[-_FAULTS:])] if told else []
    hidden = len(told) - _FAULTS
    if hidden > 0:
        lines.append(Text(f"and {hidden} earlier", style="dim"))
    for line in lines:
        line.truncate(frame.width, overflow="ellipsis")
    return lines


def _happened(event: Event) -> Text:
    if event.name == "log":
        return Text.assemble((f"{event.node}  ", "dim"), (event.text("text"), "yellow"))
    if event.name != "fault":
        return Text.assemble(("network  ", "dim"), (changed(event), "yellow"))
    line = Text.assemble((f"round {event.round}  ", "dim"))
    line.append(f"{event.text('peer')} {event.text('what')}", style=_BAD)
    return line.append(f"  {event.text('why')} (seen by {event.node})", style="dim")
