# Two commands do everything: `make demo` and `make test`. Each sets up its own virtual environment first.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
INSTALLED := $(VENV)/.installed
READY  := $(VENV)/.ready
DEMO   ?= demo-store
ACCEPTANCE ?= build/acceptance

# A machine without an NVIDIA GPU must not pull gigabytes of CUDA. On Linux the CPU build of torch is asked for
# by name; pip finds it in a find-links folder or index of yours (PIP_FIND_LINKS, PIP_EXTRA_INDEX_URL).
# TORCH=torch==2.13.0 takes whatever build pip prefers.
ifeq ($(shell uname -s)-$(shell command -v nvidia-smi >/dev/null 2>&1 && echo gpu),Linux-)
TORCH ?= torch==2.13.0+cpu
else
TORCH ?= torch==2.13.0
endif

.PHONY: help setup demo test check lint pytest-test pytest-check audit chaos bench gpu simulate interop docs coverage figures clean
help:
	@echo "make demo   embed examples/families.fasta and look at the result"
	@echo "make test   set up, check, and the tests of minutes"
	@echo "make check  everything: the slow tests too, and every pipeline test with a real encoder"
	@echo "make lint   formatting, lint, types, floors"
	@echo "make audit  known vulnerabilities of what is installed"
	@echo "make chaos  break processes, nodes, commits and files, and count the rows"
	@echo "make bench  residues per second beside plain transformers"
	@echo "make gpu    runs, is right, is fast on the NVIDIA GPU here? A report in $(ACCEPTANCE)/"
	@echo "make simulate  the pipeline on 48 GPUs that are only numbers, and a model of 4,096"
	@echo "make interop  ProtSpace, biotrainer, scanpy and cellxgene open what export writes, each in an environment of its own"
	@echo "make docs   these pages, the Python names and the commands as HTML under build/docs"
	@echo "make coverage  lines that the tests reach, in every process; a report, no threshold"
	@echo "make figures  sizes and structure of the source (AGAINST=revision puts another one beside)"
	@echo "make clean  remove the virtual environment and the demo store"

# `make demo` needs the package alone, a third of what the tests need.
setup: $(READY)

$(INSTALLED): pyproject.toml constraints.txt
	@echo "Installing protea_ray and what it needs into $(VENV): a minute or two, 2 GB (most of it PyTorch and Ray)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet "$(TORCH)" || { echo "No CPU build of torch was found. Point pip at PyTorch's CPU wheels (PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS), or run make with TORCH=torch==2.13.0 to accept the default build."; exit 1; }
	$(BIN)/pip install --quiet -c constraints.txt -e .
	@touch $(INSTALLED)

$(READY): $(INSTALLED)
	@echo "Installing what the tests need beside it: 1 GB more"
	$(BIN)/pip install --quiet -c constraints.txt -e ".[report,bio,dev]"
	@touch $(READY)

# the example: protea-ray synth examples/families.fasta -n 300 --seed 1 --families 30 --max-length 600 --decoys 4
demo: $(INSTALLED)
	rm -rf $(DEMO)
	$(BIN)/protea-ray embed examples/families.fasta $(DEMO)
	$(BIN)/protea-ray status $(DEMO)
	$(BIN)/protea-ray query $(DEMO) --nearest "$$(sed -n '1s/^>\([^ ]*\).*/\1/p' examples/families.fasta)" -k 5

# Lint and types beside the tests; one pytest process owns the Ray cluster, the other has all else.
# `python -m tools.house --junit build/tests.xml` says where the seconds went.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadgroup --durations=10 --junitxml=build/tests.xml

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

gpu: setup
	$(BIN)/pip install --quiet -c constraints.txt -e ".[report,quantize]"
	$(BIN)/python -m protea_ray.acceptance $(ACCEPTANCE) --device cuda

simulate: setup
	$(BIN)/python -m benchmarks.cluster.simulate --json simulated.json
	$(BIN)/python -m benchmarks.cluster.foretell --measured simulated.json

interop: setup
	$(BIN)/python -m tools.interop_check

docs: setup
	$(BIN)/python -m tools.cli_page
	$(BIN)/python -m sphinx -q -W --keep-going -c docs . build/docs

# of the tests of minutes; TESTS=tests/store reports a part. The files of all processes lie in build/coverage until they
# are joined; Ray's workers do not run in this folder, so they are told where
coverage: export COVERAGE_FILE := $(CURDIR)/build/coverage/data
coverage: setup
	rm -rf build/coverage && mkdir -p build/coverage
	-$(BIN)/python -m coverage run -m pytest -m "not slow and not chaos" $(TESTS)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report
	$(BIN)/python -m coverage html --quiet -d build/coverage/html

figures: setup
	$(BIN)/python -m tools.house $(if $(AGAINST),--against $(AGAINST))

clean:
	rm -rf $(VENV) $(DEMO)
