"""The program `qlc`, for what needs it: its JSON, and its messages as exceptions."""

import json
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import BinaryError


def find(given: str | os.PathLike[str] | None) -> Path:
    """The program: the given one, that of the variable QLC, the one that this wheel brought, or the one in PATH."""
    named = os.fspath(given) if given is not None else os.environ.get("QLC")
    if named:
        return Path(named)
    brought = Path(sysconfig.get_path("scripts"), "qlc")
    if brought.exists():
        return brought
    in_path = shutil.which("qlc")
    if in_path is None:
        raise BinaryError(
            "the program qlc was not found: install a wheel that brings it or a package of it, or name it by"
            " Archive(…, binary=…) or the variable QLC"
        )
    return Path(in_path)


def json_lines(program: Path, arguments: Sequence[str], results: Sequence[int]) -> list[dict[str, Any]]:
    """What a command prints, one JSON object a line. Exit codes that are no results are errors."""
    try:
        ran = subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except OSError as error:
        raise BinaryError(f"{program} cannot be run: {error.strerror or error}") from error
    if ran.returncode not in results:
        said = ran.stderr.strip().removeprefix("qlc: ")
        raise BinaryError(said or f"qlc ended with exit code {ran.returncode}", ran.returncode)
    return [json.loads(line) for line in ran.stdout.splitlines() if line]
