"""The settings of the operation as a whole. Those of one app are in its `settings_registry.py`."""

from typing import Any

from core.flags import validation
from core.flags.registry import Kind, Setting, register


def _switch(key: str, *, on: bool, description: str) -> Setting[bool]:
    return register(Setting(key, Kind.SWITCH, on, description, validation.boolean, holds_when_unreadable=True))


OPERACAO_PAUSADA = _switch(
    "operacao_pausada", on=False, description="Ligado: nada é enviado, nem respostas. As mensagens esperam na fila."
)
ENVIO_TRAVADO = _switch(
    "envio_travado",
    on=False,
    description="Ligado: o banco parece cópia ou restauração e nada sai até alguém confirmar o ambiente.",
)
SAFE_MODE = _switch(
    "safe_mode", on=False, description="Modo seguro ligado: só respostas saem; o que a Julia inicia espera."
)
WORKER_FILA = _switch("worker_fila", on=True, description="Desligado: a fila não é consumida por ninguém.")
CAMPAIGNS_ENABLED = _switch("campaigns_enabled", on=True, description="Desligado: mensagens de campanhas esperam.")
ENVIO_CAMPANHA = _switch("envio_campanha", on=True, description="Desligado: envios do tipo campanha esperam.")
ENVIO_PROSPECCAO = _switch("envio_prospeccao", on=True, description="Desligado: primeiros contatos esperam.")
ENVIO_FOLLOWUP = _switch("envio_followup", on=True, description="Desligado: acompanhamentos e reativações esperam.")
ENVIO_RESPOSTA = _switch("envio_resposta", on=True, description="Desligado: respostas a quem escreveu esperam.")

JANELA_ENVIO: Setting[dict[str, Any]] = register(
    Setting(
        "janela_envio",
        Kind.OBJECT,
        {"inicio": "08:00", "fim": "20:00", "dias": [1, 2, 3, 4, 5]},
        "Horário do que a Julia inicia, no fuso de quem recebe; dias de 1 (segunda) a 7 (domingo).",
        validation.sending_window,
        holds_when_unreadable=True,
    )
)
CONTACT_CAP_7D: Setting[dict[str, Any]] = register(
    Setting(
        "contact_cap_7d",
        Kind.OBJECT,
        {"enabled": True, "limite": 5},
        "Contatos por médico em 7 dias corridos; enabled false desliga a regra.",
        validation.contact_cap,
    )
)
LIMITE_DIARIO_PESSOA: Setting[int] = register(
    Setting(
        "limite_diario_pessoa",
        Kind.INTEGER,
        3,
        "Mensagens que a Julia pode iniciar por médico e dia.",
        validation.integer(1, 50),
    )
)
LIMITE_GLOBAL_HORA: Setting[int | None] = register(
    Setting(
        "limite_global_hora",
        Kind.INTEGER,
        20,
        "Peso total por hora corrida, em todos os chips; vazio não limita.",
        validation.integer_or_none(0, 1_000_000),
    )
)
LIMITE_GLOBAL_DIA: Setting[int | None] = register(
    Setting(
        "limite_global_dia",
        Kind.INTEGER,
        100,
        "Peso total por dia de Brasília, em todos os chips; vazio não limita.",
        validation.integer_or_none(0, 10_000_000),
    )
)
LIMITE_FROTA_DOENTE_PCT: Setting[int] = register(
    Setting(
        "limite_frota_doente_pct",
        Kind.INTEGER,
        70,
        "Acima desta parte da frota fora de produção em 24 h, o que a Julia inicia espera; respostas continuam.",
        validation.integer(1, 100),
    )
)
PESO_CAMPANHA: Setting[int] = register(
    Setting(
        "peso_campanha",
        Kind.INTEGER,
        2,
        "Quanto pesa uma mensagem de campanha nos limites globais e dos chips.",
        validation.integer(1, 10),
    )
)
DIAS_ENTRE_CAMPANHAS: Setting[int] = register(
    Setting(
        "dias_entre_campanhas",
        Kind.INTEGER,
        3,
        "Dias de 24 horas entre duas campanhas diferentes para o mesmo médico.",
        validation.integer(0, 90),
    )
)
PACING_S: Setting[dict[str, Any]] = register(
    Setting(
        "pacing_s",
        Kind.OBJECT,
        {"min": 45, "max": 180},
        "Segundos entre dois envios do mesmo chip, sorteados entre min e max.",
        validation.pacing,
    )
)
ENVIRONMENT: Setting[str] = register(
    Setting(
        "environment",
        Kind.TEXT,
        "",
        "A que ambiente este banco pertence; diferente de APP_ENV, trava os envios.",
        validation.one_of("", "dev", "test", "production"),
    )
)
SUPABASE_PROJECT_REF: Setting[str] = register(
    Setting(
        "supabase_project_ref",
        Kind.TEXT,
        "",
        "Identidade deste banco; diferente de SUPABASE_PROJECT_REF do ambiente, trava os envios.",
        validation.text(100),
    )
)
DEMO: Setting[bool] = register(
    Setting("demo", Kind.BOOLEAN, False, "Banco com dados de demonstração.", validation.boolean)
)
MORTES_PARA_QUARENTENA: Setting[int] = register(
    Setting(
        "mortes_para_quarentena",
        Kind.INTEGER,
        3,
        "Quantos workers seguidos precisam morrer com a mesma mensagem na mão para ela ir à quarentena.",
        validation.integer(2, 20),
    )
)
SLACK_NOTIFICACOES: Setting[bool] = register(
    Setting(
        "slack_notificacoes",
        Kind.BOOLEAN,
        True,
        "Avisos de alertas no Slack. Desligado: esperam na lista e saem quando for ligado de novo.",
        validation.boolean,
    )
)

import core.circuits.declared  # noqa: E402, F401
