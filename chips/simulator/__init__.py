"""A stand-in for Evolution API 2.3.6 and Z-API that keeps the truth of what left and can be told to misbehave.

Runs as its own process (`python -m chips.simulator`), without Django. Answers follow the provider contracts: the
traps are copied on purpose. Nothing here reaches a network beyond the webhook addresses it was given.
"""
