# SafeRouter. `make run` starts a gateway on the mock attester; `make test` proves it works.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: run test test-vm check docs vectors web bench soak soak-faults foreign clean
.DELETE_ON_ERROR:

run: $(VENV)/gateway.stamp
	@exec $(BIN)/saferouter serve --insecure-mock --demo

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest

# Boots the packaged gateway in a virtual machine that has a /dev/sev-guest; see tests/vm/README.md.
test-vm: $(VENV)/dev.stamp
	@$(BIN)/python -m tests.vm.image
	@$(BIN)/python -m pytest -s -m vm tests/vm || { tail -n 60 .vm/serial.log; exit 1; }

check: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Makes the test vectors again from their fixed seeds: a difference fails.
vectors: $(VENV)/dev.stamp
	$(BIN)/python tests/vectors/generate.py --check

# Writes the pages that tests make: what can be said to whom, and which test shows which requirement.
docs: $(VENV)/dev.stamp
	$(BIN)/python -m tests.docs

web:
	$(PYTHON) verifier-web/build.py

# Beside LiteLLM, Portkey and nginx, into bench/results; QUICK=1 for a few minutes. Needs cc; the peers go into .bench.
bench: $(VENV)/dev.stamp
	$(BIN)/python -m tests.bench $(if $(QUICK),--quick)

# The load of tests/test_load.py at full size: tens of minutes.
soak: $(VENV)/dev.stamp
	SAFEROUTER_LOAD_CALLS=20000 SAFEROUTER_LOAD_KILLS=20 $(BIN)/python -m pytest tests/test_load.py

# Every fault of tests/test_faults.py 10,000 times: an hour or two.
soak-faults: $(VENV)/dev.stamp
	SAFEROUTER_FAULT_REPEATS=10000 $(BIN)/python -m pytest tests/test_faults.py

# Clients of other makers, installed into .foreign and run against a gateway; writes docs/clients.md. Minutes, and the network.
foreign: $(VENV)/dev.stamp
	$(BIN)/python -m tests.foreign.run

clean:
	rm -rf $(VENV) .vm .bench .foreign dist .mypy_cache .ruff_cache .pytest_cache

$(VENV)/python.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "SafeRouter needs Python 3.11 or later: $(PYTHON) is older. Try: make PYTHON=python3.12"; exit 1; }
	@echo "Making the environment in $(VENV) (once)..."
	@$(PYTHON) -m venv $(VENV)
	@touch $@

# Every package is pinned by hash.
$(VENV)/%.stamp: deploy/lock/%.txt pyproject.toml $(VENV)/python.stamp
	@$(PIP) install --require-hashes -r $<
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@
