# Two commands for a newcomer: `make demo` and `make test`. Each makes .venv first; a second call installs nothing.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: demo real test slow claims faults mutants coverage check format bench install
install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,dev]'
	touch $@

demo: install
	$(BIN)/workbench demo

# The same on a real instruct model, SmolLM2-135M-Instruct, which is fetched once: minutes on two CPU cores.
real: install
	$(BIN)/workbench demo --model SmolLM2 --headless

# A file at a time in each process, the slowest first, and a process more than there are cores, for tests that wait.
# Models are too small to gain from more than one thread.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
PARALLEL := --dist loadfile --no-loadscope-reorder --numprocesses $$($(BIN)/python -c 'import os; print(min(4, os.cpu_count() + 1))')

test: install
	$(PYTEST) $(PARALLEL)

# More cases of what `make test` has one of; .ci/run runs them too.
slow: install
	$(PYTEST) $(PARALLEL) --timeout 1800 -m slow

# The real demo and its claims, on both cores; skips where the model cannot be had. .ci/run runs it too.
claims: install
	$(BIN)/python -m pytest tests/real

# Kills, full disks, lost folders, and many more inputs for what any input must hold for. Many minutes, and a tmpfs where
# mounting is allowed. Prints a table of what was tried, survived and lost; FAULTS=0.1 tries a tenth as often.
faults: install
	$(BIN)/python -m pytest $(PARALLEL) --timeout 1800 tests/faults
	$(PYTEST) $(PARALLEL) --timeout 1800 -m hypothesis --hypothesis-profile thorough

# Changes what decides (losses, split, journal, verdicts) in one small place at a time, and expects a test to fail for each.
mutants: install
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.mutants

# Lines and branches that tests without screens reach, in processes that they start as well.
coverage: install
	rm -rf .coverage .cache/coverage
	OMP_NUM_THREADS=1 $(BIN)/python -m coverage run -m pytest --timeout 1800 tests/unit tests/end_to_end
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --skip-covered --sort cover

check: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: install
	$(BIN)/python -m tests.bench
