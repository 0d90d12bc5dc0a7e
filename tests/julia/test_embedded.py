"""Real servers in directories of their own; none of them is the one that the test session uses."""

import importlib.machinery
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured

from julia import bootstrap, embedded
from julia.embedded import binaries, postmaster
from julia.embedded.cluster import SETTINGS, Cluster
from julia.embedded.errors import EmbeddedPostgresError
from julia.embedded.places import PROJECT, make_private, places_in

MakeCluster = Callable[..., Cluster]

USER_PROCESS = """
import sys
from pathlib import Path
from julia.embedded import postmaster
from julia.embedded.cluster import Cluster
from julia.embedded.places import places_in

cluster = Cluster(places_in(Path(sys.argv[1])), disposable=True)
use = cluster.use()
print(postmaster.living(cluster.at.data), flush=True)
sys.stdin.readline()
print(use.release(), flush=True)
"""


def _make_room() -> Path:
    """Not `tmp_path`: as root the server runs as another account, which must be able to get there."""
    room = Path(tempfile.mkdtemp(prefix="julia-test-", dir="/tmp"))
    room.chmod(0o755)
    return room


@pytest.fixture
def room() -> Iterator[Path]:
    room = _make_room()
    yield room
    shutil.rmtree(room)


@pytest.fixture(scope="module")
def shared_room() -> Iterator[Path]:
    room = _make_room()
    yield room
    shutil.rmtree(room)


@pytest.fixture
def cluster(shared_room: Path) -> Iterator[Cluster]:
    """Not running. Its data are those of the tests before (making them anew is what takes long)."""
    cluster = Cluster(places_in(shared_room / "shared"), disposable=True)
    yield cluster
    cluster.stop()


@pytest.fixture
def make_cluster(room: Path) -> Iterator[MakeCluster]:
    """Without data at first."""
    with ExitStack() as stack:

        def make(name: str = "one", *, disposable: bool = True) -> Cluster:
            cluster = Cluster(places_in(room / name), disposable=disposable)
            stack.callback(shutil.rmtree, cluster.at.sockets, ignore_errors=True)
            stack.callback(cluster.stop)
            return cluster

        yield make


def ask(cluster: Cluster, statement: str) -> object:
    with psycopg.connect(cluster.url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        row = cursor.fetchone() if cursor.description else None
    return row[0] if row else None


def postmaster_of(cluster: Cluster) -> int:
    pid = postmaster.living(cluster.at.data)
    assert pid is not None
    return pid


def user_process(cluster: Cluster) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", USER_PROCESS, str(cluster.at.home)],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate("\n", timeout=60)
    assert process.returncode == 0
    return said.strip()


def test_a_new_server_speaks_utf8_keeps_utc_and_has_no_tcp_port(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    assert cluster.start()
    assert ask(cluster, "SHOW server_encoding") == "UTF8"
    assert ask(cluster, "SHOW timezone") == "UTC"
    assert ask(cluster, "SHOW listen_addresses") == ""
    assert ask(cluster, "SELECT lower('AÇÃO')") == "ação"


@pytest.mark.parametrize("name", ["with space", "ação 'x'", "long/" * 30 + "path"])
def test_any_path_of_the_clone_will_do(make_cluster: MakeCluster, name: str) -> None:
    cluster = make_cluster(name)
    cluster.start()
    assert ask(cluster, "SHOW data_directory") == str(cluster.at.data)


def test_data_and_socket_are_closed_to_other_accounts(make_cluster: MakeCluster) -> None:
    cluster = make_cluster("with space")
    cluster.start()
    for directory in (cluster.at.data, cluster.at.sockets):
        found = directory.stat()
        assert (found.st_mode & 0o777, found.st_uid) == (0o700, cluster.at.owner)


def test_a_socket_directory_that_is_a_link_is_refused(make_cluster: MakeCluster, room: Path) -> None:
    cluster = make_cluster()
    (room / "elsewhere").mkdir()
    (room / "link").symlink_to(room / "elsewhere")
    with pytest.raises(EmbeddedPostgresError, match="belongs to somebody else"):
        make_private(room / "link", cluster.at)


def test_two_clones_do_not_disturb_each_other(make_cluster: MakeCluster) -> None:
    one, other = make_cluster("one"), make_cluster("other")
    one.start()
    other.start()
    ask(one, "CREATE TABLE only_here ()")
    assert ask(other, "SELECT to_regclass('only_here')") is None
    one.stop()
    assert ask(other, "SELECT 1") == 1


def test_a_live_server_is_attached_to(cluster: Cluster) -> None:
    assert cluster.start()
    pid = postmaster_of(cluster)
    assert not cluster.start()
    assert postmaster_of(cluster) == pid


def test_processes_starting_at_once_share_one_server(cluster: Cluster) -> None:
    processes = [user_process(cluster) for _ in range(3)]
    pids = {process.stdout.readline() for process in processes if process.stdout}
    assert pids == {f"{postmaster_of(cluster)}\n"}
    for process in processes:
        end(process)


def test_the_last_user_stops_the_server(cluster: Cluster) -> None:
    first = cluster.use()
    second = user_process(cluster)
    assert first is not None
    assert second.stdout is not None
    second.stdout.readline()
    assert not first.release()
    assert cluster.is_running()
    assert end(second) == "True"
    assert not cluster.is_running()


def test_a_user_that_was_killed_does_not_count(cluster: Cluster) -> None:
    with user_process(cluster) as killed:
        assert killed.stdout is not None
        killed.stdout.readline()
        use = cluster.use()
        killed.kill()
    assert use is not None
    assert use.release()


def test_an_explicit_start_outlives_its_users(cluster: Cluster) -> None:
    cluster.start()
    use = cluster.use()
    assert use is not None
    assert not use.release()
    assert cluster.is_running()
    assert cluster.stop()
    assert not cluster.is_running()


def test_test_sessions_do_not_share_a_server(cluster: Cluster) -> None:
    use = cluster.use(exclusive=True)
    assert use is not None
    assert cluster.use(exclusive=True) is None
    use.release()


def test_committed_rows_survive_a_crash(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(disposable=False)
    cluster.start()
    ask(cluster, "CREATE TABLE kept AS SELECT 7 AS n")
    os.kill(postmaster_of(cluster), signal.SIGKILL)
    assert cluster.start()
    assert ask(cluster, "SELECT n FROM kept") == 7


def test_a_stale_pid_file_that_names_a_living_process_does_not_block(cluster: Cluster) -> None:
    cluster.start()
    cluster.stop()
    lines = [str(os.getpid()), str(cluster.at.data), "1", "5432", str(cluster.at.sockets), "", "1 1", "ready"]
    (cluster.at.data / "postmaster.pid").write_text("\n".join(lines))
    assert cluster.start()
    assert ask(cluster, "SELECT 1") == 1


def test_a_copied_clone_does_not_take_the_original_for_its_own(make_cluster: MakeCluster) -> None:
    original, copy = make_cluster("original"), make_cluster("copy")
    original.start()
    copy.at.home.mkdir()
    shutil.copytree(original.at.data, copy.at.data, ignore=shutil.ignore_patterns("pg_wal"))
    assert not copy.is_running()
    assert not copy.stop()
    assert original.is_running()


def test_an_interrupted_initdb_does_not_block(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    for name in ("initdb.tmp", "data"):
        (cluster.at.home / name / "base").mkdir(parents=True)
    assert cluster.start()
    assert not (cluster.at.home / "initdb.tmp").exists()


def test_a_server_whose_socket_was_cleaned_away_is_started_again(make_cluster: MakeCluster) -> None:
    cluster = make_cluster("with space")
    cluster.start()
    before = postmaster_of(cluster)
    shutil.rmtree(cluster.at.sockets)
    assert cluster.start()
    assert postmaster_of(cluster) != before


def test_data_of_another_version_are_kept_unless_disposable(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(disposable=False)
    cluster.start()
    cluster.stop()
    (cluster.at.data / "PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedPostgresError, match=r"made by PostgreSQL 16.*pg_dump"):
        cluster.start()
    assert make_cluster(disposable=True).start()


def test_a_start_that_fails_says_what_the_server_said(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SETTINGS, "max_connections", "x")
    with pytest.raises(EmbeddedPostgresError, match='invalid value for parameter "max_connections"'):
        cluster.start()


def test_a_missing_wheel_says_what_to_do(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EmbeddedPostgresError, match="make setup"):
        cluster.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another account")
def test_binaries_that_the_account_cannot_reach_are_copied(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = binaries._package()
    closed = room / "closed"
    closed.mkdir(mode=0o700)
    for tree in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(tree, closed / tree.name, ignore=shutil.ignore_patterns("pginstall", "include"))
    spec = importlib.machinery.ModuleSpec(package.name, None, is_package=True)
    spec.submodule_search_locations = [str(closed / package.name)]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    monkeypatch.setattr(binaries, "ROOT_HOME", room / "copies")
    account = places_in(room).account
    assert account is not None
    install = binaries.locate(account)
    assert install.is_relative_to(room / "copies")
    assert binaries._runs(install, account)


class TestBootstrap:
    @pytest.fixture(autouse=True)
    def _no_env_file(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(bootstrap, "PROJECT", tmp_path)

    def test_a_given_database_starts_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bootstrap, "cluster", lambda: pytest.fail("a server was looked for"))
        monkeypatch.setenv("DATABASE_URL", "postgresql://db.invalid/julia")
        monkeypatch.setenv("APP_ENV", "dev")
        assert bootstrap.prepare(["migrate"]) is None
        assert os.environ["DATABASE_URL"] == "postgresql://db.invalid/julia"

    def test_a_given_database_needs_app_env(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATABASE_URL", "postgresql://db.invalid/julia")
        monkeypatch.delenv("APP_ENV")
        with pytest.raises(ImproperlyConfigured, match="APP_ENV"):
            bootstrap.prepare(["migrate"])

    def test_without_a_database_the_private_server_runs_in_dev(
        self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bootstrap, "cluster", lambda: cluster)
        monkeypatch.setenv("DATABASE_URL", "")
        monkeypatch.setenv("APP_ENV", "")
        use = bootstrap.prepare(["migrate"])
        assert use is not None
        assert (os.environ["DATABASE_URL"], os.environ["APP_ENV"]) == (cluster.url, "dev")
        assert use.release()

    def test_a_command_without_database_starts_no_server(
        self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bootstrap, "cluster", lambda: cluster)
        monkeypatch.setenv("DATABASE_URL", "")
        assert bootstrap.prepare(["collectstatic", "--noinput"]) is None
        assert not cluster.is_running()


def test_only_the_private_servers_of_this_clone_are_embedded() -> None:
    assert embedded.is_embedded(embedded.cluster().url)
    assert not embedded.is_embedded("postgresql://julia@db.invalid/julia")
    assert not embedded.is_embedded(embedded.cluster(project=Path("/another clone")).url)
