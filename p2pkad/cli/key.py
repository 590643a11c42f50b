"""`p2pkad key new` and `p2pkad key show`: the file that a node's identity lives in. The private half is never shown."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import p2pkad
from p2pkad.cli import output
from p2pkad.cli.exits import DONE, UsageError
from p2pkad.cli.words import state_home

KEY_FILE = "identity.key"
"""Its name in a state directory."""
OLD = ".old"
"""What is put behind the name of a file that another takes the place of: a lost identity does not come back."""


def new(file: str | None = None, /, *, force: bool = False, data_dir: str | None = None, json: bool = False) -> int:
    """Make a key file, of mode 600, and print its peer id.

    Parameters
    ----------
    file
        The key file; without it the one of the state directory.
    force
        Also where there is one: it is kept beside the new one, with .old behind its name.
    data_dir
        State directory; without it the one that `p2pkad run` takes by itself.
    json
        Print JSON.
    """
    path = _path(file, data_dir)
    if force and path.exists():
        path.replace(path.with_name(path.name + OLD))
    elif path.exists():
        raise UsageError(f"{path}: there is a key already, and whoever loses it loses an identity. --force puts it aside")
    identity = p2pkad.Identity.generate()
    identity.save(path)
    _show(path, identity, json)
    return DONE


def show(file: str | None = None, /, *, data_dir: str | None = None, json: bool = False) -> int:
    """Print the peer id and the public key of a key file.

    Parameters
    ----------
    file
        The key file; without it the one of the state directory.
    data_dir
        State directory; without it the one that `p2pkad run` takes by itself.
    json
        Print JSON.
    """
    path = _path(file, data_dir)
    _show(path, p2pkad.Identity.load(path), json)
    return DONE


def _path(file: str | None, data_dir: str | None) -> Path:
    return Path(data_dir or state_home()) / KEY_FILE if file is None else Path(file)


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
