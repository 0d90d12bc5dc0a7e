"""Fault drills: real worker processes against the provider simulator, in a scratch database, on one simulated clock.

A drill is judged by the wire truth of the simulator, never by what Julia believes. docs/exercicios.md is for users.

    bancada.py      the workbench of one drill: scratch database, simulator, api, workers, clock
    banco.py        scratch databases and their template, SQL evidence
    relogio.py      the simulated clock, in the scratch database only
    condutor.py     lets time pass: real time while something is on the wire, jumps while nothing is
    processos.py    child processes that die with us
    frota.py        chips, people and campaigns of a drill
    verdade.py      evidence (wire truth and rows) as frozen values
    invariantes.py  pure functions over that evidence
    sabotagem.py    one switch per invariant, with which its drill must fail
    relatorio.py    the report, as JSON and as a table
    cenarios/       the scenarios, one module per family
"""
