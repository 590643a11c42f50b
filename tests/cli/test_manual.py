"""The manual page, the page in docs, and what shells complete: made of the definitions of the commands."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from p2pkad.cli.main import COMMANDS
from tests.support.running import ROOT


def test_the_page_in_docs_is_what_the_commands_say(type_in):
    assert type_in("man", "--format", "markdown").out == (ROOT / "docs" / "cli.md").read_text()


def test_a_command_with_a_default_of_its_own_says_so(type_in):
    page = type_in("man", "--format", "markdown").out
    chapters = dict(chapter.split("\n", 1) for chapter in page.split("\n## ")[1:])
    assert "[default: /ip4/0.0.0.0/tcp/0]" in chapters["p2pkad provide"]
    assert "[default: /ip4/0.0.0.0/tcp/4001]" in chapters["Options of a node"]
    assert "`--listen`" in chapters["p2pkad run"]


@pytest.mark.skipif(shutil.which("groff") is None, reason="takes groff")
def test_the_manual_page_renders_without_a_complaint(type_in, tmp_path):
    page = tmp_path / "p2pkad.1"
    page.write_text(type_in("man").out)
    rendered = subprocess.run(
        ["groff", "-man", "-Tascii", "-ww", "-P-c", "-P-b", "-P-u", page], capture_output=True, text=True, check=True
    )
    assert rendered.stderr == ""
    text = " ".join(rendered.stdout.split())
    for command in COMMANDS:
        assert f"p2pkad {command.name}" in text
    assert "--bootstrap" in text
    assert "P2PKAD_DIAL_TIMEOUT" in text


def completed(script: Path, *words: str) -> set[str]:
    """What bash offers for the last of these words."""
    program = (
        f"source {script}\n"
        'COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))\n'
        "eval \"$(complete -p p2pkad | sed 's/.*-F \\([^ ]*\\).*/\\1/') p2pkad\"\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    ran = subprocess.run(["bash", "-c", program, "bash", *words], capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    return {line.strip() for line in ran.stdout.splitlines()}


def test_bash_completes_commands_options_and_choices(type_in, tmp_path):
    script = tmp_path / "p2pkad.bash"
    script.write_text(type_in("completion", "bash").out)
    assert {"findprovs", "findpeer"} <= completed(script, "p2pkad", "find")
    assert {"new", "show"} <= completed(script, "p2pkad", "key", "")
    assert "--bootstrap" in completed(script, "p2pkad", "get", "--boot")
    assert {"server", "client"} <= completed(script, "p2pkad", "run", "--mode", "")


@pytest.mark.parametrize(("shell", "words"), [("zsh", "#compdef p2pkad"), ("fish", "complete -c p2pkad")])
def test_other_shells_have_scripts_with_every_command(type_in, shell, words):
    script = type_in("completion", shell).out
    assert words in script
    assert [each.name for each in COMMANDS if each.name.split()[-1] not in script] == []
