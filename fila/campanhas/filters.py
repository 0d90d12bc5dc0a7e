"""The audience filters as stored in `campanhas.audience_filters`: one schema, and no key that is quietly ignored."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any
from uuid import UUID

from core.clientes.ddd import UFS
from fila.campanhas.errors import CampanhaInvalida

DEFAULT_QUANTIDADE = 50
MAX_QUANTIDADE = 5_000_000
MAX_LISTED = 100_000
MAX_DAYS = 365


class ModoSelecao(StrEnum):
    DETERMINISTICO = "deterministico"
    ALEATORIO = "aleatorio"


@dataclass(frozen=True, slots=True)
class AudienceFilters:
    """Empty lists do not restrict. `clientes_especificos` overrides regioes, especialidades and estados.

    `quantidade_alvo` bounds how many are selected: 50, or everybody named one by one, unless it is given.
    `dias_sem_contato` 0 turns that rule off in effect.
    """

    regioes: tuple[str, ...] = ()
    especialidades: tuple[str, ...] = ()
    estados: tuple[str, ...] = ()
    quantidade_alvo: int = DEFAULT_QUANTIDADE
    modo_selecao: ModoSelecao = ModoSelecao.DETERMINISTICO
    pressure_score_max: int = 50
    excluir_opt_out: bool = True
    chips_excluidos: tuple[UUID, ...] = ()
    clientes_especificos: tuple[UUID, ...] = ()
    dias_sem_contato: int = 7

    @classmethod
    def parse(cls, data: object) -> "AudienceFilters":
        """From JSON values. Raises CampanhaInvalida with sentences by key; an unknown key is an error."""
        if not isinstance(data, Mapping):
            raise CampanhaInvalida({"audience_filters": ["Os filtros do público devem ser um objeto JSON."]})
        erros: dict[str, list[str]] = {}
        values: dict[str, Any] = {}
        for key, value in data.items():
            try:
                values[str(key)] = _reader(str(key))(value)
            except ValueError as error:
                erros[str(key)] = [str(error)]
        if erros:
            raise CampanhaInvalida(erros)
        values.setdefault("quantidade_alvo", max(DEFAULT_QUANTIDADE, len(values.get("clientes_especificos", ()))))
        return cls(**values)

    def as_json(self) -> dict[str, Any]:
        """Every key, with the values that `parse` reads back."""
        return {
            "regioes": list(self.regioes),
            "especialidades": list(self.especialidades),
            "estados": list(self.estados),
            "quantidade_alvo": self.quantidade_alvo,
            "modo_selecao": self.modo_selecao.value,
            "pressure_score_max": self.pressure_score_max,
            "excluir_opt_out": self.excluir_opt_out,
            "chips_excluidos": [str(chip) for chip in self.chips_excluidos],
            "clientes_especificos": [str(cliente) for cliente in self.clientes_especificos],
            "dias_sem_contato": self.dias_sem_contato,
        }


FILTER_KEYS = frozenset(field.name for field in fields(AudienceFilters))


def _texts(value: object) -> tuple[str, ...]:
    cleaned = [text.strip() for text in _list(value)]
    if not all(cleaned):
        raise ValueError("Há um item vazio na lista.")
    return tuple(dict.fromkeys(cleaned))


def _estados(value: object) -> tuple[str, ...]:
    estados = tuple(dict.fromkeys(text.upper() for text in _texts(value)))
    if wrong := [estado for estado in estados if estado not in UFS]:
        raise ValueError(f"Não é sigla de estado: {', '.join(wrong)}.")
    return estados


def _uuids(value: object) -> tuple[UUID, ...]:
    found = []
    for text in _list(value):
        try:
            found.append(UUID(text))
        except ValueError:
            raise ValueError(f"{text!r} não é um identificador válido.") from None
    return tuple(dict.fromkeys(found))


def _list(value: object) -> list[str]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str | UUID) for item in value):
        raise ValueError("Deve ser uma lista de textos.")
    if len(value) > MAX_LISTED:
        raise ValueError(f"A lista tem mais de {MAX_LISTED} itens.")
    return [str(item) for item in value]


def _between(low: int, high: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"Deve ser um número inteiro de {low} a {high}.")
        return value

    return read


def _modo(value: object) -> ModoSelecao:
    if value not in list(ModoSelecao):
        raise ValueError(f"Use um destes: {', '.join(ModoSelecao)}.")
    return ModoSelecao(str(value))


def _always(value: object) -> bool:
    if value is not True:
        raise ValueError("Deve ser true: quem pediu para sair nunca recebe campanhas.")
    return True


_READERS: dict[str, Callable[[object], Any]] = {
    "regioes": _texts,
    "especialidades": _texts,
    "estados": _estados,
    "quantidade_alvo": _between(1, MAX_QUANTIDADE),
    "modo_selecao": _modo,
    "pressure_score_max": _between(0, 100),
    "excluir_opt_out": _always,
    "chips_excluidos": _uuids,
    "clientes_especificos": _uuids,
    "dias_sem_contato": _between(0, MAX_DAYS),
}


def _reader(key: str) -> Callable[[object], Any]:
    if key in _READERS:
        return _READERS[key]
    close = difflib.get_close_matches(key, FILTER_KEYS, n=1)
    hint = f"Você quis dizer {close[0]}?" if close else f"Filtros aceitos: {', '.join(_READERS)}."
    raise ValueError(f"O filtro {key!r} não existe. {hint}")
