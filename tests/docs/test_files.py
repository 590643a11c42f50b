"""Files on the pages that other programs read: options in TOML, units of systemd, rules of Prometheus."""

from __future__ import annotations

import re
import shlex
from configparser import ConfigParser
from pathlib import Path

import pytest

from p2pkad import Config
from p2pkad.cli import settings_file
from p2pkad.cli.main import make_app
from p2pkad.cli.options import Namespaces, NodeOptions
from p2pkad.ops.catalogue import COUNTED, LOOKED_AT, Described
from tests.support.pages import PAGES, ROOT, Block, blocks

FOR_OTHERS = {"toml", "ini", "yaml"}

METRICS: dict[str, Described] = {each.name: each for each in (*COUNTED, *LOOKED_AT)}

DIRECTIVES = {
    "Unit": "Description Documentation Wants After StartLimitIntervalSec StartLimitBurst",
    "Service": "Type ExecStart DynamicUser StateDirectory StateDirectoryMode Restart RestartSec "
    "TimeoutStopSec LimitNOFILE MemoryMax UMask NoNewPrivileges CapabilityBoundingSet ProtectSystem ProtectHome PrivateTmp "
    "PrivateDevices ProtectClock ProtectHostname ProtectKernelTunables ProtectKernelModules ProtectKernelLogs "
    "ProtectControlGroups ProtectProc RestrictAddressFamilies RestrictNamespaces RestrictRealtime RestrictSUIDSGID "
    "LockPersonality SystemCallArchitectures SystemCallFilter",
    "Install": "WantedBy",
}
"""What systemd.unit(5), systemd.service(5) and systemd.exec(5) have of which the pages make use."""

STARTS, WITHIN = 5, 10
"""What is started so often within so many seconds is not started again: the defaults of systemd-system.conf(5)."""


def of(language: str) -> list[object]:
    found = [(page, block) for page in PAGES for block in blocks(page, language)]
    assert found, f"no page has {language} any more"
    return [pytest.param(page, block, id=f"{page.relative_to(ROOT)}:{block.line}") for page, block in found]


@pytest.mark.parametrize(("page", "block"), of("toml"))
def test_options_in_a_file_are_options(page: Path, block: Block, tmp_path: Path) -> None:
    """Each has the name, the type and the range of one. Stand-ins for addresses are read when the node begins."""
    path = tmp_path / "config.toml"
    path.write_text(block.text)
    options = settings_file.read(path)
    of_the_node = {name: value for name, value in options.items() if name in NodeOptions.__dataclass_fields__}
    Config(**of_the_node)
    Namespaces(validator=tuple(options.get("validator", ()))).settings()


@pytest.mark.parametrize(("page", "block"), of("ini"))
def test_a_unit_starts_a_command_of_this_program(page: Path, block: Block, tmp_path: Path) -> None:
    unit = ConfigParser(interpolation=None, comment_prefixes=("#",), inline_comment_prefixes=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # names as they are written
    unit.read_string(block.text)
    for section in unit.sections():
        assert set(unit[section]) <= set(DIRECTIVES[section].split()), section
    program, *words = shlex.split(unit["Service"]["ExecStart"])
    assert Path(program).is_absolute(), "systemd asks for that"
    (tmp_path / "config.toml").touch()
    command, _, ignored = make_app().parse_args([re.sub(r"^/etc/p2pkad", str(tmp_path), word) for word in words])
    assert (callable(command), ignored) == (True, {})
    assert "RestartPreventExitStatus" not in unit["Service"], "an address that is not there yet after a boot comes"
    assert int(unit["Service"]["RestartSec"]) * STARTS > WITHIN, "systemd does not give up"


@pytest.mark.parametrize(("page", "block"), of("yaml"))
def test_rules_and_scrapes_name_metrics_that_there_are(page: Path, block: Block) -> None:
    assert "\t" not in block.text
    for name, labels in re.findall(r"(p2pkad_\w+)(?:\{([^}]*)\})?", re.sub(r"#.*", "", block.text)):
        metric = METRICS.get(re.sub(r"_(bucket|sum|count)$", "", name))
        assert metric is not None, name
        assert set(re.findall(r"(\w+)\s*[=!]", labels)) <= {*metric.labels, "job", "instance"}, f"{name}{{{labels}}}"
