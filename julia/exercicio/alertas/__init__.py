"""A simulated month of operation in which faults and near-misses come at random: are the right people told, in time?

It runs in one process and without a wire: every fact that an alert reads is written by the code that writes it in
operation, at simulated instants, in a scratch database whose clock stands still between two steps.

    mundo.py       roles, fleet, people, messages, and what happens to them between two looks
    agenda.py      the jobs' slots, through the production runner
    correio.py     the worker's looks; how calls end
    provedor.py    sessions and webhooks, as far as alerts see them
    trafego.py     thirty believable days
    roteiro.py     kinds of occurrences, and a seeded moment for each
    falhas.py, falhas_de_envio.py, quase.py    the occurrences
    vigia.py       who evaluates, killed and replaced at random
    juiz.py        the verdict, pure
    simulacao.py   time
"""
