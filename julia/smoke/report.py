"""What became of each canary, as values, as a table and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Parte:
    """One way through the system. `segundos` None and `por` empty: it has not arrived. `proximo`: what to do then."""

    parte: str
    chegou: bool
    segundos: float | None = None
    por: str = ""
    detalhe: str = ""
    proximo: str = ""


@dataclass(frozen=True, slots=True)
class Relatorio:
    """`avisos`: what does not concern the canaries, but holds real messages. `limpo`: nothing of them is left."""

    partes: tuple[Parte, ...]
    avisos: tuple[str, ...] = ()
    limpo: bool = True

    @property
    def ok(self) -> bool:
        return all(parte.chegou for parte in self.partes)

    def as_json(self) -> dict[str, Any]:
        partes = [asdict(parte) for parte in self.partes]
        return {"ok": self.ok, "partes": partes, "avisos": list(self.avisos), "limpo": self.limpo}

    def as_text(self) -> str:
        lines = table([("Parte", "Resultado", "Em", "Quem levou"), *map(_row, self.partes)])
        for parte in self.partes:
            if not parte.chegou:
                lines += ["", f"{parte.parte}: {parte.detalhe}", f"  {parte.proximo}"]
        if self.avisos:
            lines += ["", *(f"Aviso: {aviso}" for aviso in self.avisos)]
        if not self.limpo:
            lines += ["", "Aviso: as linhas do canário não puderam ser apagadas agora; o próximo smoke as apaga."]
        late = sum(not parte.chegou for parte in self.partes)
        return "\n".join([*lines, "", f"{late} de {len(self.partes)} não chegaram." if late else "Tudo chegou."])


def _row(parte: Parte) -> tuple[str, str, str, str]:
    seconds = "" if parte.segundos is None else f"{parte.segundos:.1f} s".replace(".", ",")
    return parte.parte, "chegou" if parte.chegou else "NÃO CHEGOU", seconds, parte.por


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
