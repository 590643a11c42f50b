"""Key files: made once, shown without what is secret."""

from __future__ import annotations

import base64
import stat

import pytest

import p2pkad
from p2pkad.cli import exits


def test_a_new_key_is_in_the_state_directory_and_belongs_to_its_owner(type_in, tmp_path):
    made = type_in("key", "new", "--json").objects[0]
    path = tmp_path / "state" / "identity.key"
    assert made["file"] == str(path)
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)
    assert made["id"] == str(p2pkad.Identity.load(path).id)
    assert type_in("key", "show", "--json").objects == [made]


def test_the_public_key_is_shown_and_the_private_one_is_not(type_in, tmp_path):
    path = tmp_path / "a.key"
    made = type_in("key", "new", str(path))
    identity = p2pkad.Identity.load(path)
    private = identity.key_pair.private_key.to_bytes()
    shown = type_in("key", "show", str(path)).out
    assert str(identity.id) in shown
    assert base64.b64encode(identity.public_key.to_protobuf()).decode() in shown
    for text in (made.out, shown):
        assert private.hex() not in text
        assert base64.b64encode(private).decode()[:20] not in text


def test_a_key_that_is_there_is_kept(type_in, tmp_path):
    path = tmp_path / "a.key"
    first = type_in("key", "new", str(path), "--json").objects[0]["id"]
    again = type_in("key", "new", str(path))
    assert (again.code, again.err.count("\n"), "--force" in again.err) == (exits.USAGE, 1, True)
    second = type_in("key", "new", str(path), "--force", "--json").objects[0]["id"]
    assert str(p2pkad.Identity.load(path).id) == second != first
    assert str(p2pkad.Identity.load(tmp_path / "a.key.old").id) == first
    assert type_in("key", "new", str(path), "--force").code == exits.DONE
    assert str(p2pkad.Identity.load(tmp_path / "a.key.old").id) == first
    assert str(p2pkad.Identity.load(tmp_path / "a.key.old.1").id) == second
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.key", "a.key.old", "a.key.old.1"]


def test_who_changes_the_key_of_a_state_directory_hears_that_what_is_kept_there_has_the_old_one(type_in, tmp_path):
    first = type_in("key", "new", "--data-dir", str(tmp_path))
    (tmp_path / "p2pkad-kad-1.0.0.db").touch()
    again = type_in("key", "new", "--data-dir", str(tmp_path), "--force")
    assert (first.err, again.code, "p2pkad-kad-1.0.0.db" in again.err) == ("", exits.DONE, True)


@pytest.mark.parametrize("command", ["new", "show"])
def test_a_file_and_a_state_directory_are_not_named_together(type_in, tmp_path, command):
    path = tmp_path / "a.key"
    ended = type_in("key", command, str(path), "--data-dir", str(tmp_path))
    refusal = f"p2pkad: {path} and --data-dir {tmp_path}: name the key file or its state directory, and not both\n"
    assert (ended.code, ended.err, list(tmp_path.iterdir())) == (exits.USAGE, refusal, [])
    made = type_in("key", "new", str(path), "--json").objects[0]["file"]  # P2PKAD_DATA_DIR is for where none is named
    assert made == str(path)


def test_only_a_file_is_put_aside(type_in, tmp_path):
    for words in ([str(tmp_path), "--force"], [str(tmp_path)], [""], ["--data-dir", ""]):
        ended = type_in("key", "new", *words)
        assert (ended.code, " no " in ended.err, "--force" in ended.err) == (exits.USAGE, True, False)
    assert list(tmp_path.iterdir()) == []


def test_the_old_key_stays_where_the_new_one_cannot_be_written(type_in, tmp_path, monkeypatch):
    path = tmp_path / "a.key"
    first = type_in("key", "new", str(path), "--json").objects[0]["id"]

    def full(self: p2pkad.Identity, path: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(p2pkad.Identity, "save", full)
    ended = type_in("key", "new", str(path), "--force")
    assert (ended.code, "No space left" in ended.err) == (exits.USAGE, True)
    assert str(p2pkad.Identity.load(path).id) == first


def test_a_key_that_is_not_there_is_named(type_in, tmp_path):
    ended = type_in("key", "show", str(tmp_path / "none"))
    assert (ended.code, ended.err.count("\n"), "none" in ended.err) == (exits.USAGE, 1, True)
    assert type_in("key").out == type_in("key", "--help").out


def test_who_named_no_state_directory_hears_where_that_was_said(type_in, monkeypatch):
    monkeypatch.setenv("P2PKAD_DATA_DIR", "")
    ended = type_in("key", "new")
    assert (ended.code, "P2PKAD_DATA_DIR" in ended.err) == (exits.USAGE, True)
