"""Ways to break p2pkad that the matrix must not overlook, as far as that goes without peers."""

from __future__ import annotations

from pathlib import Path

import breakages
import pytest
from breakages import LIST, ROOT, Breakage, Change, Unusable, complaint
from cells import cells_of
from implementations import IMPLEMENTATIONS
from scenarios import SCENARIOS

ALL = breakages.read(LIST.read_text())
KEEPS = Breakage("keeps", ("keep",), ("keep p2pkad/*",), ())


@pytest.mark.parametrize("breakage", ALL, ids=lambda each: each.name)
def test_each_can_still_be_made(breakage: Breakage, tmp_path: Path) -> None:
    place = breakages.broken(breakage, tmp_path / "copy")
    for change in breakage.changes:
        assert change.new in (place / change.file).read_text()
        compile((place / change.file).read_text(), change.file, "exec")
        assert change.new not in (ROOT / change.file).read_text()


@pytest.mark.parametrize("breakage", ALL, ids=lambda each: each.name)
def test_each_names_cells_of_the_scenarios_that_it_plays(breakage: Breakage) -> None:
    cells = [str(cell) for cell in cells_of((SCENARIOS[name] for name in breakage.scenarios), tuple(IMPLEMENTATIONS))]
    meant = {pattern: [cell for cell in cells if Breakage("", (), (pattern,), ()).means(cell)] for pattern in breakage.red}
    assert all(meant.values())
    assert all("p2pkad" in cell for named in meant.values() for cell in named)


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ({"keep p2pkad/go": "red", "keep go/go": "green", "keep js/go": "deviation"}, None),
        ({"keep p2pkad/go": "red", "keep p2pkad/js": "not run", "keep go/p2pkad": "red"}, None),
        ({"keep p2pkad/go": "green"}, "not red: keep p2pkad/go"),
        ({"keep p2pkad/go": "red", "keep go/go": "red"}, "red without p2pkad: keep go/go"),
        ({"keep p2pkad/go": "not run", "keep go/go": "green"}, "none of its cells was played"),
    ],
)
def test_it_is_noticed_when_its_cells_are_red_and_none_of_others_alone(seen: dict[str, str], said: str | None) -> None:
    assert complaint(KEEPS, seen) == said


def test_a_text_that_is_not_there_once_cannot_be_changed() -> None:
    with pytest.raises(Unusable, match=r"2 times in a\.py"):
        Change("a.py", "x", "y").applied("xx")


def test_a_run_that_breaks_off_teaches_nothing(tmp_path: Path) -> None:
    (tmp_path / "interop").mkdir()
    (tmp_path / "interop" / "run.py").write_text("raise SystemExit('no peers here')")
    with pytest.raises(Unusable, match="no peers here"):
        breakages.verdicts(tmp_path, ["keep"])


def test_a_run_that_does_not_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "interop").mkdir()
    (tmp_path / "interop" / "run.py").write_text("import threading; threading.Event().wait()")
    monkeypatch.setattr(breakages, "RUN_SECONDS", 0.5)
    with pytest.raises(Unusable, match=r"not over after 0\.5 s"):
        breakages.verdicts(tmp_path, ["keep"])
