# make demo: everything, on an embedded compendium.
# make test: all tests except the slow ones on a cluster, which make test-slurm runs.
# make bench: speed and memory as ratios, on a GPU if there is one.
# make lint: format, faults, types and spelling.
# make docs: the tables of config/README.md. make lock: the newest versions of all that is needed.
PYTHON ?= python3
CORES ?= 2
BIN := .venv/bin

.PHONY: demo test test-slurm bench rates rehearse lint docs lock

demo: .venv/workflow
	$(BIN)/snakemake --cores $(CORES) --scheduler greedy --prioritize embed --quiet rules host
	@cat results/demo/summary.txt
	@echo "report: $(CURDIR)/results/demo/report.html"

test: .venv/tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder # the long files first

# On a SLURM of its own on this machine; docs/cluster.md says what it needs. The log says what happened in each case.
test-slurm: .venv/tests
	bash -o pipefail -c '{ date +%F; $(BIN)/python -m pytest tests/slurm -m "" --no-header -v -rP; } | tee docs/slurm_tests.txt'

bench: .venv/workflow
	$(BIN)/python tests/benchmarks/bench.py
	$(BIN)/python tests/benchmarks/bench_files.py

# Measures, on small synthetic releases, the rates by which run times are predicted and jobs ask for time.
rates: .venv/workflow
	$(BIN)/python tests/benchmarks/measure_rates.py

# A synthetic release with the shape of LINCS 2020. It says first how much disk space it needs.
rehearse: .venv/workflow
	$(BIN)/python tests/benchmarks/rehearse.py --cores $(CORES)

lint: .venv/tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/mypy scripts/dvgs
	$(BIN)/codespell

.venv/workflow: envs/requirements.lock
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -r envs/requirements.lock
	touch $@

.venv/tests: .venv/workflow envs/requirements-dev.lock
	$(BIN)/python -m pip install --quiet -r envs/requirements-dev.lock
	touch $@

# The tables of config keys, from the schemas.
docs: .venv/workflow
	$(BIN)/python docs/config_table.py

# The lock names torch without a local version, so that the same pin installs CUDA on Linux.
lock:
	$(PYTHON) -m venv .lock
	.lock/bin/pip install --quiet -r envs/requirements.in
	{ echo '# All that the workflow needs, pinned; made from requirements.in by make lock.'; \
	  .lock/bin/pip freeze | sed 's/+cpu//'; } > envs/requirements.lock
	.lock/bin/pip install --quiet -r envs/requirements-dev.in
	{ echo '# What tests and lint need on top, pinned; made from requirements-dev.in by make lock.'; \
	  echo '-r requirements.lock'; \
	  .lock/bin/pip freeze | sed 's/+cpu//' | grep -vxFf envs/requirements.lock; } > envs/requirements-dev.lock
	rm -rf .lock
