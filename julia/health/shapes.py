"""What several pages show in the same form."""

from typing import TypedDict


class Erro(TypedDict):
    """Why something could not be read: the class of the error and a fixed sentence."""

    classe: str
    mensagem: str
