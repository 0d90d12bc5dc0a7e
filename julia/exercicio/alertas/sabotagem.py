"""Switches with which the simulation must fail: SQL in the scratch database, never a hook in Julia."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sabotagem:
    """`quebra` is the goal that must turn false."""

    quebra: str
    descricao: str
    sql: str


def _before(table: str, moment: str, body: str) -> str:
    return f"""
CREATE FUNCTION zz_sabotagem_{table}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
{body}
END $$;
CREATE TRIGGER zz_sabotagem BEFORE {moment} ON {table} FOR EACH ROW EXECUTE FUNCTION zz_sabotagem_{table}();
"""


SABOTAGENS: Mapping[str, Sabotagem] = {
    "regra": Sabotagem(
        "todas_detectadas",
        "engole os alertas de papéis sem sinal de vida, como se as regras não existissem",
        _before(
            "alertas",
            "INSERT",
            """    IF NEW.tipo IN ('worker_sem_heartbeat', 'scheduler_sem_sinal', 'papel_sem_sinal') THEN
        RETURN NULL;
    END IF;
    RETURN NEW;""",
        ),
    ),
    "memoria": Sabotagem(
        "nada_dito_duas_vezes",
        "esquece a cada avaliação o que já foi avisado",
        "ALTER TABLE alerta_avisos DROP CONSTRAINT alerta_avisos_once;"
        + _before("alertas", "UPDATE", "    NEW.anunciado_em := NULL;\n    RETURN NEW;")
        + _before("alerta_estados", "INSERT OR UPDATE", "    NEW.avisado_em := NULL;\n    RETURN NEW;"),
    ),
    "relogio_dos_papeis": Sabotagem(
        "falsos_abaixo_de_5_por_cento",
        "grava os sinais da api com três minutos de atraso, hora sim, hora não",
        _before(
            "role_beats",
            "INSERT OR UPDATE",
            """    IF NEW.papel = 'api' AND extract(hour FROM NEW.beat_at)::int % 2 = 0 THEN
        NEW.beat_at := NEW.beat_at - interval '3 minutes';
    END IF;
    RETURN NEW;""",
        ),
    ),
}
