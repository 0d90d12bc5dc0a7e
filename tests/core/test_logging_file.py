"""The log file that operators grep: one line per record, kept seven days, shared by processes, never in the way."""

import errno
import json
import logging
import logging.config
import os
import re
import stat
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest

from core import correlation, logfile
from core.logfile import DailyFile, DailyFileHandler
from core.logging import file_state, get_logger, logging_config
from julia.embedded.places import PROJECT

PHONE = "5511900001234"
NOON = 1_795_273_200.0  # 2026-11-21 12:00 in Brasília
DAY_S = 86_400.0


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log" / "julia.log"


def grep(pattern: str, text: str, *words: str) -> str:
    """As a person types it: `grep [-E] pattern`."""
    found = subprocess.run(["grep", *words, pattern], input=text, capture_output=True, text=True, check=False)
    return found.stdout


def logged(path: Path, monkeypatch: pytest.MonkeyPatch) -> DailyFileHandler:
    """The root logger's handlers for one test: the file alone, formatted as in production."""
    config = logging_config("json", "INFO", str(path))
    made = logging.config.DictConfigurator(config)
    handler = DailyFileHandler(str(path))
    handler.setFormatter(made.configure_formatter(dict(config["formatters"]["file"])))
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    return handler


# --- the lines


def test_the_runbooks_greps_find_a_failure_with_its_phone_in_one_line(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged(path, monkeypatch)
    log = get_logger("chips.inbox")
    with correlation.use("abc12345"), correlation.bind(phone=PHONE):
        log.info("Webhook received", etapa="webhook")
        log.info("process_message", situacao="processado")
        try:
            raise ValueError("linha um\nlinha dois")
        except ValueError:
            log.exception("Error processing message", etapa="process_message")
        log.warning("Z-API message send failed", etapa="process_message", error="timeout")
        log.info("message sent", etapa="send")
    text = path.read_text()
    assert len(text.splitlines()) == 5
    failed = grep("process_message|webhook", grep("error|failed|exception", text, "-E"), "-E")
    assert len(failed.splitlines()) == 2
    assert len(grep("error|failed", grep(PHONE, text), "-E").splitlines()) == 2
    assert len(grep("Webhook received|process_message|message sent", text, "-E").splitlines()) == 5
    assert len(grep("retry", text).splitlines()) == 0
    assert all("correlation_id=abc12345" in line for line in text.splitlines())
    assert "linha um\\nlinha dois" in text


@pytest.mark.parametrize(
    "said", ["a\nb", "a\r\nlevel=error", "a\u2028b", "a\x85b", "a\x00b", 'a "b" = c', "\ud800", ""]
)
def test_whatever_is_said_is_one_line(said: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged(path, monkeypatch)
    get_logger("t").info("texto", valor=said)
    (line,) = path.read_text(encoding="utf-8", errors="replace").splitlines()
    assert re.match(
        r"timestamp=\S+ level=info logger=t message=texto module=test_logging_file function=\S+ line=\d+ ", line
    )


def test_the_file_keeps_no_credential_and_no_text(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged(path, monkeypatch)
    with correlation.bind():
        correlation.hide("Olá Dra. Ana, tudo bem com a senhora?")
        get_logger("t").error("falhou", url="https://x/?token=segredo123", conteudo="oi", apikey="segredo123",
                              error="não saiu: Olá Dra. Ana, tudo bem com a senhora?")  # fmt: skip
    text = path.read_text()
    assert "segredo123" not in text
    assert "Olá" not in text
    assert "conteudo=[oculto]" in text


def test_the_log_of_a_library_is_a_line_of_the_same_kind(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged(path, monkeypatch)
    logging.getLogger("biblioteca").warning("pedido de %s", PHONE, extra={"tentativas": 3})
    line = path.read_text()
    assert f'message="pedido de {PHONE}"' in line
    assert "tentativas=3" in line


# --- the file


def test_the_file_is_readable_by_its_owner_alone(path: Path, clock: Clock) -> None:
    before = os.umask(0)
    try:
        DailyFile(str(path), clock=clock).write("um\n")
    finally:
        os.umask(before)
    assert path.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_each_day_has_its_file_and_the_link_names_todays(path: Path, clock: Clock) -> None:
    file = DailyFile(str(path), clock=clock)
    file.write("hoje\n")
    clock.now += DAY_S
    file.write("amanhã\n")
    assert path.read_text() == "amanhã\n"
    assert file.dated(date(2026, 11, 21)).read_text() == "hoje\n"


def test_the_day_changes_at_midnight_in_brasilia(path: Path, clock: Clock) -> None:
    file = DailyFile(str(path), clock=clock)
    clock.now = NOON + 12 * 3600 - 1
    file.write("antes\n")
    clock.now += 1
    file.write("depois\n")
    assert file.dated(date(2026, 11, 21)).read_text() == "antes\n"
    assert file.dated(date(2026, 11, 22)).read_text() == "depois\n"


def test_seven_days_are_kept_and_nothing_else_is_touched(path: Path, clock: Clock) -> None:
    file = DailyFile(str(path), clock=clock)
    path.parent.mkdir()
    others = [path.parent / name for name in ("julia.log.2026-01-01.gz", "outro.log.2026-01-01", "julia.log.texto")]
    for each in others:
        each.write_text("x")
    for _ in range(10):
        file.write("linha\n")
        clock.now += DAY_S
    kept = sorted(each.name for each in path.parent.glob("julia.log.2026-1*"))
    last = date(2026, 11, 30)
    assert kept == [f"julia.log.{last - timedelta(days=n)}" for n in range(6, -1, -1)]
    assert all(each.exists() for each in others)


def test_an_ordinary_file_at_the_path_keeps_its_lines(path: Path, clock: Clock) -> None:
    path.parent.mkdir()
    path.write_text("antigo\n")
    os.utime(path, (NOON - DAY_S, NOON - DAY_S))
    file = DailyFile(str(path), clock=clock)
    file.write("novo\n")
    assert path.read_text() == "novo\n"
    assert file.dated(date(2026, 11, 20)).read_text() == "antigo\n"


def test_a_file_that_somebody_removed_is_begun_again(path: Path, clock: Clock) -> None:
    file = DailyFile(str(path), clock=clock)
    file.write("um\n")
    file.dated(date(2026, 11, 21)).unlink()
    clock.now += logfile.LOOK_EVERY_S
    file.write("dois\n")
    assert path.read_text() == "dois\n"


WRITER = """
import sys
from core.logfile import DailyFile
file, name = DailyFile(sys.argv[1]), sys.argv[2]
for n in range(2000):
    file.write(f"{name} {n} " + "x" * 300 + "\\n")
"""


def test_lines_of_several_processes_never_cut_each_other(path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), f"p{n}"], cwd=PROJECT) for n in range(4)]
    assert [each.wait(60) for each in writers] == [0] * 4
    lines = path.read_text().splitlines()
    assert len(lines) == 8000
    assert all(re.fullmatch(r"p[0-3] \d+ x{300}", line) for line in lines)


# --- trouble


def test_a_full_disk_costs_lines_and_is_told_once(path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    file = DailyFile(str(path), clock=clock, on_trouble=told.append)
    file.write("antes\n")
    real = os.write

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    for _ in range(3):
        file.write("perdida\n")
        clock.now += logfile.LOOK_EVERY_S
    state = file.state()
    assert told == ["o disco do arquivo de log está cheio"]
    assert (state.ok, state.error, state.lost) == (False, told[0], 3)
    assert state.since is not None
    monkeypatch.setattr(os, "write", real)
    file.write("depois\n")
    assert path.read_text() == "antes\ndepois\n"
    assert (file.state().ok, file.state().lost, file.state().since) == (True, 3, None)


def test_a_line_that_was_cut_does_not_spoil_the_next(path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    file = DailyFile(str(path), clock=clock)
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:4]))
    file.write("cortada\n")
    monkeypatch.setattr(os, "write", real)
    clock.now += logfile.LOOK_EVERY_S
    file.write("inteira\n")
    assert path.read_text() == "cort\ninteira\n"


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "log").write_text("um arquivo")
    file = DailyFile(str(tmp_path / "log" / "julia.log"), clock=clock)
    file.write("perdida\n")
    assert file.state().error
    assert file.state().lost == 1


def test_a_full_device_is_a_real_one(clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's own ENOSPC, from /dev/full."""
    file = DailyFile(str(tmp_path / "julia.log"), clock=clock)
    monkeypatch.setattr(file, "dated", lambda day: Path("/dev/full"))
    monkeypatch.setattr(logfile.DailyFile, "_point_to", lambda self, day: None)
    monkeypatch.setattr(os, "fchmod", lambda fd, mode: None)
    file.write("perdida\n")
    assert file.state().error == "o disco do arquivo de log está cheio"


def test_logging_goes_on_while_its_file_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "log").write_text("um arquivo")
    handler = logged(tmp_path / "log" / "julia.log", monkeypatch)
    screen = logging.StreamHandler()
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler, screen])
    get_logger("t").info("segue")
    assert "arquivo de log parado" in capsys.readouterr().err
    state = file_state()
    assert state.enabled
    assert not state.ok
    assert "Error" not in state.error


def test_without_a_file_there_is_nothing_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    state = file_state()
    assert (state.enabled, state.ok, state.path) == (False, True, "")


def test_a_quiet_terminal_does_not_make_the_file_quiet() -> None:
    config = logging_config("console", "WARNING", "/tmp/x.log")
    assert (config["root"]["level"], config["handlers"]["out"]["level"]) == (logging.INFO, "WARNING")
    assert config["handlers"]["file"]["level"] == "INFO"
    assert logging_config("console", "WARNING")["root"]["level"] == logging.WARNING


def test_the_tests_write_no_file() -> None:
    assert json.dumps(file_state().path) == '""'


def test_what_is_for_the_file_alone_is_not_said_twice(path: Path) -> None:
    program = """
import sys
from core.logging import FILE_ONLY, configure_logging, get_logger, logging_config
configure_logging(logging_config("console", "INFO", sys.argv[1]))
get_logger(FILE_ONLY).info("Hora atual: 12/03/2026 09:00:00")
get_logger("t").info("dos dois")
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    (line,) = grep("Hora atual", path.read_text()).splitlines()
    assert "function=<module>" in line
    assert "Hora atual" not in done.stderr
    assert "dos dois" in done.stderr
    assert "dos dois" in path.read_text()
