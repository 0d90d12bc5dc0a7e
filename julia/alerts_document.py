"""docs/alertas.md: what each kind of alert means and what to do about it, from the rules themselves."""

from collections.abc import Iterator
from datetime import timedelta

from core.alerts.rules import Rule, declared

HEAD = """# Alertas

Escrito por `python manage.py documentar_alertas` a partir das regras (`alert_rules` de cada aplicação); um teste o
mantém igual.

As regras são avaliadas a cada 30 segundos, no supervisor de um dos papéis. Há um só alerta aberto por tipo e alvo (um
chip, um job, um circuito). Ele se resolve sozinho quando a causa acaba. O Slack recebe o primeiro aviso, um lembrete
depois do descanso enquanto ninguém assume, e o aviso de que acabou. Um alerta que outro explica aparece na página e
não avisa.

| Tipo | Avisa depois de | Lembra a cada | Insiste após | Calado por |
|---|---|---|---|---|
"""


def render() -> str:
    kinds = sorted(declared(), key=lambda rule: rule.tipo)
    return HEAD + "".join(map(_row, kinds)) + "".join(line for rule in kinds for line in _section(rule))


def _row(rule: Rule) -> str:
    silenced = ", ".join(f"`{tipo}`" for tipo in rule.inibido_por) or "—"
    held = "do evento" if rule.evaluate is None else _spoken(rule.segura) if rule.segura else "na hora"
    again = _spoken(rule.escala_apos) if rule.escala_apos else "—"
    return f"| [`{rule.tipo}`](#{rule.tipo}) | {held} | {_spoken(rule.descanso)} | {again} | {silenced} |\n"


def _section(rule: Rule) -> Iterator[str]:
    yield f"\n## {rule.tipo}\n\n{rule.significa}\n\n**O que fazer.** {rule.proximo}\n"


def _spoken(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds % length == 0:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
