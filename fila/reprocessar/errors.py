"""What can go wrong with reprocessing, as types. Their text is for the operator."""

from fila.reprocessar.choices import Recusa


class ReprocessoError(Exception):
    """Nothing was changed. `sentence` (and `str(error)`) is Portuguese and says the next step."""

    def __init__(self, sentence: str) -> None:
        self.sentence = sentence
        super().__init__(sentence)


class FalhaInexistente(ReprocessoError):
    pass


class FiltroInvalido(ReprocessoError):
    pass


class Recusada(ReprocessoError):
    """The one that was asked for cannot be reprocessed; `recusa` says why."""

    def __init__(self, sentence: str, recusa: Recusa) -> None:
        self.recusa = recusa
        super().__init__(sentence)


class Ocupada(ReprocessoError):
    def __init__(self) -> None:
        super().__init__("Outra pessoa está mexendo nestas mensagens neste instante. Tente de novo em alguns segundos.")
