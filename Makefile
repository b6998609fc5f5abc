# Two commands are enough: `make run` and `make test`. Everything lands in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/pytest
AT_ONCE := -n 3 --dist worksteal -q  # on two processors: most tests wait for processes

.PHONY: run test test-pure chaos soak bench lint format clean

run: $(VENV)/installed
	@$(BIN)/python main.py

test: $(VENV)/installed-dev
	$(PYTEST) -m "not chaos and not soak" $(AT_ONCE)

# The dashboard, the documentation's blocks and the benchmarks take the same paths in any case: `make test` has them.
test-pure: $(VENV)/installed-dev
	ALGOSIM_PURE_PYTHON=1 $(PYTEST) --ignore-glob "Dashboard/test/*" --ignore tests/test_docs.py --ignore tests/test_benchmarks.py -m "not chaos and not soak" $(AT_ONCE)

chaos: $(VENV)/installed-dev
	$(PYTEST) -m chaos --timeout 3600

soak: $(VENV)/installed-dev
	$(PYTEST) -m soak --timeout 7200

bench: $(VENV)/installed-dev
	$(BIN)/python benchmarks/latency.py

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 …")'
	@echo 'making $(VENV) …'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/installed: requirements.txt pyproject.toml | $(VENV)/bin/python
	@echo 'installing, once: some seconds …'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -e .
	@touch $@

$(VENV)/installed-dev: pyproject.toml $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
