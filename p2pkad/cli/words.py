"""Words become keys, values and peers; and where state is when no word says so."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import p2pkad
from p2pkad.cli.exits import UsageError

LARGEST_VALUE = 5 * 1024 * 1024
"""Bytes of a value: more than a message has (go, js and, unless it is told otherwise, a node take 4 MiB), and in base64, with
whatever key, no more than a running node is asked in."""


def state_home() -> str:
    """Where a node keeps its key when nobody says where: XDG base directory specification, `XDG_STATE_HOME`."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return str(Path(home) / "p2pkad")


def key_of(text: str) -> bytes:
    """A record key as typed: `/ns/name`, or `hex:` and its bytes. Raises UsageError."""
    if not text:
        raise UsageError("a key cannot be empty; write /ns/name or hex:...")
    if not text.startswith("hex:"):
        try:
            return os.fsencode(text)
        except UnicodeEncodeError:  # half of a surrogate pair, which only JSON can spell
            raise UsageError(f"{text!a}: that is no text; write the bytes of the key behind hex:") from None
    try:
        return bytes.fromhex(text.removeprefix("hex:"))
    except ValueError:
        raise UsageError(f"{text}: after hex: come pairs of the digits 0-9 and a-f") from None


def value_of(text: str, standard_input: BinaryIO | None) -> bytes:
    """A value as typed: the text itself, `@file`, or `-` for all of standard input. Raises UsageError."""
    if text == "-":
        if standard_input is None:
            raise UsageError("-: standard input is closed")
        return _all_of(standard_input, "standard input")
    if not text.startswith("@"):
        return os.fsencode(text)
    name = text.removeprefix("@")
    try:
        with Path(name).open("rb") as file:
            return _all_of(file, name)
    except OSError as error:
        raise UsageError(f"{text}: {error.strerror or error}") from None


def require_peer(text: str) -> None:
    """Raise UsageError when no peer has such an id."""
    try:
        p2pkad.peer_id(text)
    except p2pkad.LocalProtocolError as error:
        raise UsageError(str(error)) from None


def require_peer_or_address(text: str) -> None:
    """Raise UsageError when this is no peer id, and no address that has one at its end. The rest of it the node judges."""
    place, _, name = text.rpartition("/p2p/")
    if text.startswith("/") and not place:
        raise UsageError(f"{text!r} does not say who and where; write /ip4/.../tcp/.../p2p/<peer id>")
    try:
        require_peer(name)
    except UsageError as error:
        raise UsageError(f"{error}, or an address that ends in /p2p/<peer id>" if not place else f"{text}: {error}") from None


def _all_of(file: BinaryIO, name: str) -> bytes:
    """What is in a file, which may have no end."""
    content = file.read(LARGEST_VALUE + 1)
    if len(content) > LARGEST_VALUE:
        raise UsageError(f"{name}: more than {LARGEST_VALUE} bytes, which is the most that is read here")
    return content
