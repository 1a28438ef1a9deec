# A thin front: the work is in `stream-infer` and pytest, which need no make. `make` alone lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SEED ?= 1
# The first Python that is new enough; give another with make PYTHON=…
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

.PHONY: help setup demo test check sim test-long lock lock-jars clean

help: ## this list
	@grep -hE '^[a-z%-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(STAMP) ## a virtual environment with every package at its locked hash, and Kafka's jars (2 minutes, 6 GB; then instant)

$(STAMP): requirements.txt pyproject.toml stream_infer/edge/kafka-jars.lock
	@[ -n "$(PYTHON)" ] || { echo "stream-infer needs Python 3.11 or newer; found: $$(python3 --version 2>&1 || echo none). Install one, or make PYTHON=/path/to/python3.12" >&2; exit 69; }
	@[ -x $(BIN)/python ] || { echo "── $$($(PYTHON) --version) → $(VENV)"; $(PYTHON) -m venv $(VENV) || { echo "no venv module: on Debian and Ubuntu, apt install python3-venv" >&2; exit 69; }; }
	@echo "── packages, each at its locked hash (PyTorch brings 2.5 GB)"
	@$(BIN)/pip install --disable-pip-version-check --progress-bar off --require-hashes -r requirements.txt | grep --line-buffered -vE '^(Requirement already|  (Using cached|Downloading))'; exit $${PIPESTATUS[0]}
	@echo "── stream-infer itself"
	@$(BIN)/pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@echo "── Apache Kafka for the development broker"
	@$(BIN)/python -c 'from stream_infer.edge import kafka_jars; kafka_jars.ensure(print); print("  46 jars, every hash as locked")' \
		|| echo "  not now: demo and tests of a real broker need it, or STREAM_INFER_BOOTSTRAP"
	@echo "── compiled loops, once (half a minute)"
	@$(BIN)/stream-infer test topologies/payments/payments.yaml > /dev/null
	@touch $@

demo: setup ## the flights of 2013 through a real Kafka: predictions, bandit, feedback, learning
	@$(BIN)/stream-infer demo

# Two at a time, each with a broker of its own: half of their time they wait (14 minutes one after the other, 7 so).
test: setup ## all tests but the long ones; real Kafkas are started for those that need one
	@$(BIN)/python -m pytest -n 2 --dist worksteal

check: setup ## what can be seen without running: lint, types, layers, fresh docs
	$(BIN)/ruff check .
	$(BIN)/mypy --strict stream_infer loadgen benchmarks
	$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m pytest -q -k fresh || [ $$? -eq 5 ]

sim: setup ## one simulated run; SEED=… decides everything in it
	@$(BIN)/stream-infer sim --seed $(SEED)

test-long: setup ## the tests of minutes: faults on a real Kafka, many seeds
	@$(BIN)/python -m pytest -m slow --timeout 1800 -n 2 --dist worksteal

bench-%: setup ## one benchmark by name, its figures on stdout
	@$(BIN)/python -m benchmarks.$*

lock: setup ## choose package versions anew, within the floors of pyproject.toml, and lock them
	@$(BIN)/python -m pip install --quiet pip-tools
	@$(BIN)/pip-compile --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras --no-header --no-emit-index-url --no-emit-find-links \
		--no-emit-options --annotation-style line --extra dev --output-file requirements.new pyproject.toml
	@{ sed -n '1,/^# Install with/p' requirements.txt; cat requirements.new; } > requirements.joined
	@mv requirements.joined requirements.txt && rm requirements.new

lock-jars: setup ## resolve Kafka's jars anew and lock their hashes
	@$(BIN)/python -m stream_infer.edge.kafka_jars > kafka-jars.new && mv kafka-jars.new stream_infer/edge/kafka-jars.lock

clean: ## end the development broker; delete its data, caches and build outputs (not .venv)
	@[ ! -x $(BIN)/python ] || $(BIN)/python -c 'from pathlib import Path; from stream_infer.edge import devbroker; devbroker.stop(Path(".broker"))'
	rm -rf .broker .stream-infer build dist demo-report .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
