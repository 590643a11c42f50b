"""`p2pkad man` and `p2pkad completion`: the manual page, and what shells know, made of the same definitions as `--help`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from p2pkad import __version__
from p2pkad.cli import output
from p2pkad.cli.exits import DONE
from p2pkad.cli.main import COMMANDS, MORE, Command, make_app, shown

if TYPE_CHECKING:
    from cyclopts import App
    from cyclopts.argument import Argument

SHARED = ("The network", "The host", "The rules")
"""Headings of the options that many commands have: they are described once."""
ABOUT_SHARED = (
    "Those that commands share; each command says which of them it has. With all but `run` they count where a client of the "
    "command asks, with --bootstrap, say: the running node has its own."
)


def man(*, format: Literal["roff", "markdown"] = "roff") -> int:  # noqa: A002 - it is the name of the flag
    """Print the manual page. To read it: p2pkad man | man -l -

    Parameters
    ----------
    format
        roff: what man(1) reads; markdown: docs/cli.md.
    """
    chapters = list(contents(make_app()))
    for text in roff(chapters) if format == "roff" else markdown(chapters):
        output.line(text)
    return DONE


def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
    """Print what a shell has to know to complete p2pkad's words: a script without a call of p2pkad in it.

    Parameters
    ----------
    shell
        bash: to ~/.local/share/bash-completion/completions/p2pkad; zsh: to _p2pkad in a directory of $fpath; fish: to
        ~/.config/fish/completions/p2pkad.fish
    """
    output.line(make_app().generate_completion(shell=shell))
    return DONE


@dataclass(frozen=True)
class Option:
    """An option or a word of a command, as it is typed, and what it is."""

    typed: str
    help: str


@dataclass(frozen=True)
class Chapter:
    """A command, or options that several share. text: paragraphs. shared: which of those options it has, by name."""

    title: str
    text: tuple[str, ...]
    options: tuple[Option, ...]
    shared: tuple[str, ...] = ()
    example: str = ""


def contents(app: App) -> Iterator[Chapter]:
    """All commands, and after them the options that they share."""
    shared: dict[str, Option] = {}
    for command in COMMANDS:
        own, common = [], []
        for each in _of(app, command):
            option = _option(each)
            # One that has another default here is described once more.
            if _is_shared(each) and shared.setdefault(each.name, option) == option:
                common.append(each.name)
            else:
                own.append(option)
        text = tuple(" ".join(part.split()) for part in command.help.split("\n\n"))
        yield Chapter(f"p2pkad {command.name}", text, tuple(own), tuple(common), command.example)
    yield Chapter("Options of a node", (ABOUT_SHARED,), tuple(shared.values()))


def _of(app: App, command: Command) -> Iterator[Argument]:
    found = app
    for word in command.name.split():
        found = found[word]
    for each in found.assemble_argument_collection(parse_docstring=True):
        if each.show and not each.children:
            yield each


def _is_shared(each: Argument) -> bool:
    groups = each.parameter.group
    return isinstance(groups, tuple) and any(str(getattr(group, "name", group)).startswith(SHARED) for group in groups)


def _option(each: Argument) -> Option:
    sentence = " ".join((each.parameter.help or "").split())
    default = None if each.field_info.default is each.field_info.empty else shown(each.field_info.default)
    if default is not None:
        sentence += f" [default: {default}]"
    if not each.name.startswith("-"):
        return Option(each.name.upper(), sentence)
    word = each.name.removeprefix("--").rpartition("-")[2].upper()
    return Option(each.name if each.hint is bool else f"{each.name} {word}", sentence)


def markdown(chapters: list[Chapter]) -> Iterator[str]:
    """The manual as docs/cli.md."""
    yield "# The command line"
    yield ""
    yield "Made by `p2pkad man --format markdown`; a test holds this page to what `--help` shows."
    for part in _paragraphs():
        yield from ("", " ".join(part.split()))
    for chapter in chapters:
        yield from ("", f"## {chapter.title}")
        for text in chapter.text:
            yield from ("", text)
        if chapter.options:
            yield ""
            yield from (f"- `{option.typed}`: {option.help}" for option in chapter.options)
        if chapter.shared:
            yield from ("", "Of the options of a node: " + ", ".join(f"`{name}`" for name in chapter.shared) + ".")
        if chapter.example:
            yield from ("", "```console", f"$ {chapter.example}", "```")


def roff(chapters: list[Chapter]) -> Iterator[str]:
    """The manual as man(7) has it."""
    yield f'.TH P2PKAD 1 "" "p2pkad {__version__}" "User Commands"'
    yield ".nh"  # what is to be typed is not broken at a syllable
    yield ".SH NAME"
    yield r"p2pkad \- a libp2p\-compatible Kademlia node"
    yield ".SH SYNOPSIS"
    yield r".B p2pkad"
    yield r".I COMMAND"
    yield r"[OPTIONS] [WORDS]"
    yield ".SH DESCRIPTION"
    for part in _paragraphs():
        yield from (".PP", _escaped(" ".join(part.split())))
    yield ".SH COMMANDS"
    for chapter in chapters:
        yield f".SS {_escaped(chapter.title)}"
        for text in chapter.text:
            yield from (".PP", _escaped(text))
        for option in chapter.options:
            yield from (".TP", rf"\fB{_escaped(option.typed)}\fR", _escaped(option.help))
        if chapter.shared:
            yield from (".PP", _escaped("Of the options of a node: " + ", ".join(chapter.shared) + "."))
        if chapter.example:
            yield from (".PP", ".nf", _escaped(f"    {chapter.example}"), ".fi")


def _paragraphs() -> list[str]:
    return re.split(r"\n\n", MORE)


def _escaped(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text
