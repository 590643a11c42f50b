# `make` alone lists the targets. Each one sets up what it needs: an environment in .venv and, when run as root, the
# system packages. PYTHON=python3.12 chooses the interpreter, ARGS="..." goes to the program that a target starts.

.DEFAULT_GOAL := help
PYTHON ?=
ARGS ?=
PY := .venv/bin/python
# Programs are started by the hundred: with this set, as images for containers often do, each would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup run check test contact interop networks bench bench-sim kills week mutants scenarios protos wheel clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## the environment in .venv; the other targets call it
	@.ci/setup $(PYTHON)

# On ports that are free, so that nothing else that runs is in its way. From the environment: what is typed in ARGS goes before it.
run: setup ## a server node that keeps its state in .p2pkad, with health and metrics
	@P2PKAD_LISTEN=/ip4/0.0.0.0/tcp/0 P2PKAD_HTTP=127.0.0.1:0 P2PKAD_ALLOW_ZERO_PEERS=true \
		P2PKAD_DATA_DIR=.p2pkad P2PKAD_VALIDATOR=demo=opaque exec .venv/bin/p2pkad run $(ARGS)

check: setup ## ruff, mypy, tests, coverage: what needs nothing but this checkout
	@$(PY) .ci/verify.py check

test: setup ## the same, the wheel, attacks on a stock py-libp2p host, real go, rust and js peers where their tools are
	@$(PY) .ci/verify.py test

contact: setup ## p2pkad nodes and a real go-libp2p peer in several processes: who gets what from whom
	@$(PY) interop/contact.py $(ARGS)

interop: setup ## go, rust, js and p2pkad peers in every role: who understands whom, in tables. ARGS=--list
	@$(PY) interop/run.py $(ARGS)
	$(if $(ARGS),,@$(PY) interop/networks.py)
	$(if $(ARGS),,@$(PY) interop/kad_dht.py)

networks: setup ## four networks of twenty peers, five of each: what they read of each other, also when a third is killed
	@$(PY) interop/networks.py $(ARGS)

bench: setup ## measure it on this machine, side by side with py-libp2p
	@$(PY) bench/run.py $(ARGS)

mutants: setup ## break the product on purpose, in a copy: whether its tests notice. ARGS=--help
	@$(PY) -m tests.mutants $(ARGS)

bench-sim: setup ## 1,000 nodes in virtual time: speed, memory, how well they find things
	@$(PY) bench/sim.py $(ARGS)

kills: setup ## kill -9 a node while it puts and provides, fifty times: whether anything acknowledged is lost
	@$(PY) bench/kills.py $(ARGS)

week: setup ## a simulated week of nodes that come and go, everything asked for every hour; takes long
	@$(PY) bench/week.py $(ARGS)

scenarios: setup ## behaviour that no test holds yet, or that no mutant shows to be held
	@$(PY) tests/scenarios.py

protos: setup ## generate p2pkad/wire/pb from protos/
	@$(PY) -m grpc_tools.protoc -Ip2pkad/wire/pb=protos --python_out=. --pyi_out=. \
		$(patsubst protos/%,p2pkad/wire/pb/%,$(wildcard protos/*.proto))

wheel: setup ## build the wheel and try it in an empty environment
	@$(PY) .ci/wheel.py

clean: ## remove what the other targets made, the key of `make run` excepted
	@rm -rf .venv .cache .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	@find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
