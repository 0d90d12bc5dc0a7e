"""The demonstration's data and its campaign; the processes are in test_servir."""

from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django_q.models import OrmQ

from chips.models import Chip
from chips.simulator.client import SimulatorProcess
from core import flags
from core.clientes.models import Cliente, Importacao, ImportacaoRejeitada
from core.flags.services import set_setting
from core.rights import Right, has_right
from fila.campanhas.jobs import processar_campanhas_agendadas
from fila.campanhas.models import Campanha
from fila.campanhas.status import summary
from fila.choices import CampanhaStatus
from fila.conversas import opt_out
from fila.models import Mensagem
from guardrails.models import DoctorState
from julia.demo import campaign, data, fleet, guard, show
from julia.demo.guard import DemoRefused
from julia.demo.people import LOGINS, PASSWORD
from julia.demo.show import Show, counted

NOW = datetime(2026, 3, 1, 3, 30, tzinfo=UTC)  # a Sunday, half past midnight in Brasília
API = "http://127.0.0.1:8000"


@pytest.fixture
def private(monkeypatch: pytest.MonkeyPatch, db: None) -> None:
    """The suite may run on any server: this one counts as the private one."""
    monkeypatch.setattr(guard, "is_embedded", lambda url: True)
    flags.forget()


@pytest.fixture
def demo(private: None) -> None:
    data.load(NOW)


def started(now: datetime) -> Campanha:
    """The next campaign, as the cluster starts it."""
    campanha = campaign.schedule_next(now)
    processar_campanhas_agendadas(now + timedelta(seconds=2))
    campanha.refresh_from_db()
    return campanha


def all_sent(campanha: Campanha, now: datetime) -> None:
    """What a finished campaign leaves behind in people's state."""
    people = list(Mensagem.objects.filter(campanha=campanha).values_list("cliente_id", flat=True))
    Mensagem.objects.filter(campanha=campanha).update(status="enviada")
    DoctorState.objects.filter(cliente__in=people).update(
        last_outbound_at=now, last_touch_at=now, last_touch_campaign_id=campanha.pk
    )
    Campanha.objects.filter(pk=campanha.pk).update(status=CampanhaStatus.CONCLUIDA)


def test_it_is_refused_outside_the_private_database(monkeypatch: pytest.MonkeyPatch, db: None) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://julia@db.example/julia")
    with pytest.raises(CommandError, match="só existe no banco embutido"):
        call_command("carregar_demo")
    with pytest.raises(CommandError, match="só existe no banco embutido"):
        call_command("servir", "--papel", "tudo", "--demo")
    assert not Cliente.objects.exists()
    assert not User.objects.exists()


def test_it_is_refused_in_production(monkeypatch: pytest.MonkeyPatch, private: None) -> None:
    monkeypatch.setattr(settings, "PRODUCTION", True)
    with pytest.raises(DemoRefused, match="APP_ENV=production"):
        data.load(NOW)
    assert not User.objects.exists()


def test_loading_twice_doubles_nothing(private: None, capsys: pytest.CaptureFixture[str]) -> None:
    counts = []
    for _ in range(2):
        call_command("carregar_demo")
        models = (Cliente, Chip, User, Importacao)
        counts.append([model._default_manager.count() for model in models])
    assert counts[0] == counts[1]
    assert counts[0][1:] == [5, 4, 1]
    assert f"{counts[0][0]} médicos" in capsys.readouterr().out


def test_the_doctors_come_through_the_real_import_with_its_rejected_rows(demo: None) -> None:
    report = Importacao.objects.get()
    assert report.linhas >= 299
    assert report.rejeitados > 0
    assert ImportacaoRejeitada.objects.filter(importacao=report).count() == report.rejeitados
    assert Cliente.objects.count() == report.novos > 280


def test_each_login_has_the_rights_of_its_role_and_no_more(demo: None) -> None:
    by_name = {name: User.objects.get(username=name) for name in LOGINS}
    assert all(user.is_staff and user.check_password(PASSWORD) for user in by_name.values())
    assert not any(user.is_superuser for user in by_name.values())
    may_bypass = {name for name, user in by_name.items() if has_right(user, Right.BYPASS)}
    may_start = {name for name, user in by_name.items() if has_right(user, Right.CAMPANHA_INICIAR)}
    assert may_bypass == {"demo", "supervisao"}
    assert may_start == {"demo", "supervisao", "operacao"}
    assert has_right(by_name["leitura"], Right.VER)


def test_what_an_operator_changed_stays_at_the_next_start(demo: None) -> None:
    set_setting("pacing_s", {"min": 20, "max": 30}, actor="demo", motivo="mais devagar, por favor", now=NOW)
    data.load(NOW)
    flags.forget()
    assert flags.get(flags.PACING_S) == {"min": 20, "max": 30}


def test_the_campaign_starts_in_the_middle_of_a_sunday_night_and_ends_in_two_minutes(demo: None) -> None:
    campanha = started(NOW)
    assert campanha.status == CampanhaStatus.ATIVA
    assert summary(campanha.pk)["enfileiradas"] == campaign.RECIPIENTS
    assert campanha.termina_em is not None
    assert timedelta(seconds=60) < campanha.termina_em - NOW < timedelta(seconds=120)


def test_there_are_always_enough_people_for_another_campaign(demo: None) -> None:
    texts = set()
    for run in range(8):
        now = NOW + timedelta(minutes=10 * run)
        campanha = started(now)
        texts.add(campanha.corpo)
        assert summary(campanha.pk)["enfileiradas"] == campaign.RECIPIENTS, run
        all_sent(campanha, now)
    assert len(texts) == 8


def test_who_asked_to_leave_is_in_no_later_campaign(demo: None) -> None:
    campanha = started(NOW)
    gone = Mensagem.objects.filter(campanha=campanha).values_list("cliente_id", flat=True)[0]
    opt_out.opt_out(gone, origem="mensagem", motivo="pediu para sair", actor="julia", now=NOW)
    all_sent(campanha, NOW)
    for run in range(1, 6):
        now = NOW + timedelta(minutes=10 * run)
        later = started(now)
        assert not Mensagem.objects.filter(campanha=later, cliente_id=gone).exists()
        all_sent(later, now)


def test_an_interrupted_campaign_goes_on_instead_of_a_new_one(demo: None) -> None:
    scheduled = show.begin(NOW)
    assert show.begin(NOW) == scheduled
    processar_campanhas_agendadas(NOW + timedelta(seconds=2))
    assert show.begin(NOW + timedelta(minutes=1)) == scheduled

    all_sent(Campanha.objects.get(pk=scheduled), NOW)

    assert show.begin(NOW + timedelta(minutes=5)) != scheduled


def test_each_start_gives_the_cluster_a_tick(demo: None) -> None:
    show.begin(NOW)
    (task,) = OrmQ.objects.filter(key="critico")
    assert task.func() == "core.jobs.admin.run_manual"


def test_who_will_leave_has_another_message_waiting_that_never_goes(demo: None) -> None:
    said: list[str] = []
    campanha = started(NOW)
    watching = Show(campanha.pk, said.append, now=NOW)
    watching.look(NOW)
    assert len(watching.leaving) == 2

    person = Cliente.objects.get(telefone=watching.leaving[0])
    waiting = Mensagem.objects.get(cliente=person, tipo="lembrete")
    assert waiting.status == "pendente"
    opt_out.opt_out(person.pk, origem="mensagem", motivo="pediu para sair", actor="julia", now=NOW)
    watching.look(NOW + timedelta(seconds=1))

    waiting.refresh_from_db()
    assert (waiting.status, waiting.outcome) == ("bloqueada", "BLOCKED_OPTED_OUT")
    assert person.telefone not in watching.leaving
    assert any("pediu para sair" in line for line in said)


def test_progress_is_told_when_something_begins_and_then_every_ten_seconds(demo: None) -> None:
    said: list[str] = []
    campanha = campaign.schedule_next(NOW)
    watching = Show(campanha.pk, said.append, now=NOW)
    watching.look(NOW)
    assert "agendada para agora" in said[-1]
    processar_campanhas_agendadas(NOW + timedelta(seconds=2))
    watching.look(NOW + timedelta(seconds=2))
    assert f"0 de {campaign.RECIPIENTS} enviadas" in said[-1]
    before = len(said)
    watching.look(NOW + timedelta(seconds=3))
    assert len(said) == before

    all_sent(campanha, NOW)
    watching.look(NOW + timedelta(seconds=90))
    watching.look(NOW + timedelta(seconds=91))

    assert f"concluída em 1 min 30 s: {campaign.RECIPIENTS} de {campaign.RECIPIENTS} enviadas" in said[before]
    assert len(said) == before + 2


def test_counts_are_told_without_zeros_and_in_the_right_number() -> None:
    found = dict.fromkeys(("entregues", "respondidas", "bloqueadas", "falhas", "incertas", "canceladas"), 0)
    found |= {"enviadas": 34, "audiencia": 80, "respondidas": 1, "bloqueadas": 2}
    assert counted(found) == "34 de 80 enviadas, 1 pessoa respondeu, 2 bloqueadas"


def test_the_simulator_gets_every_chip_in_its_state_with_a_webhook_that_the_chip_accepts(
    demo: None, simulator: SimulatorProcess
) -> None:
    assert fleet.missing_in(simulator)
    before = set(Chip.objects.values_list("webhook_secret", flat=True))

    fleet.register(simulator, api_url=API)

    assert not fleet.missing_in(simulator)
    states = {name: chip["state"] for name, chip in simulator.chips().items()}
    assert sorted(states.values()) == ["close", "open", "open", "open", "open"]
    assert states["julia-05-desconectado"] == "close"
    assert before.isdisjoint(Chip.objects.values_list("webhook_secret", flat=True))
