"""A run as tables: an overview for the terminal, Markdown, JSON, and an HTML page with the matrix as a picture.

The page needs nothing beside itself. Each square is a cell; its colour is the verdict, its title what was seen.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape

from cells import Result, Scenario, Verdict
from matrix import Run, command

SIGNS = {Verdict.GREEN: "✓", Verdict.DEVIATION: "≠", Verdict.RED: "✗", Verdict.NOT_RUN: "·"}
COLOURS = {Verdict.GREEN: "#2e9e5b", Verdict.DEVIATION: "#d9a21b", Verdict.RED: "#d1383d", Verdict.NOT_RUN: "#9aa0a6"}
LEGEND = "✓ as it should be, ≠ an expected deviation, ✗ red, · not run: a toolchain is missing"
BEGIN, END = "<!-- the matrix, by `python interop/run.py --readme` -->", "<!-- the end of the matrix -->"
PAGE_OF_LINES = "../../../interop/DEVIATIONS.md"
"""Seen from where tables are written: .cache/interop/run, .cache/interop/networks."""

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 68rem; padding: 0 1rem }
section { display: inline-block; margin: 0 2.5rem 1.5rem 0; vertical-align: top }
h2 { font-size: 1rem; margin: 0 } p { margin: 0 0 .5rem; max-width: 26rem }
table { border-collapse: separate; border-spacing: 3px } th { font-weight: normal; text-align: right; font-size: 13px }
thead th { text-align: center } td { width: 3.2rem; height: 1.4rem; border-radius: 3px; color: #fff; text-align: center }
td a { color: #fff } code { font-size: 13px }
@media (prefers-color-scheme: dark) { body { background: #16181b; color: #e2e4e8 } a { color: #8ab4f8 } }
"""


def overview(run: Run) -> str:
    """A line for each scenario: how many of its cells came out how."""
    head = f"{'':18}" + "".join(f"{verdict:>11}" for verdict in Verdict)
    return "\n".join([head, *(f"{scenario.name:18}{_counts(results)}" for scenario, results in by_scenario(run))])


def _counts(results: Sequence[Result]) -> str:
    verdicts = [result.verdict for result in results]
    return "".join(f"{verdicts.count(verdict) or '-':>11}" for verdict in Verdict)


def markdown(run: Run) -> str:
    """Versions, counts, a table for each scenario, then what deviates and what is red."""
    parts = [f"# Who understands whom\n\n{run.summary}. Seed `{run.seed}`, {run.seconds:.0f} s.\n\n{LEGEND}."]
    parts.append(markdown_table(["implementation", "versions"], ([name, text] for name, text in versions(run).items())))
    parts.append(by_implementation(run))
    for scenario, results in by_scenario(run):
        rows = ([f"**{name}**", *map(_sign, row)] for name, row in grid(results))
        table = markdown_table([_corner(scenario), *columns(results)], rows)
        parts.append(f"## {scenario.name}\n\n{scenario.says} ({' '.join(scenario.ids)})\n\n{table}")
    if red := [result for result in run.results if result.verdict is Verdict.RED]:
        lines = [f"- {result.cell}: {_one_line(result.detail)}\n  `{command(result.cell, run.seed)}`" for result in red]
        parts.append("## Red\n\n" + "\n".join(lines))
    if run.bad_ends:
        parts.append("## Bad ends\n\n" + "\n".join(f"- {_one_line(end)}" for end in run.bad_ends))
    return "\n\n".join(parts) + "\n"


def by_implementation(run: Run) -> str:
    """A row for each scenario, a column for each implementation: of the cells that it takes part in, how many are what."""
    names = list(dict.fromkeys(name for result in run.results for name in result.cell.peers))
    rows = []
    for scenario, results in by_scenario(run):
        parts = ([result for result in results if name in result.cell.peers] for name in names)
        rows.append([scenario.name, *(_shares(part) for part in parts)])
    return markdown_table(["", *names], rows)


def _shares(results: Sequence[Result]) -> str:
    verdicts = [result.verdict for result in results]
    return " ".join(f"{SIGNS[verdict]} {verdicts.count(verdict)}" for verdict in Verdict if verdict in verdicts)


def in_readme(readme: str, run: Run) -> str:
    """A page with the table of `by_implementation` between its two comments. Raises ValueError: it has no such comments."""
    head, begin, rest = readme.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"there is no {BEGIN} with an {END} below it")
    return f"{head}{begin}\n{by_implementation(run)}\n\n{LEGEND}.\n{end}{tail}"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows below a head."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _sign(result: Result) -> str:
    sign = SIGNS[result.verdict]
    return f"[{sign}]({PAGE_OF_LINES}#{result.line})" if result.verdict is Verdict.DEVIATION else sign


def _one_line(text: str) -> str:
    return " ".join(text.split())


def json_text(run: Run) -> str:
    """All of it, for programs."""
    cells = [
        {
            "scenario": result.cell.scenario.name,
            "roles": result.cell.cast,
            "verdict": str(result.verdict),
            "detail": result.detail,
            "deviation": result.line,
            "seconds": round(result.seconds, 4),
        }
        for result in run.results
    ]
    counts = {str(verdict): run.count(verdict) for verdict in Verdict}
    head = {
        "seed": run.seed,
        "seconds": round(run.seconds, 1),
        "versions": run.versions,
        "counts": counts,
        "bad_ends": run.bad_ends,
    }
    return json.dumps({**head, "cells": cells}, indent=1) + "\n"


def page(run: Run) -> str:
    """The matrix as a picture."""
    body = [
        f"<h1>Who understands whom</h1><p>{escape(run.summary)}. Seed <code>{escape(run.seed)}</code>.</p>",
        f"<p>{escape(LEGEND)}.</p>",
        *(_section(scenario, results) for scenario, results in by_scenario(run)),
        _list("Versions", (f"{name}: {text}" for name, text in versions(run).items())),
        _list("Red", (f"{result.cell}: {result.detail}" for result in run.results if result.verdict is Verdict.RED)),
        _list("Bad ends", run.bad_ends),
    ]
    head = f'<meta charset="utf-8"><title>Who understands whom</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n'


def _section(scenario: Scenario, results: Sequence[Result]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in (_corner(scenario), *columns(results)))
    rows = "".join(f"<tr><th>{escape(name)}</th>{''.join(map(_square, row))}</tr>" for name, row in grid(results))
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f"<section><h2>{escape(scenario.name)}</h2><p>{escape(scenario.says)}</p>{table}</section>"


def _square(result: Result) -> str:
    sign, title = SIGNS[result.verdict], escape(f"{result.cell}: {result.detail} ({1000 * result.seconds:.0f} ms)")
    if result.verdict is Verdict.DEVIATION:
        sign = f'<a href="{PAGE_OF_LINES}#{result.line}">{sign}</a>'
    return f'<td style="background: {COLOURS[result.verdict]}" title="{title}">{sign}</td>'


def _list(title: str, lines: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<h2>{title}</h2><ul>{items}</ul>" if items else ""


def by_scenario(run: Run) -> list[tuple[Scenario, list[Result]]]:
    """The results of each scenario, in the order of the run."""
    groups: dict[Scenario, list[Result]] = {}
    for result in run.results:
        groups.setdefault(result.cell.scenario, []).append(result)
    return list(groups.items())


def grid(results: Iterable[Result]) -> list[tuple[str, list[Result]]]:
    """One scenario's results as rows: all that differ in the last role only, under the names of the others."""
    rows: dict[str, list[Result]] = {}
    for result in results:
        rows.setdefault("/".join(result.cell.peers[:-1]), []).append(result)
    return list(rows.items())


def columns(results: Iterable[Result]) -> list[str]:
    """Who plays the last role, each once."""
    return list(dict.fromkeys(result.cell.peers[-1] for result in results))


def _corner(scenario: Scenario) -> str:
    *rows, column = scenario.roles
    return f"{'/'.join(rows)} \\ {column}"


def versions(run: Run) -> dict[str, str]:
    """By implementation, its versions on one line."""
    return {name: ", ".join(f"{what} {which}" for what, which in each.items()) for name, each in run.versions.items()}
