"""edge.report.style: the page's style sheet, light and dark. *style* → page.

Line and text colours reach a contrast of 4.5 : 1 against their ground; the six arms differ in lightness as well as in hue, so that
they stay apart for most colour-blind readers, and each is named where it ends.
"""

from __future__ import annotations

_COLOURS = """
:root { color-scheme:light dark;
  --ground:#fbfbf9; --card:#ffffff; --ink:#1b1f24; --soft:#5b6470; --faint:#e4e5e1; --edge:#c3c7c3;
  --s0:#2458c5; --s1:#bf4a00; --s2:#0b7a69; --s3:#9c2a8f; --s4:#866000; --s5:#3f4a9a; --base:#6d7580; }
@media (prefers-color-scheme:dark) { :root {
  --ground:#14171b; --card:#1b1f25; --ink:#e9ebee; --soft:#a3acb8; --faint:#2b3038; --edge:#4a525e;
  --s0:#7fa9ff; --s1:#ff9f68; --s2:#45cfb4; --s3:#e493dc; --s4:#dfb84a; --s5:#a9b1ff; --base:#98a2ae; } }
.s0{--c:var(--s0)} .s1{--c:var(--s1)} .s2{--c:var(--s2)} .s3{--c:var(--s3)} .s4{--c:var(--s4)} .s5{--c:var(--s5)}
.ink{--c:var(--ink)} .base{--c:var(--base)}
"""

_WORDS = """
* { box-sizing:border-box; }
body { margin:0; background:var(--ground); color:var(--ink); font-variant-numeric:tabular-nums; -webkit-text-size-adjust:100%;
  font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif; }
main { max-width:1080px; margin:0 auto; padding:clamp(20px,4vw,48px) clamp(14px,4vw,40px) 64px; }
h1 { font-size:clamp(24px,3.4vw,34px); line-height:1.2; margin:0 0 6px; letter-spacing:-.01em; }
h2 { font-size:20px; line-height:1.3; margin:0 0 6px; }
p { margin:0; max-width:72ch; }
code { font:.9em ui-monospace,"SF Mono",Menlo,"DejaVu Sans Mono",monospace; }
.lead { color:var(--soft); margin-bottom:26px; }
.note { font-size:14px; margin:0 0 14px; color:var(--soft); }
.nothing { color:var(--soft); font-style:italic; }
footer { margin-top:56px; padding-top:14px; border-top:1px solid var(--faint); font-size:13.5px; color:var(--soft); }
"""

_LAYOUT = """
section { margin-top:48px; min-width:0; }
section > p { color:var(--soft); margin-bottom:18px; }
figure { margin:0; min-width:0; }
figure + figure { margin-top:30px; }
.pair { display:grid; grid-template-columns:minmax(0,1fr); column-gap:48px; }
.pair > figure + figure { margin-top:26px; }
@media (min-width:860px) {
  .pair { grid-template-columns:minmax(0,1fr) minmax(0,1fr); }
  .pair > figure + figure { margin-top:0; }
  .pair > section { display:grid; grid-template-rows:subgrid; grid-row:span 3; }
}
.tiles { display:grid; grid-template-columns:repeat(auto-fit,minmax(172px,1fr)); padding:0; margin:0; list-style:none;
  background:var(--card); border:1px solid var(--faint); border-radius:10px; overflow:hidden; }
.tiles li { padding:16px 18px 14px; box-shadow:0 0 0 .5px var(--faint); }
.tiles b { display:block; font-size:27px; line-height:1.15; font-weight:650; letter-spacing:-.015em; }
.tiles b small { font-size:15px; font-weight:500; letter-spacing:0; color:var(--soft); }
.tiles span { display:block; font-size:13.5px; line-height:1.4; color:var(--soft); margin-top:5px; }
dl { display:grid; grid-template-columns:minmax(90px,max-content) 1fr; gap:6px 20px; margin:0; font-size:14.5px; }
dt { color:var(--soft); }
dd { margin:0; overflow-wrap:anywhere; }
@media print { section { break-inside:avoid; } }
"""

_CHARTS = """
.unit, .under { font-size:12.5px; line-height:1.3; color:var(--soft); max-width:none; }
.unit { margin-bottom:2px; }
.under { text-align:right; margin-top:-2px; padding-right:14px; }
.chart { padding:8px 14px 26px 46px; }
.chart > svg { display:block; overflow:visible; }
.grid { stroke:var(--faint); }
.axis { stroke:var(--edge); }
.over .grid { stroke:var(--ground); opacity:.35; }
line { shape-rendering:crispEdges; }
.tick { font-size:12px; fill:var(--soft); }
.name { font-size:13px; font-weight:550; fill:var(--c); }
.leader { stroke:var(--c); fill:none; opacity:.7; }
.said { font-size:12.5px; fill:var(--ink); }
.mark { stroke:var(--ink); stroke-dasharray:3 3; opacity:.7; }
.line { fill:none; stroke:var(--c); stroke-width:1.75; stroke-linejoin:round; stroke-linecap:round; vector-effect:non-scaling-stroke; }
.line.ink { stroke-width:2.75; }
.line.base { stroke-dasharray:6 5; stroke-width:2; stroke-linecap:butt; }
.line.faded { opacity:.6; stroke-width:1.25; }
.band { fill:var(--c); fill-opacity:.78; stroke:var(--ground); stroke-width:1.5; vector-effect:non-scaling-stroke; }
.bar { fill:var(--c); fill-opacity:.85; }
.legend { display:flex; flex-wrap:wrap; gap:2px 16px; margin:0 0 8px; padding:0; list-style:none; font-size:13.5px; }
.legend i { display:inline-block; width:16px; margin-right:6px; vertical-align:middle; border-top:3px solid var(--c); }
.legend .base i { border-top-style:dashed; }
.legend.fill i { width:11px; height:11px; border:0; border-radius:2px; background:var(--c); opacity:.85; }
@media (min-width:640px) {
  .legend:not(.always) { display:none; }
  .chart.named, .chart.named + .under { padding-right:140px; }
}
@media (max-width:639px) { .names { display:none; } }
@media (max-width:520px) { .odd { display:none; } }
"""

_TABLES = """
.scroll { overflow-x:auto; }
table { border-collapse:collapse; width:100%; font-size:14px; }
th, td { text-align:right; padding:6px 12px; border-bottom:1px solid var(--faint); white-space:nowrap; font-weight:400; }
th:last-child, td:last-child { padding-right:0; }
thead th { color:var(--soft); font-size:12.5px; line-height:1.35; border-bottom-color:var(--edge); vertical-align:bottom; }
th:first-child, td:first-child { text-align:left; padding-left:0; }
th[scope=rowgroup] { padding-top:18px; font-weight:600; }
th .unit { font-weight:400; margin-left:6px; }
tr.total td { font-weight:600; }
td i { display:inline-block; width:9px; height:9px; border-radius:2px; background:var(--c); margin-right:8px; }
"""

STYLE = _COLOURS + _WORDS + _LAYOUT + _CHARTS + _TABLES
