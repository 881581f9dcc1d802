# Two commands for a newcomer: `make demo` and `make test`. Each makes .venv first; a second call installs nothing.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: demo test faults check format bench install
install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,dev]'
	touch $@

demo: install
	$(BIN)/workbench demo

# A file at a time in each process, the slowest first, and a process more than there are cores, for tests that wait.
# Models are too small to gain from more than one thread.
test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder \
		--numprocesses $$($(BIN)/python -c 'import os; print(min(4, os.cpu_count() + 1))')

# Kills, full disks, lost folders, and what `make test` leaves out: the slow ones, and more cases of what any input must hold for. Many minutes, and a tmpfs where mounting is allowed.
faults: install
	$(BIN)/python -m pytest --timeout 1800 tests/faults
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --timeout 1800 -m 'slow or hypothesis' --hypothesis-profile thorough

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
