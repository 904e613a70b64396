"""The style sheet of report.html: light and dark, paper, and the colours of the plots (tone0 ..).

The colours are Okabe and Ito's, which colour-blind readers can tell apart, darker on white and
lighter on black so that each stands out by at least 3:1.
"""

from edgenet.results.looks import TONES

_LIGHT = """color-scheme: light; --page: #f6f7f9; --card: #fff; --ink: #1c2128; --soft: #545f6c;
  --rule: #d5dbe2; --good: #00704f; --fault: #b04a00; --t0: #0072b2; --t1: #c85500; --t2: #8f9aa6;
  --t3: #009e73; --t4: #a8487f; --t5: #a87900; --t6: #3c8fbf; --t7: #6b4ba0;"""

_DARK = """color-scheme: dark; --page: #11151a; --card: #1a2027; --ink: #e6eaef; --soft: #a3aebb;
  --rule: #343e49; --good: #4fc79b; --fault: #f39a55; --t0: #5cb4ea; --t1: #f08a3c; --t2: #727f8d;
  --t3: #2fc493; --t4: #e39ac4; --t5: #ecb63a; --t6: #94d3f7; --t7: #b99ae8;"""

_TONES = "".join(
    f".series.tone{n} {{ stroke: var(--t{n}); }}\n"
    f"rect.tone{n}, .dot.tone{n} {{ fill: var(--t{n}); }}\n"
    for n in range(TONES)
)

_DASHES = "".join(
    f"svg .dash{n} {{ stroke-dasharray: {lengths}; }}\n"
    for n, lengths in enumerate(("7 3", "2 2.5", "9 3 2 3"), 1)
)

_SCROLLED = """linear-gradient(90deg, var(--card) 40%, transparent) 0 0 / 40px 100% no-repeat local,
  linear-gradient(270deg, var(--card) 40%, transparent) 100% 0 / 40px 100% no-repeat local,
  linear-gradient(90deg, var(--rule), transparent) 0 0 / 14px 100% no-repeat scroll,
  linear-gradient(270deg, var(--rule), transparent) 100% 0 / 14px 100% no-repeat scroll,
  var(--card)"""
"""A shadow at an edge behind which a table goes on: many screens show no scroll bars."""

COLOURS = f"""
:root {{ {_LIGHT} }}
@media screen and (prefers-color-scheme: dark) {{ :root {{ {_DARK} }} }}
"""
"""The variables that everything else is made of."""

STYLE = f"""{COLOURS}
* {{ box-sizing: border-box; }} body {{ margin: 0 auto; max-width: 1180px; padding: 28px 20px 48px;
  background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }}
h1 {{ margin: 0; font-size: 26px; overflow-wrap: anywhere; }}
h1 small {{ font-weight: 400; color: var(--soft); }}
h2 {{ margin: 32px 0 10px; font-size: 18px; }} a {{ color: var(--t0); }}
p {{ margin: 2px 0 8px; color: var(--soft); overflow-wrap: anywhere; }}
.done {{ color: var(--good); }} .bad {{ color: var(--fault); }}
.grid {{ display: grid; gap: 14px; align-items: start; margin-bottom: 14px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 330px), 1fr)); }}
.tiles {{ grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); margin-top: 20px;
  align-items: stretch; }}
.card {{ background: var(--card); border: 1px solid var(--rule); padding: 12px; border-radius: 10px;
  overflow-x: auto; min-width: 0; }}
.tile b {{ display: block; font-size: 20px; line-height: 1.3; white-space: nowrap; }}
.tile span {{ color: var(--soft); font-size: 13px; }}
svg {{ width: 100%; max-width: 430px; display: block; margin: 0 auto; }}
.wide {{ grid-column: span 2; }} .full {{ grid-column: 1 / -1; }}
table {{ border-collapse: collapse; width: 100%; font-size: 14px; }}
h3 {{ margin: 0 0 4px; font-size: 13px; }} td b {{ font-weight: 700; }}
td, th {{ padding: 5px 7px; text-align: right; border-bottom: 1px solid var(--rule);
  white-space: nowrap; font-variant-numeric: tabular-nums; }}
th {{ color: var(--soft); font-weight: 500; white-space: normal; vertical-align: bottom; }}
tr:last-child td {{ border: 0; }}
td:first-child {{ white-space: normal; }}
td:first-child, th:first-child, .words td, .words th {{ text-align: left; }}
.words td:first-child {{ white-space: nowrap; }}
.words td + td {{ white-space: normal; overflow-wrap: anywhere; min-width: 5em; }}
pre {{ margin: 0; font-size: 13px; white-space: pre-wrap; overflow-wrap: anywhere; }}
summary {{ cursor: pointer; color: var(--soft); }}
svg .title {{ font-weight: 600; font-size: 13px; fill: var(--ink); }}
svg .axis {{ font-size: 11.5px; fill: var(--soft); }}
svg .strong, svg .over {{ paint-order: stroke; stroke: var(--card); stroke-width: 3px; }}
svg .strong {{ fill: var(--ink); }}
svg .off {{ fill: var(--fault); }} svg .grid {{ stroke: var(--rule); }}
svg .series {{ fill: none; stroke-width: 2; }} svg .thin,
svg .whisker {{ stroke-width: 1.1; opacity: 0.8; }}
svg .event {{ stroke-width: 1.3; }} svg .event.fault {{ stroke: var(--fault); }}
svg .event.change {{ stroke: var(--t5); stroke-dasharray: 4 3; }}
svg .ring {{ fill: none; stroke: var(--fault); stroke-width: 1.5; }}
svg .medium {{ fill: var(--t0); stroke: var(--t0); stroke-width: 26; stroke-linejoin: round;
  opacity: 0.09; }}
svg .link {{ stroke: var(--soft); stroke-width: 1.5; }}
svg .link.off {{ stroke: var(--fault); stroke-width: 2.5; }}
svg .link.many {{ stroke-width: 0.6; }}
svg .node {{ fill: var(--t0); }} svg .node.ill {{ fill: var(--fault); }}
svg .hub {{ fill: var(--card); stroke: var(--soft); stroke-width: 1.5; }}
svg .plate {{ fill: var(--card); opacity: 0.88; }}
{_TONES}{_DASHES}svg .series.front {{
  stroke: var(--soft); stroke-width: 1.2; stroke-dasharray: 4 3; }}
@media (max-width: 740px) {{ .wide {{ grid-column: auto; }} body {{ padding: 18px 12px 32px; }}
  table {{ font-size: 13px; }} td, th {{ padding: 5px; }} }}
@media screen {{ .wide, .full {{ background: {_SCROLLED}; }} }}
@media print {{ body {{ max-width: none; padding: 0; background: #fff; font-size: 12px; }}
  .card {{ break-inside: avoid; overflow: visible; }} h2 {{ break-after: avoid; }}
  .grid {{ grid-template-columns: repeat(2, 1fr); }} .tiles {{ grid-template-columns:
  repeat(4, 1fr); }} .wide {{ grid-column: 1 / -1; }} table {{ font-size: 10px; }}
  td, th {{ padding: 2px 4px; white-space: normal; }}
  tr {{ break-inside: avoid; }} svg * {{ print-color-adjust: exact;
  -webkit-print-color-adjust: exact; }} }}
"""
