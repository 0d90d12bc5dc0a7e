"""Runs beside the supervisor's loop: puts the chips into the simulator and follows the campaign of this start."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import httpx
from django.db import DatabaseError, InterfaceError, connection

from chips.simulator.client import SimulatorClient, SimulatorError
from core import clock
from julia.demo import fleet, show
from julia.demo.show import Show

LOOK_EVERY_S = 0.5
SET_UP_EVERY_S = 0.1
ANSWER_PROBABILITY = 0.3
ANSWER_AFTER_S = [3, 15]
ANSWERS = [
    "Oi, tudo bem? Pode me mandar mais detalhes?",
    "Bom dia! Qual é o valor?",
    "Tenho interesse, sim. Onde fica?",
    "Estou no centro cirúrgico agora, me chama mais tarde",
    "Obrigada! Vou olhar a minha agenda e te falo",
    "Dá para dividir com um colega?",
]
LEAVE = ["não quero mais receber mensagens, pode me remover"]


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the simulator is, what it is to know, and where our api listens."""

    simulator_url: str
    nonce: str
    api_url: str


class Director:
    """`is_set` becomes true when the chips are in the simulator: before that nobody may send."""

    def __init__(self, stage: Stage, *, say: Callable[[str], None]) -> None:
        self._stage = stage
        self._say = say
        self._set = threading.Event()
        self._stopped = threading.Event()
        self._simulator = SimulatorClient(stage.simulator_url, stage.nonce)
        self._show: Show | None = None
        self._leaving: list[str] = []

    def start(self) -> None:
        threading.Thread(target=self._run, name="demonstracao", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def is_set(self) -> bool:
        return self._set.is_set()

    def _run(self) -> None:
        try:
            while not self._stopped.wait(LOOK_EVERY_S if self.is_set() else SET_UP_EVERY_S):
                try:
                    self._set_up()
                    self._follow()
                except (DatabaseError, InterfaceError):
                    connection.close()
                except (httpx.HTTPError, SimulatorError):
                    continue  # not there yet, or being started again
        finally:
            self._simulator.close()
            connection.close()

    def _set_up(self) -> None:
        """Fill the simulator when it is new, be it after a death of its own."""
        if fleet.missing_in(self._simulator):
            fleet.register(self._simulator, api_url=self._stage.api_url)
            self._tell_people_what_to_answer()
        self._set.set()

    def _follow(self) -> None:
        now = clock.now()
        if self._show is None or (self._show.is_over and self._show.is_continued):
            self._show = Show(show.begin(now), self._say, now=now)
        self._show.look(now)
        if self._show.leaving != self._leaving:
            self._leaving = self._show.leaving
            self._tell_people_what_to_answer()

    def _tell_people_what_to_answer(self) -> None:
        self._simulator.replies(
            probability=ANSWER_PROBABILITY,
            delay_s=ANSWER_AFTER_S,
            texts=ANSWERS,
            opt_out_texts=LEAVE,
            opt_out_recipients=self._leaving,
        )
