"""One switch per invariant with which its drill must fail: SQL in the scratch database, never a hook in Julia.

A drill that stays green under its sabotage proves nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from julia.exercicio.bancada import Bancada


@dataclass(frozen=True, slots=True)
class Sabotagem:
    """`quebra` is the invariant that must turn false."""

    quebra: str
    descricao: str
    sql: str


#: Some messages, the same ones in every run of a seed.
_SOME = "abs(hashtext(NEW.conteudo)) % 3 = 0"


def _before(table: str, moment: str, body: str) -> str:
    """A trigger that runs after all others of its moment, so that nothing mends what it does."""
    return f"""
CREATE FUNCTION zz_sabotagem_{table}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
{body}
    RETURN NEW;
END $$;
CREATE TRIGGER zz_sabotagem BEFORE {moment} ON {table} FOR EACH ROW EXECUTE FUNCTION zz_sabotagem_{table}();
"""


def _instead(table: str, moment: str, body: str) -> str:
    """The same, but `body` says itself what it returns."""
    return _before(table, moment, body).replace("\n    RETURN NEW;", "")


SABOTAGENS: Mapping[str, Sabotagem] = {
    "duplicata": Sabotagem(
        "sem_duplicata",
        "derruba o índice de tentativa única e a memória de textos, e devolve à fila o que saiu",
        "DROP INDEX tentativas_at_most_one_that_may_have_left;"
        + _before("envios_tentativas", "INSERT", "    NEW.texto_hash := md5(random()::text);")
        + _before(
            "fila_mensagens",
            "UPDATE",
            """    IF NEW.status IN ('enviada', 'incerta') AND NOT NEW.metadata ? 'sabotada' THEN
        NEW.status := 'pendente';
        NEW.agendar_para := agora();
        NEW.tentativa_aberta_id := NULL;
        NEW.metadata := NEW.metadata || '{"sabotada": true}';
    END IF;""",
        ),
    ),
    "fio": Sabotagem(
        "fio_e_fila_concordam",
        "grava como erro uma em cada três mensagens enviadas",
        _before(
            "fila_mensagens",
            "UPDATE",
            f"""    IF NEW.status = 'enviada' AND {_SOME} THEN
        NEW.status := 'erro';
        NEW.outcome := 'FAILED_PROVIDER';
    END IF;""",
        ),
    ),
    "perda": Sabotagem(
        "nenhuma_perdida",
        "deixa para sempre em envio uma em cada três mensagens enviadas",
        _before(
            "fila_mensagens",
            "UPDATE",
            f"""    IF NEW.status = 'enviada' AND {_SOME} THEN
        NEW.status := 'processando';
        NEW.lease_ate := agora() + interval '30 days';
        NEW.tentativa_aberta_id := NULL;
    END IF;""",
        ),
    ),
    "explicacao": Sabotagem(
        "tudo_explicado",
        "apaga outcome e motivo de uma em cada três mensagens",
        _before(
            "fila_mensagens",
            "UPDATE",
            f"""    IF NEW.status IN ('enviada', 'erro', 'bloqueada', 'cancelada') AND {_SOME} THEN
        NEW.outcome := NULL;
        NEW.outcome_reason_code := NULL;
    END IF;""",
        ),
    ),
    "circuito": Sabotagem(
        "circuito_respeitado",
        "fecha de novo cada circuito que abre",
        _before(
            "circuits",
            "INSERT OR UPDATE",
            """    NEW.state := 'closed';
    NEW.permit_token := NULL;
    NEW.permit_until := NULL;""",
        ),
    ),
    "limites": Sabotagem(
        "limites_respeitados",
        "zera o que os limites contaram",
        _before("limites_minutos", "INSERT OR UPDATE", "    NEW.peso := 0;")
        + _before("chips", "INSERT OR UPDATE", "    NEW.peso_dia := 0;"),
    ),
    "opt_out": Sabotagem(
        "opt_out_respeitado",
        "esquece cada pedido de saída",
        _before(
            "doctor_state",
            "UPDATE",
            """    IF NEW.permission_state = 'opted_out' THEN
        NEW.permission_state := 'active';
        NEW.opted_out_at := NULL;
    END IF;""",
        )
        + _before(
            "fila_mensagens",
            "UPDATE",
            """    IF NEW.status = 'bloqueada' AND NEW.outcome = 'BLOCKED_OPTED_OUT' THEN
        NEW.status := 'pendente';
        NEW.outcome := NULL;
    END IF;""",
        ),
    ),
    "jobs": Sabotagem(
        "processos_de_pe",
        "faz falhar todo job que roda",
        """
CREATE FUNCTION zz_sabotagem_jobs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'sabotagem';
END $$;
CREATE TRIGGER zz_sabotagem BEFORE INSERT ON job_executions FOR EACH ROW EXECUTE FUNCTION zz_sabotagem_jobs();
""",
    ),
    "alerta": Sabotagem(
        "alerta_em_15_s",
        "engole os alertas",
        _instead("alertas", "INSERT", "    RETURN NULL;"),
    ),
    "ejecao": Sabotagem(
        "chip_fora_em_15_s",
        "mantém em produção o chip restrito",
        _before(
            "chips",
            "UPDATE",
            """    IF NEW.status = 'degraded' THEN
        NEW.status := 'active';
        NEW.cooldown_until := NULL;
        NEW.connection_cooldown_until := NULL;
    END IF;""",
        )
        + _before("circuits", "INSERT OR UPDATE", "    NEW.state := 'closed';"),
    ),
    "evidencia": Sabotagem(
        "sem_incerta_entregue",
        "ignora cada aviso do provedor, e cada busca fica para depois de amanhã",
        _before("webhook_eventos", "INSERT", "    NEW.kind := 'outro';")
        + _before("envios_tentativas", "INSERT OR UPDATE", "    NEW.proxima_busca_em := agora() + interval '2 days';"),
    ),
    "lento": Sabotagem(
        "lento_em_60_s",
        "devolve logo todos os remetentes ao provedor lento",
        _before("circuits", "INSERT OR UPDATE", "    NEW.share := NULL;"),
    ),
    "instantes": Sabotagem(
        "cada_instante_uma_vez",
        "deixa o mesmo instante de um job rodar quantas vezes vier",
        _before("job_slots", "INSERT", "    NEW.slot := left(NEW.slot, 20) || md5(random()::text);"),
    ),
}


def apply(nome: str, bancada: "Bancada") -> None:
    """Before anything is started. Unknown names raise KeyError."""
    bancada.banco.script(SABOTAGENS[nome].sql)
    bancada.note(f"SABOTADO ({nome}): {SABOTAGENS[nome].descricao}")
