# The recipes of the project. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup servers demo test engines cover soak sanitize fuzz lint format stubs bench clean

BIN := .venv/bin
PYTEST := $(BIN)/pytest
JOBS := 2

help: ## List the recipes
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

setup: ## Install system packages and the environment in .venv; quick when nothing changed
	@deploy/setup/setup

servers: setup ## Install and build the servers that the tests start: databases, S3, Alluxio; quick when they are there
	@deploy/setup/servers

demo: setup ## Run the main job on real images: register, train on torch and Keras, update, roll back
	@$(BIN)/alluxio-lance demo $(ARGS)

test: servers ## Run all tests, two files at a time; JOBS=0 for one after the other in one process
	@$(PYTEST) --numprocesses=$(JOBS) --dist=loadfile $(ARGS)

engines: servers ## Run the catalog's contract on SQLite, PostgreSQL and MariaDB: passed per engine, none skipped
	@deploy/setup/engines $(ARGS)

cover: servers ## Run all tests and show which branches they left out
	@rm -f .coverage .coverage.*
	@$(PYTEST) --cov --cov-report= $(ARGS)
	@deploy/setup/coverage

soak: servers ## Soak the arenas for half an hour; SECONDS=600 for less, the seed is printed
	@ALLUXIO_LANCE_SOAK=$(or $(SECONDS),1800) $(PYTEST) tests/soak $(ARGS)

sanitize: setup ## Run the native module's tests under ASan, UBSan and valgrind; ARGS=prove plants a fault that both must find
	@deploy/checks/sanitize $(ARGS)

fuzz: setup ## Let a fuzzer loose on the readers of models for ten minutes; SECONDS=60 for less
	@deploy/checks/fuzz $(or $(SECONDS),600)

lint: setup ## Check style, types, the arrows between the rooms, the wire contract and its stubs
	@deploy/setup/lint

format: setup ## Format the sources
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

stubs: setup ## Write the Python stubs of the wire contract anew
	@proto/generate

bench: setup ## Measure beside the peers: a table, a plot, JSON; then the pieces in one process
	@$(BIN)/alluxio-lance bench $(ARGS)
	@$(PYTEST) bench/micro --benchmark-only --quiet

clean: ## Remove what was built, the environment too
	rm -rf .venv build dist *.egg-info src/*.egg-info sidecar/_shm.c sidecar/_shm.*.so .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache .benchmarks .coverage .coverage.* htmlcov .demo bench/.venvs bench/results
