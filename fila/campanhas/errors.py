"""What can go wrong with a campaign, as types. Their text is for the operator."""

from collections.abc import Mapping, Sequence

from fila.choices import CampanhaStatus


class CampanhaError(Exception):
    """Nothing was changed. `sentence` (and `str(error)`) is Portuguese and says the next step."""

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence
        super().__init__(sentence)


class CampanhaInexistente(CampanhaError):
    def __init__(self, campanha_id: int) -> None:
        super().__init__(f"A campanha {campanha_id} não existe.")


class CampanhaConflict(CampanhaError):
    """Somebody was faster, or the state forbids it. `status` is what the campaign is now."""

    def __init__(self, sentence: str, status: CampanhaStatus) -> None:
        self.status = status
        super().__init__(sentence)


class CampanhaInvalida(CampanhaError):
    """`erros` by field; the empty field is the campaign as a whole."""

    def __init__(self, erros: Mapping[str, Sequence[str]]) -> None:
        self.erros = {field: list(sentences) for field, sentences in erros.items()}
        super().__init__(" ".join(sentence for sentences in self.erros.values() for sentence in sentences))


class MotivoInsuficiente(CampanhaInvalida):
    def __init__(self) -> None:
        super().__init__({"motivo": ["Escreva um motivo de pelo menos 10 caracteres."]})
