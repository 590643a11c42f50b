"""What can be typed after `--`.

The options of a node are made of the dataclasses in `p2pkad.config`: a field is a flag, its type the value, the sentence
under it the help. `NodeOptions` are those of a node that stays, `AskOptions` those of a command that asks and leaves,
`OfferOptions` those of one that leaves its own address behind. The rest are written out below.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, make_dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_type_hints

from cyclopts import CoercionError, Group, Parameter, Token, convert

import p2pkad
from p2pkad.cli.exits import UsageError
from p2pkad.cli.requests import DEFAULT_TIMEOUT
from p2pkad.cli.words import state_home
from p2pkad.config import Config, HostConfig, KademliaConfig

OBJECTS = {"identity", "validators", "default_validator"}
"""Fields that no text stands for."""

ASKING = {
    "bootstrap",
    "protocol",
    "scope",
    "k",
    "alpha",
    "beta",
    "request_timeout",
    "late_after",
    "security",
    "dial_transports",
    "dial_timeout",
}
OFFERING = {"listen", "announce"}

BESIDE = " (with --bootstrap: the running node has its own)"

Kind = Literal["pk", "ipns", "signed", "newest", "opaque"]


@cache
def documentation(config: type) -> dict[str, str]:
    """The sentences under the fields of a dataclass, by field; inherited ones are not among them."""
    (body,) = ast.parse(inspect.getsource(config)).body
    assert isinstance(body, ast.ClassDef)
    return {
        ast.unparse(line.target): " ".join(ast.literal_eval(below.value).split())
        for line, below in zip(body.body, body.body[1:], strict=False)
        if isinstance(line, ast.AnnAssign) and isinstance(below, ast.Expr)
    }


class TypedHere(tuple[str, ...]):
    """Texts that were typed with the command itself, and not read from the environment or a file."""

    __slots__ = ()


class TextTypedHere(str):
    """One such text."""

    __slots__ = ()


def _with_source(_: object, tokens: Sequence[Token]) -> tuple[str, ...]:
    # An empty list in a file comes as one token without a text.
    texts = tuple(token.value for token in tokens if token.value or token.source == "cli")
    return TypedHere(texts) if any(token.source == "cli" for token in tokens) else texts


def _text_with_source(_: object, tokens: Sequence[Token]) -> str:
    last = tokens[-1]
    return TextTypedHere(last.value) if last.source == "cli" else last.value


Directory = Annotated[str | None, Parameter(converter=_text_with_source)]
"""A state directory, of which it is known whether it was typed with the command."""


def _whole(_: object, tokens: Sequence[Token]) -> int:
    # cyclopts would round what has a point, and start a node with other options than were typed.
    for token in tokens:
        if "." in token.value:
            raise CoercionError(msg=f"{token.value} is no whole number.", token=token)
    number: int = convert(int, tokens)
    return number


Whole = Annotated[int, Parameter(converter=_whole)]
"""A count that is typed."""


def flags(name: str, wanted: Iterable[str], *, only: str = "", **defaults: object) -> Any:
    """A dataclass of these fields of `Config`, as cyclopts reads it. defaults: where they are not the node's own.

    only: what the headings say of when they count.
    """
    hints = get_type_hints(Config)
    columns = []
    for part, heading in ((KademliaConfig, f"The network{only}"), (HostConfig, f"The host{only}")):
        group, sentences = Group(heading, sort_key=2), documentation(part)
        for each in fields(part):
            if each.name in wanted:
                converter = _with_source if each.name == "bootstrap" else _whole if hints[each.name] is int else None
                parameter = Parameter(help=sentences[each.name], group=group, converter=converter)
                default = defaults.get(each.name, each.default)
                columns.append((each.name, Annotated[hints[each.name], parameter], field(default=default)))
    # Without a module of its own cyclopts takes the class for a built-in type, and looks no further into it.
    made = make_dataclass(name, columns, frozen=True, kw_only=True, namespace={"__module__": __name__})
    return Parameter(name="*")(made)


if TYPE_CHECKING:

    class NodeOptions:
        """Some of the fields of `Config`."""

    class AskOptions(NodeOptions):
        """Fewer of them."""

    class OfferOptions(AskOptions):
        """A few more."""
else:
    NodeOptions = flags("NodeOptions", {each.name for each in fields(Config)} - OBJECTS, data_dir=state_home())
    AskOptions = flags("AskOptions", ASKING, only=BESIDE)
    OfferOptions = flags("OfferOptions", ASKING | OFFERING, only=BESIDE, listen=("/ip4/0.0.0.0/tcp/0",))


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Namespaces:
    """Whose rules hold for which keys."""

    validator: tuple[str, ...] = ()
    """NS=KIND, the rules for keys /NS/...: pk, ipns, signed or signed:DOMAIN, newest, opaque (of two values the larger)."""
    default_validator: Kind | None = None
    """The rules for keys without a namespace, or with an unknown one; without it they are refused."""

    def settings(self) -> dict[str, Any]:
        """The fields of `Config` that say the same. Raises UsageError."""
        default = None if self.default_validator is None else _validator(self.default_validator)
        named = dict(map(_namespace, self.validator))
        if len(named) < len(self.validator):
            raise UsageError(f"--validator {' '.join(self.validator)}: name each namespace once", "validator")
        return {"validators": named, "default_validator": default}


AskNamespaces = Annotated[Namespaces, Parameter(group=Group(f"The rules{BESIDE}", sort_key=2))]
"""Those of a command that asks and leaves."""


def _namespace(text: str) -> tuple[str, p2pkad.Validator]:
    name, equals, said = text.partition("=")
    kind, colon, domain = said.partition(":")
    if kind == "signed" and name and domain:
        return name, p2pkad.SignedRecordValidator(domain=domain)
    if not name or not equals or colon or kind not in get_args(Kind):
        kinds = ", ".join(get_args(Kind))
        raise UsageError(f"--validator {text}: write NS=KIND, with a kind of {kinds}; as demo=opaque", "validator")
    return name, _validator(kind)


def _validator(kind: str) -> p2pkad.Validator:
    match kind:
        case "pk":
            return p2pkad.PublicKeyValidator()
        case "ipns":
            return p2pkad.IpnsValidator()
        case "signed":
            return p2pkad.SignedRecordValidator()
        case "newest":
            return p2pkad.NewestValidator()
        case _:
            return p2pkad.OpaqueValidator()


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Asking:
    """How long to ask, and how to say what was found."""

    timeout: float = DEFAULT_TIMEOUT
    """Seconds for everything."""
    json: bool = False
    """Print JSON, one object a line."""
    data_dir: Directory = None
    """State directory of the node that is asked; without it the one that `p2pkad run` takes by itself. Typed, and without
    --bootstrap, nobody is asked in its stead."""
    config: str | None = None
    """TOML file of options; without it $XDG_CONFIG_HOME/p2pkad/config.toml where there is one."""

    @property
    def state(self) -> str:
        """The directory; empty when none is to be looked into."""
        return state_home() if self.data_dir is None else self.data_dir

    @property
    def named(self) -> bool:
        """Whether it was typed with the command whose node is asked."""
        return isinstance(self.data_dir, TextTypedHere) and bool(self.data_dir)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Logging:
    """What is written to standard error."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important lines to write."""
    log_format: Literal["text", "json"] = "text"
    """text: for people; json: an object a line."""
    config: str | None = None
    """TOML file of options; without it $XDG_CONFIG_HOME/p2pkad/config.toml where there is one."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Watching:
    """Where the node shows itself to those who look after it. Off unless `http` is given."""

    http: str | None = None
    """Serve health and metrics over HTTP at this address: 127.0.0.1:8080; port 0 takes a free one. Without it, nowhere."""
    http_hosts: tuple[str, ...] = ()
    """Names by which --http is asked for, beside localhost and its address. Requests for other names are refused."""
    http_remote: bool = False
    """Let --http be an address that other machines reach. There is no password: whoever reaches it reads all of it."""


def settings(options: NodeOptions) -> dict[str, Any]:
    """The fields of `Config` that flags were made of, with their values."""
    chosen = dict(vars(options))
    if "data_dir" in chosen:
        chosen["data_dir"] = chosen["data_dir"] or None
    return chosen
