"""Who is logged in, and one row of everything that the backoffice shows."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from django.contrib.auth.models import Group, User
from django.db import transaction
from django.test import Client
from django.urls import reverse

from chips.models import Chip, Selecao, Tentativa
from chips.vocabulario.services import create_missing_rows as create_missing_rules
from core import clock
from core.audit import services as audit
from core.clientes.models import Cliente, Importacao, ImportacaoRejeitada
from core.flags.services import create_missing_rows
from core.jobs.models import JobExecution
from core.models import Alerta, AuditEntry, Circuit, CircuitTransition
from core.rights import Role, sync_roles
from fila.conversas.models import Conversa, Interacao
from fila.models import Campanha, Mensagem, MensagemEvento
from fila.returns import to_dlq
from guardrails.models import Feriado
from tests import factories

PHONE = "5511900001234"
HOSTILE = '<script>alert("x")</script>'


def user(role: Role | None) -> User:
    sync_roles()
    found = User.objects.create_user(username=role.name.lower() if role else "sem-papel", is_staff=True)
    if role:
        found.groups.set([Group.objects.get(name=role.value)])
    return found


def logged_in(role: Role | None) -> Client:
    client = Client()
    client.force_login(user(role))
    return client


@dataclass(frozen=True, slots=True)
class World:
    cliente: Cliente
    chip: Chip
    campanha: Campanha
    rascunho: Campanha
    mensagem: Mensagem
    conversa: Conversa
    importacao: Importacao
    execution: JobExecution
    entry: AuditEntry
    alerta: Alerta

    def pages(self) -> Iterator[str]:
        """Every page that reads, for whoever may see all of them."""
        yield reverse("admin:index")
        yield reverse("admin:rastro")
        rows = (
            self.cliente, self.chip, self.campanha, self.rascunho, self.mensagem, self.conversa, self.importacao,
            self.execution,
        )  # fmt: skip
        for row in rows:
            name = f"{row._meta.app_label}_{row._meta.model_name}"
            yield reverse(f"admin:{name}_changelist")
            yield reverse(f"admin:{name}_change", args=[row.pk])
        for name in ("core_alerta", "core_circuit", "core_circuittransition", "chips_regraerro", "fila_mensagemdlq"):
            yield reverse(f"admin:{name}_changelist")
        yield reverse("admin:fila_reprocessamento_changelist")
        yield reverse("admin:core_circuit_change", args=["evolution"])
        yield reverse("admin:core_alerta_change", args=[self.alerta.pk])
        yield reverse("admin:chips_regraerro_change", args=["evolution.exists_false"])
        yield reverse("admin:diagnostico")
        yield reverse("admin:core_appsetting_changelist")
        yield reverse("admin:core_jobexecution_jobs")
        yield reverse("admin:guardrails_feriado_changelist")
        yield reverse("admin:fila_campanha_preview", args=[self.rascunho.pk])


def world() -> World:
    """One of everything, the doctor with a hostile name and a known phone."""
    now = clock.now()
    factories.open_operation()
    create_missing_rows()
    cliente = factories.cliente(telefone=PHONE, nome=HOSTILE, primeiro_nome=HOSTILE, nome_busca="script")
    chip = factories.chip("julia_5521900005678", telefone="5521900005678", limite_hora=20, limite_dia=100)
    campanha = factories.campanha(
        nome_template=f"Campanha {HOSTILE}", total_destinatarios=2, iniciada_em=now, enfileirada_em=now
    )
    rascunho = factories.campanha(nome_template="Rascunho", status="rascunho", audience_filters={"quantidade_alvo": 10})
    mensagem = factories.mensagem(cliente=cliente, campanha=campanha, chip=chip, conteudo=f"Oi {HOSTILE}")
    selecao = Selecao.objects.create(
        tipo_mensagem="prospeccao",
        motivo="escolhido",
        candidatos=[
            {"tipo": "prospeccao", "emergencia": False, "elegiveis": [], "recusados": {str(chip.pk): ["ritmo"]}}
        ],
    )
    MensagemEvento.objects.create(
        mensagem=mensagem, tipo="sem_chip", motivo="no_capacity:chips_no_limite", detalhes={"selecao": selecao.pk}
    )
    attempt(mensagem, chip, selecao)
    conversa = Conversa.objects.create(cliente=cliente, lead_phone=PHONE, last_message_at=now)
    Interacao.objects.create(
        conversation=conversa, cliente=cliente, chip=chip, origem="whatsapp", tipo="entrada", autor_tipo="medico",
        conteudo=HOSTILE,
    )  # fmt: skip
    importacao = Importacao.objects.create(nome_arquivo=f"{HOSTILE}.csv", status="concluida", linhas=2, rejeitados=1)
    ImportacaoRejeitada.objects.create(
        importacao=importacao, linha=7, motivo="telefone com letras", codigo="letras",
        celulas={"colunas": ["nome", "telefone"], "celulas": ["=1+1", PHONE]},
    )  # fmt: skip
    execution = JobExecution.objects.create(job_name="heartbeat", status="success", started_at=now, duration_ms=3)
    Feriado.objects.get_or_create(data="2026-12-25", defaults={"nome": "Natal"})
    with transaction.atomic():
        entry = audit.record("chip_bloqueado", "chip", chip.pk, usuario="ana", motivo="motivo de teste")
    alerta = Alerta.objects.create(tipo="chip_degradado", chave=f"chip:{chip.pk}", titulo=HOSTILE, mensagem=HOSTILE)
    create_missing_rules()
    Circuit.objects.get_or_create(name="evolution")
    CircuitTransition.objects.create(circuit_name="evolution", from_state="closed", to_state="open", reason=HOSTILE)
    to_dlq([factories.mensagem(cliente=cliente, status="erro", conteudo=f"Oi de novo {HOSTILE}").pk])
    return World(cliente, chip, campanha, rascunho, mensagem, conversa, importacao, execution, entry, alerta)


def attempt(mensagem: Mensagem, chip: Chip, selecao: Selecao | None = None, **values: object) -> Tentativa:
    now = clock.now()
    defaults: dict[str, object] = {
        "tentativa_no": 1, "chip": chip, "provider": chip.provider, "cliente": mensagem.cliente,
        "destino": mensagem.cliente.telefone, "tipo_mensagem": "prospeccao", "proativa": True, "balde_em": now,
        "dia_local": now.date(), "texto_hash": "0" * 64, "lote": mensagem.pk, "consumidor": "teste", "selecao": selecao,
        "resultado": "rejeitado", "codigo": "server_error", "iniciado_em": now - timedelta(minutes=1),
        "encerrado_em": now,
    }  # fmt: skip
    return Tentativa.objects.create(origem_id=mensagem.pk, **(defaults | values))
