"""Running the command as users do, on the server of this test session."""

import json
import os
import subprocess
import sys
from typing import Any

from julia.embedded.places import PROJECT

WITHIN_S = 240


def drill(*words: str, **env: str) -> tuple[int, dict[str, Any]]:
    """Exit code and report of one drill."""
    done = run(*words, "--json", **env)
    lines = done.stdout.strip().splitlines()
    assert lines, done.stderr
    report: dict[str, Any] = json.loads(lines[-1])
    return done.returncode, report


def run(*words: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "manage.py", "exercicio", *words],
        cwd=PROJECT,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )


def broken(report: dict[str, Any]) -> set[str]:
    return {name for name, holds in report["invariantes"].items() if not holds}
