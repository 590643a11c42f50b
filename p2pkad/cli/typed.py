"""Whether a value that came as JSON or TOML is one for a field: both know texts, numbers, truth, lists, and nothing else."""

from __future__ import annotations

from sys import float_info
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

KINDS = {str: "text", bool: "true or false", int: "a whole number", float: "a number", NoneType: "nothing"}


def fits(value: object, hint: Any) -> bool:
    """Whether `value` is of the type `hint`. A whole number is a number, true is none; a list is a tuple."""
    match _parts(hint):
        case ("any", parts):
            return any(fits(value, part) for part in parts)
        case ("choice", parts):
            return value in parts
        case ("list", (part,)):
            return isinstance(value, list | tuple) and all(fits(each, part) for each in value)
        case (_, (kind,)):
            if isinstance(value, bool):
                return kind is bool
            if kind is float:
                return isinstance(value, float) or (isinstance(value, int) and abs(value) <= float_info.max)
            return isinstance(value, kind)
        case _:
            raise TypeError(f"no field of a request or a file has the type {hint}")


def described(hint: Any) -> str:
    """What a field takes, for a person."""
    match _parts(hint):
        case ("any", parts):
            return " or ".join(described(part) for part in parts if part is not NoneType)
        case ("choice", parts):
            return "one of " + ", ".join(f'"{part}"' for part in parts)
        case ("list", (part,)):
            return f"a list, each of it {described(part)}"
        case (_, (kind,)):
            return KINDS[kind]
        case _:
            raise TypeError(f"no field of a request or a file has the type {hint}")


def _parts(hint: Any) -> tuple[str, tuple[Any, ...]]:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _parts(arguments[0])
    if origin in (Union, UnionType):
        return "any", arguments
    if origin is Literal:
        return "choice", arguments
    if origin is tuple:
        return "list", arguments[:1]
    return "kind", (hint,) if hint in KINDS else ()
