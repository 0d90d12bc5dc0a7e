"""The kinds of alert that the engine itself raises."""

from datetime import timedelta

from core.alerts.rules import event_alert

EVALUATION_FAILED = "avaliacao_falhou"
DATABASE_AWAY = "banco_fora"

event_alert(
    EVALUATION_FAILED,
    significa="Uma regra de alerta quebrou ou passou de 2 s três vezes seguidas. Enquanto isso ninguém vigia o que ela "
    "vigiava: os alertas dela ficam como estavam.",
    proximo="Veja o erro no log do servir (procure por regra de alerta) e confira à mão, em Agora, o que ela vigia.",
    link="/admin/core/alerta/",
    inibido_por=(DATABASE_AWAY,),
)
event_alert(
    DATABASE_AWAY,
    significa="O banco de dados não respondeu. Sem ele nada é enviado, nenhum job roda e nenhum outro alerta é "
    "avaliado; nada do que estava na fila se perde.",
    proximo="Confira o servidor do PostgreSQL e a rede até ele. Julia volta sozinha; depois veja em "
    "Agora se a fila anda.",
    link="/admin/diagnostico/",
    escala_apos=timedelta(minutes=15),
)
