"""The style sheet of report.html: light and dark, and the colours of the plots (tone0 ..)."""

STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --ink: #1c2128; --soft: #5b6673;
  --rule: #dde2e8; --t0: #2563c9; --t1: #c96a12; --t2: #2b8a57; --t3: #8d99a8; --t4: #8a4fb5; }
@media (prefers-color-scheme: dark) { :root { --page: #11151a; --card: #1a2027; --ink: #e6eaef;
  --soft: #9aa6b4; --rule: #2e3741; --t0: #6ea3ff; --t1: #f0a04b; --t2: #58c48c; --t3: #6d7a89;
  --t4: #c294ea; } }
* { box-sizing: border-box; } body { margin: 0 auto; max-width: 1080px; padding: 28px 20px 48px;
  background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 26px; } h1 small { font-weight: 400; color: var(--soft); }
h2 { margin: 32px 0 10px; font-size: 17px; }
p { margin: 2px 0; color: var(--soft); } .done { color: var(--t2); } .bad { color: var(--t1); }
.grid { display: grid; gap: 14px; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); }
.tiles { grid-template-columns: repeat(auto-fit, minmax(min(40%, 200px), 1fr)); margin-top: 20px; }
.card { background: var(--card); border: 1px solid var(--rule); padding: 14px;
  border-radius: 10px; overflow-x: auto; } .tile b { display: block; font-size: 22px; }
.tile span { color: var(--soft); font-size: 13px; } svg { width: 100%; display: block; }
table { border-collapse: collapse; width: 100%; font-size: 14px; } td, th { padding: 6px 10px;
  text-align: right; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th { color: var(--soft); font-weight: 500; } tr:last-child td { border: 0; }
td:nth-child(-n+4), th:nth-child(-n+4), .faults td, .faults th { text-align: left; }
svg .title { font-weight: 600; font-size: 13px; fill: var(--ink); } svg .axis { font-size: 11px;
  fill: var(--soft); } svg .grid { stroke: var(--rule); } svg .series { fill: none;
  stroke-width: 2; } .series.tone0 { stroke: var(--t0); } .series.tone1 { stroke: var(--t1); }
rect.tone0, .dot.tone0 { fill: var(--t0); } rect.tone1, .dot.tone1 { fill: var(--t1); }
rect.tone2 { fill: var(--t2); } rect.tone3 { fill: var(--t3); } rect.tone4 { fill: var(--t4); }
"""
