"""Words become keys and values; and where state is when no word says so."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from p2pkad.cli.exits import UsageError


def state_home() -> str:
    """Where a node keeps its key when nobody says where: XDG base directory specification, `XDG_STATE_HOME`."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return str(Path(home) / "p2pkad")


def key_of(text: str) -> bytes:
    """A record key as typed: `/ns/name`, or `hex:` and its bytes. Raises UsageError."""
    if not text:
        raise UsageError("a key cannot be empty; write /ns/name or hex:...")
    if not text.startswith("hex:"):
        return os.fsencode(text)
    try:
        return bytes.fromhex(text.removeprefix("hex:"))
    except ValueError:
        raise UsageError(f"{text}: after hex: come pairs of the digits 0-9 and a-f") from None


def value_of(text: str, standard_input: Any) -> bytes:
    """A value as typed: the text itself, `@file`, or `-` for all of standard input. Raises UsageError."""
    if text == "-":
        content: bytes = standard_input.read()
        return content
    if not text.startswith("@"):
        return os.fsencode(text)
    try:
        return Path(text.removeprefix("@")).read_bytes()
    except OSError as error:
        raise UsageError(f"{text}: {error.strerror or error}") from None
