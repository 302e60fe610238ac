# `make serve`, `make test`, `make soak`, `make bench`, `make truth`. Each sets up .venv first, once.
#
#   make serve POLICY=my.yaml ARGS='--bind 127.0.0.1:8081'    your policy, your options

PYTHON ?= python3
POLICY ?=
ARGS ?=
BIN := .venv/bin
READY := .venv/.ready
RATIO := $(BIN)/trio-gateway bench --only requests,failover --seconds 1 --rounds 3 --assert-ratio 4
SERVE := $(if $(POLICY),--policy $(POLICY),--demo --policy policies/demo.yaml)

.PHONY: install serve test bench truth soak planted lock clean

serve: $(READY)
	@exec $(BIN)/trio-gateway serve $(SERVE) $(ARGS)

test: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest
	@[ "$$(uname)" != Linux ] || $(RATIO) || { echo "once more, for other work may have disturbed it"; $(RATIO); }

# What a request costs on this machine, beside a plain relay: five minutes.
bench: $(READY)
	@exec $(BIN)/trio-gateway bench $(ARGS)

# Whether the simulator tells the truth: scenarios in virtual time and on real sockets.
# Half an hour, of which this machine should have little else to do.
truth: $(READY)
	@exec $(BIN)/python -m tests.truth $(ARGS)

# Odd worlds by the thousand, until Ctrl-C; seeds that fail go into swarm-failed.txt.
soak: $(READY)
	@exec $(BIN)/python -m tests.swarm soak $(ARGS)

# How many seeds the swarm needs to find bugs that were planted on purpose.
planted: $(READY)
	@exec $(BIN)/python -m tests.swarm.planted $(ARGS)

install: $(READY)

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "trio-gateway needs Python 3.11 or newer; try: make $(or $(MAKECMDGOALS),serve) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv .venv || \
	  { echo "no virtual environment could be made; on Debian: apt-get install python3-venv"; exit 1; }
	@echo "setting up .venv (once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

# Renew the lock: newest versions within pyproject.toml's ranges, for every Python and
# platform at once, with hashes and without an address to download from.
lock:
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/pip install --quiet uv
	.venv/lock/bin/uv pip compile --universal --python-version 3.11 --upgrade --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header --quiet \
	  --group dev --output-file requirements.lock pyproject.toml

clean:
	rm -rf .venv
