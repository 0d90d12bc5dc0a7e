"""Every rule of every app together: links that open, words that are there, facts that stay cheap."""

import time
from datetime import timedelta

import pytest

from core.alerts.evaluator import evaluate
from core.alerts.models import Alerta
from core.alerts.rules import declared, registered, rule_of
from core.circuits.names import of_chip
from core.clock import database_now
from core.logfile import FileState
from core.rights import Role
from fila.models import Mensagem
from julia import alert_rules
from tests import factories
from tests.core.test_circuits_services import open_circuit
from tests.julia.backoffice import logged_in

pytestmark = pytest.mark.django_db

DOMAIN = {
    "fila_acumulada", "worker_sem_heartbeat", "erros_acumulados", "job_atrasado", "whatsapp_desconectado",
    "taxa_erro_alta", "falha_autenticacao", "circuito_aberto", "campanha_sem_envio", "pool_vazio",
    "pool_baixo_prospeccao", "pool_baixo_followup", "pool_baixo_resposta", "pool_degradado", "muitos_erros",
}  # fmt: skip
RAISED = {
    "frota_doente", "mensagem_em_quarentena", "entregue_apos_reenvio", "chip_degradado", "provedor_lento",
    "pedido_recusado", "papel_travado", "banco_fora",
}  # fmt: skip


def test_the_rules_of_the_domain_exist_and_every_raised_kind_is_explained() -> None:
    known = {rule.tipo for rule in declared()}
    assert known >= DOMAIN | RAISED
    for rule in declared():
        assert rule.significa, rule.tipo
        assert rule.proximo, rule.tipo
        assert all(tipo in known for tipo in rule.inibido_por), rule.tipo


def test_every_link_opens_a_page_for_who_may_only_read() -> None:
    chip, campaign = factories.chip(), factories.campanha()
    open_circuit(of_chip(chip.pk))
    message: Mensagem = factories.mensagem()
    keys = {
        "campanha_sem_envio": f"campanha:{campaign.pk}",
        "entregue_apos_reenvio": str(message.pk),
        "circuito_aberto": "evolution",
        "provedor_sem_resposta": "evolution",
        "provedor_lento": "evolution",
        "job_atrasado": "heartbeat",
    }
    client = logged_in(Role.LEITURA)
    for rule in declared():
        chave = keys.get(rule.tipo, of_chip(chip.pk) if "chip" in rule.tipo else "")
        assert client.get(rule.link_of(chave)).status_code == 200, (rule.tipo, rule.link_of(chave))


def test_a_new_installation_has_nothing_to_tell_but_its_missing_roles(open_operation: None) -> None:
    now = database_now()
    for step in (0, 30, 60):
        looked = evaluate(now + timedelta(seconds=step))
        assert looked.failures == ()
    assert set(Alerta.objects.values_list("tipo", flat=True)) <= {"nenhum_papel_visto"}


def test_one_look_at_everything_is_quick(open_operation: None) -> None:
    now = database_now()
    evaluate(now)
    began = time.monotonic()
    evaluate(now + timedelta(seconds=30))
    assert time.monotonic() - began < 2.0
    assert len(registered()) >= 25


def test_a_log_that_cannot_be_written_names_the_machine_and_what_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    now = database_now()
    assert list(alert_rules.disco_do_log(now)) == []
    broken = FileState("/var/log/julia.log", "o disco do arquivo de log está cheio", now, 12, 0)
    monkeypatch.setattr(alert_rules, "file_state", lambda: broken)
    (finding,) = alert_rules.disco_do_log(now)
    assert "disco do arquivo de log está cheio" in finding.mensagem
    assert "12 linhas" in finding.mensagem


def test_what_inhibits_is_what_explains() -> None:
    assert "worker_sem_heartbeat" in rule_of("fila_parada").inibido_por
    assert "scheduler_sem_sinal" in rule_of("job_atrasado").inibido_por
    assert "whatsapp_fora" in rule_of("pool_baixo_resposta").inibido_por
    assert all("banco_fora" in rule.inibido_por for rule in registered())
