"""What the checks of this folder share: a program is run, and what does not hold ends them."""

import os
import shlex
import subprocess


class Wrong(Exception):
    """Something that does not hold."""


def check(holds, message):
    if not holds:
        raise Wrong(message)


def run(*command, code=0, env=None, cwd=None):
    """Runs a program; anything but the expected exit code is wrong. Returns what it said."""
    ran = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, cwd=cwd, env=os.environ | (env or {})
    )
    said = ran.stdout + ran.stderr
    check(ran.returncode == code, f"{shlex.join(map(str, command))}\nended with {ran.returncode} instead of {code}\n{said}")
    return said
