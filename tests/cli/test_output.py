"""What is shown while one waits."""

from __future__ import annotations

import io
import sys

import pytest
import trio

from p2pkad.cli.output import PATIENCE, line, progress, raw, record


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def stderr_on(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    # Not in a fixture: between those and the test pytest puts its own stream back.
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    return stream


@pytest.mark.parametrize(("stream", "end"), [(io.StringIO, b""), (Terminal, b"\n")])
def test_a_value_is_written_as_it_is_and_a_prompt_gets_its_own_line(monkeypatch, stream, end):
    out = stream()
    out.buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", out)
    raw(b"one\n")
    raw(b"two")
    assert out.buffer.getvalue() == b"one\ntwo" + end


async def test_long_work_shows_on_a_terminal_what_it_is(monkeypatch, autojump_clock):
    screen = stderr_on(Terminal(), monkeypatch)
    async with progress("looking for /demo/x"):
        await trio.sleep(2 * PATIENCE)
    assert "looking for /demo/x" in screen.getvalue()


async def test_short_work_shows_nothing(monkeypatch, autojump_clock):
    screen = stderr_on(Terminal(), monkeypatch)
    async with progress("looking for /demo/x"):
        await trio.sleep(PATIENCE / 2)
    assert screen.getvalue() == ""


async def test_a_file_or_a_pipe_is_told_nothing(monkeypatch, autojump_clock):
    log = stderr_on(io.StringIO(), monkeypatch)
    async with progress("looking for /demo/x"):
        await trio.sleep(2 * PATIENCE)
    assert log.getvalue() == ""


async def test_what_is_printed_meanwhile_goes_to_standard_output_as_it_is(monkeypatch, autojump_clock):
    screen, out = stderr_on(Terminal(), monkeypatch), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    async with progress("looking for /demo/x"):
        await trio.sleep(2 * PATIENCE)
        line("found")
        record({"id": "x" * 200})
    assert out.getvalue() == f'found\n{{"id": "{"x" * 200}"}}\n'
    assert "found" not in screen.getvalue()
