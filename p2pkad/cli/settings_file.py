"""Options from a TOML file, and the file that has them all.

    [node]  what a node is: fields of `p2pkad.config.Config`, `validator`, `default_validator`
    [log]   what `p2pkad run` writes to standard error
    [ask]   how the other commands ask

A key is the name of an option with _ for -. An option that is typed, or in the environment, goes before one of the file. A
command takes from the file what it has an option for; where to listen and what to announce is the running node's alone. One
that has nothing to take does not read it: `config` shows what may stand in a file also while the one that is there is broken.
"""

from __future__ import annotations

import json
import os
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from cyclopts.config import Dict

from p2pkad.cli import output
from p2pkad.cli.exits import DONE
from p2pkad.cli.options import OBJECTS, Asking, Logging, Namespaces, NodeOptions, Watching, documentation
from p2pkad.cli.typed import described, fits
from p2pkad.config import HostConfig, KademliaConfig
from p2pkad.errors import ConfigError

if TYPE_CHECKING:
    from cyclopts import App
    from cyclopts.argument import ArgumentCollection

TABLES: dict[str, tuple[type, ...]] = {
    "node": (NodeOptions, Namespaces),
    "http": (Watching,),
    "log": (Logging,),
    "ask": (Asking,),
}
ELSEWHERE = {"data_dir", "config"}
"""Fields of commands that are no keys of their own: the state directory stands in [node], and the file does not name itself."""
OF_THE_NODE = {"listen", "announce"}
NOT_ASKING = {"run", "key"}
"""Commands that ask nobody: what they print is not in [ask], though they have options of the same name."""
WIDTH = 100
MOST_NAMED = 10
"""Keys or tables that a sentence names when it is not clear which one was meant."""


def default_path() -> Path:
    """Where the file is when nobody says where: XDG base directory specification, `XDG_CONFIG_HOME`."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "p2pkad" / "config.toml"


def keys(table: str) -> dict[str, tuple[Any, Field[Any]]]:
    """The keys of a table, each with its type and the field that it stands for."""
    found: dict[str, tuple[Any, Field[Any]]] = {}
    for part in TABLES[table]:
        hints = get_type_hints(part)
        for each in fields(part):
            if part in (NodeOptions, Namespaces) or each.name not in ELSEWHERE:
                found[each.name] = hints[each.name], each
    return found


def every_key() -> set[str]:
    """The keys of all tables."""
    return {key for table in TABLES for key in keys(table)}


def read(path: Path) -> dict[str, Any]:
    """The options in a file, by name. Raises ConfigError, which names the file, the table and the key."""
    try:
        said = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot read it ({getattr(error, 'strerror', None) or error})") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: this is not TOML: {error}") from error
    options: dict[str, Any] = {}
    for table, entries in said.items():
        if table not in TABLES and (home := _home_of(table)):
            raise ConfigError(f"{path}: {table} belongs below [{home}]")
        if table not in TABLES:
            raise ConfigError(f"{path}: unknown table [{table}].{_meant(table, TABLES, '[{}]')}")
        if not isinstance(entries, dict):
            raise ConfigError(f"{path}: [{table}] is a table")
        options |= _checked(path, table, entries)
    return options


def _checked(path: Path, table: str, entries: Mapping[str, Any]) -> Mapping[str, Any]:
    known = keys(table)
    for key, value in entries.items():
        if key not in known:
            home = _home_of(key)
            where = f" It belongs to [{home}]." if home else _meant(key, known, '"{}"')
            raise ConfigError(f'{path}: unknown key "{key}" in [{table}].{where}')
        hint = known[key][0]
        if not fits(value, hint):
            raise ConfigError(
                f"{path}: {key} in [{table}] has to be {described(hint)}, and is {json.dumps(value, default=str)}"
            )
    return entries


def _home_of(key: str) -> str | None:
    return next((table for table in TABLES if key in keys(table)), None)


def _meant(word: str, known: Mapping[str, Any], form: str) -> str:
    close = get_close_matches(word, known, n=1)
    if close:
        return f" Did you mean {form.format(close[0])}?"
    if len(known) > MOST_NAMED:
        return f" There are {len(known)}: `p2pkad config` prints them."
    return f" There are {', '.join(map(form.format, known))}."


def apply(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Give options that nobody typed, and that are not in the environment, the values of the file."""
    if not any(_key(each.name) in every_key() and not each.tokens for each in arguments):
        return
    path = path_of(next((each.tokens[-1].value for each in arguments if each.name == "--config" and each.tokens), None))
    if path is None:
        return
    try:
        options = read(path)
    except ConfigError:
        if commands[:1] == ("key",) and any(_key(each.name) in ("file", "data_dir") and each.tokens for each in arguments):
            return  # it says itself where the key is, and is needed while the file is being mended
        raise
    elsewhere = set() if commands == ("run",) else OF_THE_NODE
    if not NOT_ASKING.isdisjoint(commands):
        elsewhere = elsewhere | keys("ask").keys()
    options = {key: value for key, value in options.items() if key not in elsewhere}
    Dict(data=options, source=str(path), allow_unknown=True, use_commands_as_keys=False)(app, commands, arguments)


def path_of(typed: str | None) -> Path | None:
    """The file that is read: the one that was named, here or in the environment, or the usual one; None where there is none."""
    named = typed or os.environ.get("P2PKAD_CONFIG")
    path = Path(named) if named else default_path()
    return path if named or path.exists() else None


def _key(option: str) -> str:
    return option.removeprefix("--").replace("-", "_").lower()


def config() -> int:
    """Print a file of options with all of them in it, each with its default and what it is."""
    for text in default_file():
        output.line(text)
    path = path_of(None)
    if path is not None:
        try:
            read(path)
        except ConfigError as error:
            output.remark(f"p2pkad: the file that is there cannot be used: {error}")
    return DONE


def default_file() -> Iterator[str]:
    """The lines of a file that changes nothing: every option is there, commented out."""
    yield f"# Options of p2pkad, as `p2pkad config` prints them. Read from {_home()}, or where --config says."
    yield "# Typed options and P2PKAD_... in the environment go before those here. Uncomment what is to be different."
    for table in TABLES:
        sentences = _sentences(table)
        yield from ("", f"[{table}]")
        for key, (_, each) in keys(table).items():
            yield from ("", *textwrap.wrap(sentences[key], WIDTH, initial_indent="# ", subsequent_indent="# "))
            default = each.default if each.default_factory is MISSING else each.default_factory()
            yield f"# {key} has none by itself" if default is None else f"#{key} = {_toml(default)}"


def _home() -> str:
    return "$XDG_CONFIG_HOME/p2pkad/config.toml (~/.config/p2pkad/config.toml)"


def _sentences(table: str) -> dict[str, str]:
    if table == "node":
        of_config = documentation(HostConfig) | documentation(KademliaConfig)
        return {name: text for name, text in of_config.items() if name not in OBJECTS} | documentation(Namespaces)
    return {name: text for part in TABLES[table] for name, text in documentation(part).items()}


def _toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return json.dumps(value, ensure_ascii=False)
        case tuple():
            return f"[{', '.join(map(_toml, value))}]"
        case _:
            return repr(value)
