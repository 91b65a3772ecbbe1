# One command each: `make bench` and `make test` set up what they need, once.
PYTHON ?= python3
VENV ?= .venv
OPTIMIZER ?= adam
ARGS ?=
PRESET ?= quick
# Where to find a torch without CUDA, e.g. TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
BIN = $(VENV)/bin
TORCH ?= 2.13.0
OTHER ?= ../gradbench-torch-$(TORCH)

.PHONY: bench test proof coverage browser accept figure3 paper lint expectations overhead speed versions clean

bench: $(VENV)/.installed
	$(BIN)/pytest suites $(foreach spec,$(OPTIMIZER),'--optimizer=$(spec)') $(ARGS)

test: lint
	$(BIN)/pytest -q -n auto --dist=worksteal $(ARGS)

# What make test leaves out for its length: every case at standard and paper size with its table,
# coverage at hundreds of repetitions, cheats, clusters, signals in every combination.
proof: $(VENV)/.installed
	$(BIN)/pip install -q -e '.[optax,tensorboard,wandb,mlflow]' -c constraints.txt
	$(BIN)/pytest -q -n auto --dist=worksteal tests -m proof $(ARGS)
	$(BIN)/python benchmarks/proof.py quick standard paper > benchmarks/proof.md

# Which branches make test takes, a line per module; runs that tests start are counted too.
coverage: $(VENV)/.installed
	$(BIN)/pip install -q -e '.[coverage]' -c constraints.txt
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q -n auto --dist=worksteal $(ARGS)
	$(BIN)/coverage combine -q
	$(BIN)/coverage report --sort=cover

# The HTML report in a headless Chromium; BROWSER=path where it is not on the path.
browser: $(VENV)/.installed
	$(BIN)/pip install -q -e '.[browser]' -c constraints.txt
	$(BIN)/pytest -q tests/report -m browser $(ARGS)

# What a release must live through, in environments of their own that pip fills from the registry:
# the commands of README and docs, the pages that they write, the workflow, published optimizers.
accept: $(VENV)/.installed
	$(BIN)/pip install -q -e '.[browser]' -c constraints.txt
	$(BIN)/pytest -q tests -m accept --durations=20 $(ARGS)

# Figure 3 at its own size, hours; goes on where it stopped. ARGS=--minutes=60
figure3: $(VENV)/.installed
	$(BIN)/python benchmarks/figure3.py $(ARGS)

# docs/paper.md, from what is measured; ARGS=ROW measures one again.
paper: $(VENV)/.installed
	$(BIN)/python benchmarks/paper $(ARGS)

lint: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The four standard optimizers on every case of a preset, and the expectations that follow.
expectations: $(VENV)/.installed
	$(BIN)/pytest suites --gb-preset=$(PRESET) --gb-gate=record --gb-seeds=100 --gb-probes=none --optimizer=sgd \
		--optimizer=sgd:momentum=0.9 --optimizer=adam '--optimizer=adam:betas=(0.0,0.0),eps=1e-20'
	$(BIN)/python benchmarks/expectations.py reports/latest > benchmarks/expectations-$(PRESET).md

overhead: $(VENV)/.installed
	$(BIN)/python benchmarks/loop_overhead.py

# The figures of docs/speed.md, on a machine with nothing else to do: three quarters of an hour.
speed: overhead
	$(BIN)/python benchmarks/quick.py
	for what in quick many scaling; do $(BIN)/python benchmarks/stacking.py $$what; done

# The quick preset and all tests under another torch, or Python, in an environment of its own:
# make versions TORCH=2.6.0 PYTHON=python3.12. Its results stand in docs/versions.md.
versions:
	$(PYTHON) -m venv $(OTHER)
	$(OTHER)/bin/pip install -q torch==$(TORCH)
	grep -v '^torch==' constraints.txt > $(OTHER)/constraints.txt
	$(OTHER)/bin/pip install -q -e '.[dev]' -c $(OTHER)/constraints.txt
	$(OTHER)/bin/pytest suites --optimizer=adam
	$(OTHER)/bin/pytest -q

# The stamp is newer than what it was made from, so a second call installs nothing.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -e '.[dev]' -c constraints.txt
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
