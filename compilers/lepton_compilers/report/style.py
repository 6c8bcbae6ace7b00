"""The page's style sheet: colours in both schemes, tables that scroll by themselves on narrow screens."""

from __future__ import annotations

STYLE = """
:root { --ink: #1b1f24; --quiet: #5b6571; --paper: #fff; --line: #d8dee4;
  --fill: #dbe9f9; --strong: #2f6fb7; --bad: #c8372d; --warm: #f3d9a4; --tile: #f4f6f8; }
@media (prefers-color-scheme: dark) { :root {
  --ink: #e3e8ee; --quiet: #98a4b1; --paper: #14181d; --line: #333c46;
  --fill: #1e3a5c; --strong: #6ea8e8; --bad: #f0746b; --warm: #5c4720; --tile: #1d232a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 16px; }
h1 { font-size: 1.6em; margin: .3em 0 .1em; overflow-wrap: anywhere; }
h2 { font-size: 1.15em; margin: 1.8em 0 .5em; }
h3 { font-size: 1em; margin: 1.2em 0 .4em; }
.quiet { color: var(--quiet); font-size: .88em; margin: .2em 0 .7em; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(132px, 1fr)); gap: 8px;
  margin: 1em 0; }
.tiles div { background: var(--tile); border-radius: 8px; padding: 8px 12px; }
dt { color: var(--quiet); font-size: .82em; }
dd { margin: 0; font-size: 1.2em; font-weight: 600; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88em; }
th, td { padding: 4px 10px 4px 4px; border-bottom: 1px solid var(--line); text-align: left;
  white-space: nowrap; }
th { font-weight: 600; color: var(--quiet); }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
li { overflow-wrap: anywhere; }
td.bar { min-width: 84px; background: linear-gradient(to right, var(--fill) var(--share), transparent 0); }
.matrix th, .matrix td { text-align: right; padding: 4px 7px; min-width: 34px; }
.matrix tbody th { text-align: left; }
.hit { background: color-mix(in srgb, var(--strong) calc(var(--share) * .6), transparent); }
.miss { background: color-mix(in srgb, var(--bad) var(--share), transparent); }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); gap: 14px; }
figure { margin: 0; min-width: 0; }
figcaption { font-size: .85em; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--ink); font-size: 11px; }
svg .name { fill: var(--quiet); text-anchor: end; }
.graph { max-width: 560px; }
.roc { max-width: 360px; }
.integer { fill: var(--fill); background: var(--fill); }
.real { fill: var(--warm); background: var(--warm); }
.key { display: inline-block; width: 12px; height: 12px; border-radius: 3px;
  vertical-align: -1px; margin-left: 6px; }
.edge { fill: none; stroke: var(--quiet); stroke-width: 1.4; }
.bar { fill: var(--strong); }
.bad { fill: var(--bad); }
.axis, .chance { fill: none; stroke: var(--quiet); stroke-width: 1; }
.chance { stroke-dasharray: 4 4; }
.frame { fill: none; stroke: var(--line); }
polyline { fill: none; stroke-width: 1.8; }
summary { cursor: pointer; }
summary h2 { display: inline; }
"""
