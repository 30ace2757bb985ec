"""Builds the wheel around a program that is already built.

`QLC_BINARY` names the program; the wheel then has the tag of the platform and of the glibc that the program needs, and
puts `qlc` in PATH. `QLC_BINARY=none` makes a wheel of the module alone. Only wheels are built: a source distribution
could not bring the program.
"""

import os
import platform
import re
import tomllib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

_CARGO = Path(__file__).resolve().parent.parent.parent / "Cargo.toml"


class CustomMetadataHook(MetadataHookInterface):
    """The version of the module is that of the program, so that one number tells what belongs together."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Takes the version and the places of the project from Cargo.toml."""
        package = tomllib.loads(_CARGO.read_text())["package"]
        metadata["version"] = package["version"]
        places = ("homepage", "repository", "documentation")
        metadata["urls"] = {place.capitalize(): package[place] for place in places if place in package}


class CustomBuildHook(BuildHookInterface[Any]):
    """Puts the program into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Adds the program and the tag of its platform."""
        named = os.environ.get("QLC_BINARY", "")
        if version == "editable" or named == "none":
            return
        if not named:
            message = "name the program in QLC_BINARY (cargo build --release makes target/release/qlc), or set it to none"
            raise ValueError(message)
        program = Path(named).resolve()
        if program.name != "qlc":
            message = f"{program} must be called qlc: that is its name in PATH"
            raise ValueError(message)
        build_data["shared_scripts"] = {str(program): "qlc"}
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_platform(program.read_bytes())}"


def _platform(program: bytes) -> str:
    """The tag of the oldest system that runs the program: its names of glibc's versions tell."""
    if not program.startswith(b"\x7fELF"):
        message = "QLC_BINARY is no program for Linux"
        raise ValueError(message)
    needed = [tuple(map(int, found)) for found in re.findall(rb"GLIBC_(\d+)\.(\d+)\0", program)]
    major, minor = max(needed, default=(2, 17))
    return f"manylinux_{major}_{minor}_{platform.machine()}"
