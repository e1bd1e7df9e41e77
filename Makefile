# On a fresh machine this needs python3 (3.11 or later), make and a package index. `make help` lists the targets.

PYTHON ?= python3
BIN    := .venv/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --no-input
# A lock is complete, so nothing is to be resolved; and most of what is installed is never imported, so nothing is compiled
# ahead. Together a third less to wait for on a fresh machine.
LOCKED := install --quiet --no-deps --no-compile --require-hashes

# Where an environment forbids bytecode files, each of the many processes that the suite starts would compile everything anew: 3 s instead of 1.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo up test check format bench faults door isolation webhooks watching servers lock clean

help:  ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## */  make \1\t/' | expand -t 16

# Two stamps in one environment: running needs the run-time lock only, working on the code needs both. An environment
# that has the larger set has the smaller one too, so `make demo` after `make test` installs nothing.
.venv/run-time: requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) $(LOCKED) -r requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv/development: requirements-dev.lock requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) $(LOCKED) -r requirements-dev.lock
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch .venv/run-time $@

demo: .venv/run-time  ## the whole worker on its embedded default, faults injected, in under a minute
	@$(BIN)/approvals demo

up: .venv/run-time  ## everything in one process, with the accounts of config/approvals.toml
	@$(BIN)/approvals up $(ARGS)

test: .venv/development  ## the whole suite, on real servers where they can be had (ARGS="-k name")
	@$(BIN)/python -m pytest -n 3 --dist loadfile $(ARGS)

check: .venv/development  ## format, lint, types, import arrows: the same as CI
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: .venv/development  ## put the code in shape
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix-only --quiet .

bench: .venv/development  ## measure throughput on this machine
	@$(BIN)/python -m tests.benchmarks $(ARGS)

faults: .venv/development  ## kill and cut the parts while they work, and count the doubles
	@$(BIN)/python -m tests.faults $(ARGS)

webhooks: .venv/development  ## events to five endpoints, four of them sick, while the worker is killed
	@$(BIN)/python -m tests.webhooks $(ARGS)

door: .venv/development  ## count what leaves where it arrives: never more than may, in any minute (about seven minutes)
	@$(BIN)/python -m tests.benchmarks.door $(ARGS)

isolation: .venv/development  ## nine accounts beside one that stalls: how long the nine wait (about three minutes)
	@$(BIN)/python -m tests.benchmarks.isolation $(ARGS)

watching: .venv/development  ## a month of ten thousand tasks, watched: how late, and for how many requests (about twenty minutes)
	@$(BIN)/python -m tests.watching $(ARGS)

servers:  ## RabbitMQ, Redis and PostgreSQL: with docker compose, else from the distribution's packages (needs root)
	@if docker info >/dev/null 2>&1; then \
	    docker compose up -d --wait rabbitmq redis postgres; \
	elif command -v apt-get >/dev/null && test "$$(id -u)" = 0; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq rabbitmq-server redis-server postgresql; \
	else \
	    echo "make servers: no container engine answers, and system packages may not be installed here" >&2; exit 1; \
	fi

# uv comes into an environment of its own: it is needed to make the locks, never to use them. The locks name no index host.
COMPILE = .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
          --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" pyproject.toml --group build
lock:  ## resolve the dependencies anew (ARGS=--upgrade)
	@test -x .venv-lock/bin/uv || { $(PYTHON) -m venv .venv-lock && .venv-lock/bin/python -m pip install --quiet uv; }
	$(COMPILE) $(ARGS) --output-file requirements.lock
	$(COMPILE) $(ARGS) --group dev --output-file requirements-dev.lock

clean:  ## remove what can be made again
	rm -rf .venv .venv-lock build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
