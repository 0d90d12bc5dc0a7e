# Paths stay relative and quoted: the clone may lie in a directory whose name has spaces.
# `lint` must not depend on a developer's own environment.
PY := .venv/bin/python
CLEAN := env -u APP_ENV -u DATABASE_URL

.DEFAULT_GOAL := help
.PHONY: help run test setup lint bench drills

help:
	@echo 'make run     everything on this machine, with demo data (PORT=8000)'
	@echo 'make test    the whole test suite (ARGS="tests/fila -x" narrows it)'
	@echo 'make lint    style, types, layers'
	@echo 'make drills  the long fault drills (about two hours; manage.py exercicio NAME for one of them)'
	@echo 'make bench   the benchmarks'
	@echo 'make setup   only .venv with the locked packages (PYTHON=python3.12 chooses the interpreter)'

setup:
	@sh .ci/setup

run: setup
	@exec $(PY) manage.py servir --papel tudo --demo

test: setup
	@JULIA_CHROMIUM="$$(sh .ci/chromium)" $(PY) -m pytest -n auto --maxprocesses 4 $(ARGS)

lint: setup
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(CLEAN) $(PY) -m mypy
	@$(CLEAN) .venv/bin/lint-imports

# Everything is run, whatever fails before it; reports go to .julia/exercicios/.
drills: setup
	@sh .ci/drills $(ARGS)

bench: setup
	@$(PY) -m tests.bench $(ARGS)
