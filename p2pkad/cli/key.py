"""`p2pkad key new` and `p2pkad key show`: the file that a node's identity lives in. The private half is never shown."""

from __future__ import annotations

from base64 import b64encode
from itertools import count
from pathlib import Path

import p2pkad
from p2pkad.cli import output
from p2pkad.cli.exits import DONE, UsageError
from p2pkad.cli.options import Directory, TextTypedHere
from p2pkad.cli.words import state_home

KEY_FILE = "identity.key"
"""Its name in a state directory."""
OLD = ".old"
"""What is put behind the name of a file that another takes the place of: a lost identity does not come back."""


def new(file: str | None = None, /, *, force: bool = False, data_dir: Directory = None, json: bool = False) -> int:
    """Make a key file, of mode 600, and print its peer id.

    Parameters
    ----------
    file
        The key file; without it the one of the state directory.
    force
        Also where there is one: it is kept beside the new one, with .old (.old.1 and so on) behind its name.
    data_dir
        State directory of the key, in place of a file; without it the one that `p2pkad run` takes by itself.
    json
        Print JSON.
    """
    path = _path(file, data_dir)
    identity = p2pkad.Identity.generate()
    try:
        if not path.exists():
            identity.save(path)
        elif not path.is_file():
            raise UsageError(f"{path}: this is no file. Name the key file itself")
        elif force:
            _take_its_place(path, identity)
            _warn_of_databases(path)
        else:
            raise UsageError(f"{path}: there is a key already, and whoever loses it loses an identity. --force puts it aside")
    except OSError as error:
        raise p2pkad.ConfigError(f"{path}: {error.strerror or error}; nothing was changed") from error
    _show(path, identity, json)
    return DONE


def show(file: str | None = None, /, *, data_dir: Directory = None, json: bool = False) -> int:
    """Print the peer id and the public key of a key file.

    Parameters
    ----------
    file
        The key file; without it the one of the state directory.
    data_dir
        State directory of the key, in place of a file; without it the one that `p2pkad run` takes by itself.
    json
        Print JSON.
    """
    path = _path(file, data_dir)
    _show(path, p2pkad.Identity.load(path), json)
    return DONE


def _take_its_place(path: Path, identity: p2pkad.Identity) -> None:
    """The new key stands beside the old one before that gets another name, which no file has: at no moment there is none."""
    fresh = path.with_name(f"{path.name}.new")
    identity.save(fresh)
    try:
        _put_aside(path)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _warn_of_databases(path: Path) -> None:
    if databases := sorted(each.name for each in path.parent.glob("*.db")):
        output.remark(
            f"p2pkad: {', '.join(databases)} beside it: of the node with the old key. With the new one it does not start: "
            "move them away, or give the old key its name back"
        )


def _put_aside(path: Path) -> None:
    for number in count():
        try:
            path.with_name(path.name + OLD + (f".{number}" if number else "")).hardlink_to(path)
        except FileExistsError:
            continue
        return


def _path(file: str | None, data_dir: str | None) -> Path:
    if file is None:
        if data_dir == "":
            raise UsageError("data_dir='': names no state directory; name one, or the key file itself", "data_dir")
        return Path(state_home() if data_dir is None else data_dir) / KEY_FILE
    if not file:
        raise UsageError("no key file is named")
    if isinstance(data_dir, TextTypedHere):
        raise UsageError(f"{file} and --data-dir {data_dir}: name the key file or its state directory, and not both")
    return Path(file)


def _show(path: Path, identity: p2pkad.Identity, json: bool) -> None:
    # The public key as go's tools write it: the marshalled key in base64.
    told = {
        "id": str(identity.id),
        "public_key": b64encode(identity.public_key.to_protobuf()).decode(),
        "file": str(path.absolute()),
    }
    if json:
        output.record(told)
    else:
        for name, value in told.items():
            output.line(f"{name:<11} {value}")
