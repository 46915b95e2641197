"""The page: sections of tables and pictures in one document with its own style, that no reader's network hears of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

Cells = Sequence[str]

PALETTE = ("#2563eb", "#d97706", "#059669", "#db2777", "#7c3aed", "#64748b")

STYLE = """
:root { --ink: #1a1d21; --paper: #fff; --faint: #6b7280; --rule: #e2e5e9 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --paper: #15181c; --faint: #98a1ad; --rule: #2d333b } }
@media print { :root { --ink: #000; --paper: #fff; --faint: #444; --rule: #bbb } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 1.3rem; overflow-wrap: anywhere } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: .1rem 1rem; margin: 0 0 1rem }
dt { color: var(--faint); overflow-wrap: anywhere }
dd { margin: 0; overflow-wrap: anywhere; white-space: pre-wrap; font-variant-numeric: tabular-nums }
pre { overflow-x: auto; font-size: .85em } .wide { overflow-x: auto } table { border-collapse: collapse; width: 100% }
th, td { padding: .25rem .6rem .25rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--rule);
  overflow-wrap: break-word; max-width: 24rem } th { color: var(--faint); font-weight: 500 }
figure { margin: 0 0 1.2rem; break-inside: avoid } figcaption { color: var(--faint) }
svg { width: 100%; height: auto; display: block } text { fill: var(--faint); font: 11px system-ui, sans-serif }
.grid { stroke: var(--rule); stroke-width: 1 } polyline { fill: none; stroke-width: 1.6; stroke-linejoin: round }
.key::before { content: ""; display: inline-block; width: .8em; height: .2em; margin: 0 .3em .25em .6em;
  background: currentColor }
@media (max-width: 30rem) { dl { grid-template-columns: 1fr; gap: 0 } dd { margin-bottom: .4rem }
  text { font-size: 18px } }
@media print { body { max-width: none; padding: 0 } .wide { overflow: visible } h2 { break-after: avoid }
  tr { break-inside: avoid } }
""" + "".join(
    f".line-{number} {{ stroke: {colour} }} .line-{number}.dot {{ fill: {colour} }}\n"
    f".key-{number} {{ color: {colour} }}\n"
    for number, colour in enumerate(PALETTE)
)

# The browser itself refuses whatever would leave the page.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(title: str, sections: Iterable[str], *, script: str = "") -> str:
    """The whole document. With a script, that alone may run, and ask the server that the page came from."""
    policy = f"{POLICY}; script-src 'unsafe-inline'; connect-src 'self'" if script else POLICY
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<h1>{escape(title)}</h1>\n{''.join(sections)}{_script(script)}</body>\n</html>\n"
    )


def _script(script: str) -> str:
    return f"<script>{script}</script>\n" if script else ""


def section(title: str, content: str) -> str:
    """Nothing where it would be empty."""
    return f"<section>\n<h2>{escape(title)}</h2>\n{content}</section>\n" if content else ""


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Names and values."""
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>\n" for name, value in rows)
    return f"<dl>\n{listed}</dl>\n" if listed else ""


def table(head: Cells, rows: Iterable[Cells]) -> str:
    listed = "".join(f"<tr>{_row('td', row)}</tr>\n" for row in rows)
    return f'<div class="wide"><table>\n<tr>{_row("th", head)}</tr>\n{listed}</table></div>\n' if listed else ""


def _row(tag: str, cells: Cells) -> str:
    return "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells)
