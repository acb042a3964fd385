# The same targets for people and for CI. Every target that needs the environment makes it first,
# from the hash-locked requirements; nothing but git, make and Python 3.11 or newer is asked for.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv
COMPILE := $(UV) pip compile --quiet --universal --generate-hashes --no-annotate --custom-compile-command "make lock"
BENCHMARKS := monitor engine announce latency backtest breakers restart
# On recorded series, which the repository does not have: only where DATA names a folder of them.
BENCH_PREDICTIONS = mkdir -p .backout/bench && $(BIN)/python -m benchmarks.predictions --cost 10000 \
	--data "$(DATA)" \
	--json .backout/bench/predictions.json --diagram .backout/bench/predictions.svg
# Three at a time are faster on two processors, and fail where a bound on time is short for a busy machine.
JOBS ?= 2

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: install
install: ## Make .venv from the locked requirements (done by itself where it is needed)
	@$(PYTHON) requirements/install.py

.PHONY: demo
demo: install ## See a bad release noticed, rolled back, announced and explained (KEEP=1 leaves it running)
	@$(BIN)/python -m examples.demo $(if $(KEEP),--keep)

.PHONY: lint
lint: install ## Check style, types, imports, container files and generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile
	$(BIN)/yamllint --strict .
	$(BIN)/python -m schemas.generate --check

.PHONY: test
test: install ## Run all tests, on a real Kafka and Postgres (ARGS="-k name" narrows them, JOBS=1 serialises)
	$(BIN)/pytest -n $(JOBS) --dist worksteal $(ARGS)

.PHONY: unit
unit: install ## Run the tests that need no server (ARGS="-k name" narrows them)
	$(BIN)/pytest tests/unit tests/contract $(ARGS)

.PHONY: bench
bench: install ## Measure, beside a baseline, into .backout/bench/ (ONLY=monitor|engine|announce|latency|backtest|breakers|restart, ONLY=predictions DATA=dir)
	$(if $(filter predictions,$(ONLY)),$(if $(DATA),,$(error DATA=dir names a folder of CSV files (timestamp,value))))
	@missed=; for name in $(or $(ONLY),$(BENCHMARKS) $(if $(DATA),predictions)); do \
	  if [ "$$name" = predictions ]; then $(BENCH_PREDICTIONS) || missed="$$missed $$name"; \
	  else $(BIN)/python -m "benchmarks.$$name" || missed="$$missed $$name"; fi; \
	done; if [ -n "$$missed" ]; then echo "missed or failed:$$missed"; exit 1; fi

.PHONY: torture
torture: install ## Repeat the scenario, kill services at random, lose brokers (ONLY=executor, ONLY=analyzer-stream|kills|broker|leaders)
	$(if $(filter analyzer-stream kills broker leaders,$(ONLY)),,@$(BIN)/python -m benchmarks.torture $(if $(ONLY),--only $(ONLY)))
	$(if $(filter all analyzer-stream analyzer,$(or $(ONLY),all)),@$(BIN)/python -m benchmarks.torture_analyzer)
	$(if $(filter all kills monitor,$(or $(ONLY),all)),@$(BIN)/python -m benchmarks.torture_monitor)
	$(if $(filter all broker monitor,$(or $(ONLY),all)),@$(BIN)/python -m benchmarks.broker_outage)
	$(if $(filter all leaders monitor,$(or $(ONLY),all)),@$(BIN)/python -m benchmarks.broker_leaders)

.PHONY: schemas
schemas: install ## Generate the JSON Schemas and the AsyncAPI document from the models
	$(BIN)/python -m schemas.generate

.PHONY: lock
lock: install ## Resolve the requirements anew (the one target that changes requirements/)
	$(COMPILE) pyproject.toml --all-extras --group dev -o requirements/dev.txt
	$(COMPILE) pyproject.toml -c requirements/dev.txt -o requirements/runtime.txt
	$(COMPILE) pyproject.toml --extra docrag -c requirements/dev.txt -o requirements/docrag.txt
	echo hatchling | $(COMPILE) -c requirements/dev.txt -o requirements/build.txt -
	$(UV) --version | awk '{ print "uv==" $$2 }' | $(UV) pip compile --quiet --universal --generate-hashes --no-header -o requirements/uv.txt -

# With no other setting: a wrong one must not keep anybody from cleaning up.
DOWN := env -i PATH="$$PATH" BACKOUT_SETTINGS_FILE=/dev/null
.PHONY: clean
clean: ## Stop what runs here, and remove what was built, measured and cached (.venv stays)
	@for directory in .backout .backout/demo; do \
	  if [ -x $(BIN)/backout ] && [ -d $$directory ]; then $(DOWN) BACKOUT_STATE_DIR=$$directory $(BIN)/backout down; fi; \
	done
	rm -rf .backout .docrag .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
