"""What becomes of a candidate, and what a path remembers."""

from __future__ import annotations

import re
from itertools import product

from p2pkad.core import candidates as module
from p2pkad.core.candidates import Input, State, after


def test_the_table_in_the_docstring_is_the_one_that_runs() -> None:
    columns = list(Input)
    lines = (module.__doc__ or "").splitlines()
    head = next(index for index, line in enumerate(lines) if "asked by next()" in line)
    starts = [lines[head].index(column.value) for column in columns]
    written = {}
    for line in lines[head + 1 : head + 4]:
        state = State(line.split()[0])
        for column, start in zip(columns, starts, strict=True):
            cell = re.match(r"\w*", line[start:])
            if cell and cell.group():
                written[state, column] = State(cell.group())
    runs = {(s, i): after(s, i) for s, i in product(State, Input) if after(s, i) is not s}
    assert runs == written
