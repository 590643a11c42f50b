"""Figures and strangers' words, for people."""

from __future__ import annotations

UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


def duration(seconds: float) -> str:
    """How long, with the two largest units that there are: 3 d 4 h."""
    rest, parts = int(seconds), list[str]()
    for worth, unit in UNITS:
        if rest >= worth or parts:
            parts.append(f"{rest // worth} {unit}")
            rest %= worth
    return " ".join([*parts, f"{rest} s"][:2])


def size(count: int) -> str:
    """Bytes as KiB, MiB or GiB."""
    for worth, unit in ((1 << 30, "GiB"), (1 << 20, "MiB")):
        if count >= worth:
            return f"{count / worth:.1f} {unit}"
    return f"{count / 1024:.1f} KiB"


def plain(text: str) -> str:
    """A text that a stranger made, without what terminals obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
