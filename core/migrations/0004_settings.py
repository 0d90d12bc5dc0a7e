"""A row for every setting, so that neither a page nor an operator's UPDATE can miss a switch."""

from django.db import migrations

SETTINGS = [
    ("operacao_pausada", False, "Ligado: nada é enviado, nem respostas. As mensagens esperam na fila."),
    (
        "envio_travado",
        False,
        "Ligado: o banco parece cópia ou restauração e nada sai até alguém confirmar o ambiente.",
    ),
    ("safe_mode", False, "Modo seguro ligado: só respostas saem; o que a Julia inicia espera."),
    ("worker_fila", True, "Desligado: a fila não é consumida por ninguém."),
    ("campaigns_enabled", True, "Desligado: mensagens de campanhas esperam."),
    ("envio_campanha", True, "Desligado: envios do tipo campanha esperam."),
    ("envio_prospeccao", True, "Desligado: primeiros contatos esperam."),
    ("envio_followup", True, "Desligado: acompanhamentos e reativações esperam."),
    ("envio_resposta", True, "Desligado: respostas a quem escreveu esperam."),
    (
        "janela_envio",
        {"inicio": "08:00", "fim": "20:00", "dias": [1, 2, 3, 4, 5]},
        "Horário do que a Julia inicia, no fuso de quem recebe; dias de 1 (segunda) a 7 (domingo).",
    ),
    (
        "contact_cap_7d",
        {"enabled": True, "limite": 5},
        "Contatos por médico em 7 dias corridos; enabled false desliga a regra.",
    ),
    ("limite_diario_pessoa", 3, "Mensagens que a Julia pode iniciar por médico e dia."),
    ("limite_global_hora", 20, "Peso total por hora corrida, em todos os chips; vazio não limita."),
    ("limite_global_dia", 100, "Peso total por dia de Brasília, em todos os chips; vazio não limita."),
    ("peso_campanha", 2, "Quanto pesa uma mensagem de campanha nos limites globais e dos chips."),
    ("dias_entre_campanhas", 3, "Dias de 24 horas entre duas campanhas diferentes para o mesmo médico."),
    ("pacing_s", {"min": 45, "max": 180}, "Segundos entre dois envios do mesmo chip, sorteados entre min e max."),
    ("environment", "", "A que ambiente este banco pertence; diferente de APP_ENV, trava os envios."),
    (
        "supabase_project_ref",
        "",
        "Identidade deste banco; diferente de SUPABASE_PROJECT_REF do ambiente, trava os envios.",
    ),
    ("demo", False, "Banco com dados de demonstração."),
]


def create(apps, schema_editor):
    setting = apps.get_model("core", "AppSetting")
    setting.objects.bulk_create(
        [setting(key=key, value=value, description=description) for key, value, description in SETTINGS],
        ignore_conflicts=True,
    )


class Migration(migrations.Migration):
    dependencies = [("core", "0003_triggers")]
    operations = [migrations.RunPython(create, migrations.RunPython.noop)]
