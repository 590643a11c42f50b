"""The generated code is what the sources say."""

import subprocess
import sys
import tomllib
import warnings
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "protos").glob("*.proto"))
GENERATED = ROOT / "p2pkad" / "wire" / "pb"


def pinned_version() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (requirement,) = project["optional-dependencies"]["protos"]
    return requirement.removeprefix("grpcio-tools==")


def installed_version() -> str | None:
    try:
        return metadata.version("grpcio-tools")
    except metadata.PackageNotFoundError:
        return None


def test_every_source_has_its_code_and_no_code_is_without_a_source():
    expected = {f"{source.stem}_pb2{ending}" for source in SOURCES for ending in (".py", ".pyi")}
    assert expected
    assert {path.name for path in GENERATED.glob("*_pb2*")} == expected


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_the_generated_code_is_what_its_source_says(source, tmp_path):
    if installed_version() != pinned_version():
        reason = f"grpcio-tools {pinned_version()} is not installed: nobody checked that {source.name} and its code agree"
        warnings.warn(reason, stacklevel=1)
        pytest.skip(reason)
    # As `make protos`.
    out = [f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    compiler = [sys.executable, "-m", "grpc_tools.protoc", "-Ip2pkad/wire/pb=protos"]
    subprocess.run([*compiler, *out, f"p2pkad/wire/pb/{source.name}"], cwd=ROOT, check=True, timeout=60)
    for ending in (".py", ".pyi"):
        name = f"{source.stem}_pb2{ending}"
        assert (GENERATED / name).read_text() == (tmp_path / "p2pkad" / "wire" / "pb" / name).read_text(), "run `make protos`"
