"""Importing in the background: the row holds the file, the broker carries only its id."""

import io
from datetime import datetime, timedelta

from django.db import DataError, IntegrityError, transaction
from django_q.tasks import async_task

from core import clock, correlation
from core.clientes import services
from core.clientes.csv_records import UnusableFile
from core.clientes.models import Importacao
from core.clock import Agora
from core.jobs.registry import Cluster
from core.logging import get_logger

TASK = "core.clientes.tasks.processar_importacao"
NOT_TAKEN_AFTER = timedelta(minutes=2)
ABANDONED_AFTER = timedelta(minutes=10)  # the cluster ends a task after 5

log = get_logger("core.clientes")
Status = Importacao.Status


def offer(importacao_id: int) -> None:
    """Hand the id to the cluster once the caller's transaction has committed; a broker that is away loses nothing."""
    transaction.on_commit(lambda: async_task(TASK, importacao_id, cluster=Cluster.TRABALHOS.value), robust=True)


def processar_importacao(importacao_id: int) -> str:
    """Take a pending import and run it. Whoever comes second does nothing. The file is not kept afterwards."""
    now = clock.now()
    waiting = Importacao.objects.filter(pk=importacao_id, status=Status.PENDENTE)
    if not waiting.update(status=Status.PROCESSANDO, iniciado_em=now):
        return "nada a fazer"
    importacao = Importacao.objects.get(pk=importacao_id)
    with correlation.use(importacao.correlation_id or None):
        try:
            services.importar(
                io.BytesIO(bytes(importacao.conteudo or b"")),
                nome_arquivo=importacao.nome_arquivo,
                actor=importacao.criado_por,
                mapa=importacao.mapa,
                atualizar=importacao.atualizar,
                now=now,
                importacao=importacao,
            )
        except UnusableFile as refusal:
            return _refuse(importacao_id, str(refusal))
        except (DataError, IntegrityError) as error:  # the same file would fail the same way again
            return _refuse(importacao_id, f"O banco recusou o conteúdo do arquivo ({type(error).__name__}).")
        Importacao.objects.filter(pk=importacao_id).update(conteudo=None)
    return "concluída"


def _refuse(importacao_id: int, sentence: str) -> str:
    Importacao.objects.filter(pk=importacao_id).update(
        status=Status.ERRO, erro=sentence[:500], concluido_em=Agora(), conteudo=None
    )
    log.warning("importação recusada", importacao=importacao_id)
    return "recusada"


def offer_untaken(now: datetime) -> int:
    """Offer again what no cluster took, and what one took and died with: an import commits whole or not at all."""
    abandoned = Importacao.objects.filter(status=Status.PROCESSANDO, iniciado_em__lt=now - ABANDONED_AFTER)
    abandoned.update(status=Status.PENDENTE, iniciado_em=None)
    late = Importacao.objects.filter(status=Status.PENDENTE, created_at__lt=now - NOT_TAKEN_AFTER)
    ids = list(late.order_by("created_at").values_list("pk", flat=True)[:50])
    for importacao_id in ids:
        offer(importacao_id)
    return len(ids)
