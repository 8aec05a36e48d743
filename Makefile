# Two commands do everything: `make demo` and `make test`. Each sets up its own virtual environment first.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
DEMO   ?= demo-store

# A machine without an NVIDIA GPU must not pull gigabytes of CUDA. On Linux the CPU build of torch is asked for
# by name; pip finds it in a find-links folder or index of yours (PIP_FIND_LINKS, PIP_EXTRA_INDEX_URL).
# TORCH=torch==2.13.0 takes whatever build pip prefers.
ifeq ($(shell uname -s)-$(shell command -v nvidia-smi >/dev/null 2>&1 && echo gpu),Linux-)
TORCH ?= torch==2.13.0+cpu
else
TORCH ?= torch==2.13.0
endif

.PHONY: help setup demo test check lint pytest-test pytest-check audit chaos bench simulate clean
help:
	@echo "make demo   embed examples/families.fasta and look at the result"
	@echo "make test   set up, check, and the tests of minutes"
	@echo "make check  everything: the slow tests too, and every pipeline test with a real encoder"
	@echo "make lint   formatting, lint, types, floors"
	@echo "make audit  known vulnerabilities of what is installed"
	@echo "make chaos  break processes, nodes, commits and files, and count the rows"
	@echo "make bench  residues per second beside plain transformers"
	@echo "make simulate  the pipeline on 48 GPUs that are only numbers, and a model of 4,096"
	@echo "make clean  remove the virtual environment and the demo store"

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet "$(TORCH)" || { echo "No CPU build of torch was found. Point pip at PyTorch's CPU wheels (PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS), or run make with TORCH=torch==2.13.0 to accept the default build."; exit 1; }
	$(BIN)/pip install --quiet -c constraints.txt -e ".[report,bio,dev]"
	@touch $(READY)

demo: setup
	rm -rf $(DEMO)
	$(BIN)/protea-ray embed examples/families.fasta $(DEMO)
	$(BIN)/protea-ray status $(DEMO)
	$(BIN)/protea-ray query $(DEMO) --nearest "$$(sed -n '1s/^>\([^ ]*\).*/\1/p' examples/families.fasta)" -k 5

# Lint and types beside the tests; one pytest process owns the Ray cluster, the other has all else.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadgroup --durations=10

test: setup
	$(MAKE) --no-print-directory -j2 --output-sync=target lint pytest-test

check: setup
	$(MAKE) --no-print-directory -j2 --output-sync=target lint pytest-check

pytest-test: setup
	$(PYTEST) -m "not slow"

pytest-check: setup
	$(PYTEST)

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

audit: setup
	$(BIN)/python -m tools.audit

chaos: setup
	$(BIN)/python -m pytest -m chaos -n 2 --dist loadgroup tests/chaos

bench: setup
	$(BIN)/python -m benchmarks.encoder

simulate: setup
	$(BIN)/python -m benchmarks.cluster.simulate --json simulated.json
	$(BIN)/python -m benchmarks.cluster.foretell --measured simulated.json

clean:
	rm -rf $(VENV) $(DEMO)
