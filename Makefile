# Every target works on a fresh clone: what it needs, it sets up first. `make help` lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/ready
TREE   := build/tree

# Without bytecode every import costs twice, in each of the many processes of a run.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup docs run stop test test-long test-exhaustive test-all test-cluster package lint format lock catalogue bench bench-page soak clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

setup: $(READY) ## Make .venv from requirements.lock

$(READY): requirements.lock requirements-setup.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "Penstock needs Python 3.11 to 3.13; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make setup PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "This Python cannot make a virtual environment. On Debian or Ubuntu: apt install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-setup.lock
	$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

run: setup ## Release a model of the built-in example and leave it served on loopback
	$(BIN)/penstock example example
	$(BIN)/penstock run example/project.yaml

stop: ## End what `make run` left serving
	$(BIN)/penstock stop example/project.yaml

# Tests wait for processes and clocks a sixth of their time, so there is a worker more than cores. Waiting OpenMP
# threads would spin beside them.
TESTS := OMP_WAIT_POLICY=PASSIVE $(BIN)/pytest -n $$(($$(getconf _NPROCESSORS_ONLN) + 1)) --dist loadgroup --no-loadscope-reorder

test: setup ## Run the tests: every behaviour, one canary of each kind on real processes
	$(TESTS) -m "not long and not exhaustive"

test-long: setup feast ## Run what `make test` leaves out: whole walks, the other drills and every real table
	$(TESTS) -m long

test-exhaustive: setup ## Thousands of sequences of commands, and commands ended at many effects; half an hour
	$(TESTS) -m exhaustive

test-all: test test-long test-exhaustive ## Run every test that can run here

test-cluster: setup ## The whole journey on the cluster of KUBECONFIG (docs/existing-cluster.md)
	@test -n "$(KUBECONFIG)" || { echo "Say on which cluster: make test-cluster KUBECONFIG=FILE"; exit 1; }
	@command -v kubectl >/dev/null || { echo "kubectl is not here"; exit 1; }
	KUBECONFIG="$(KUBECONFIG)" PENSTOCK_TEST_CLUSTER=1 $(BIN)/pytest -vv tests/cluster

# What the extra dev asks for keeps some of the others up, so the extra laptop has an environment of its own.
.PHONY: test-oldest test-oldest-units test-oldest-example
test-oldest: test-oldest-units test-oldest-example ## Run the quick unit tests, and the example, with the oldest dependencies that pyproject.toml allows; half an hour

OLDEST := build/oldest
define oldest # extra, environment
	$(BIN)/uv pip compile --quiet --python-version 3.11 --upgrade --resolution lowest-direct --extra $(1) --no-header \
	  pyproject.toml --output-file $(2).txt
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(2)
	$(BIN)/uv pip sync --quiet --python $(2)/bin/python $(2).txt requirements-setup.lock
	$(BIN)/uv pip install --quiet --python $(2)/bin/python --no-deps --no-build-isolation --editable .
endef

test-oldest-units: setup | build
	$(call oldest,dev,$(OLDEST))
	OMP_WAIT_POLICY=PASSIVE $(OLDEST)/bin/pytest -W ignore::ImportWarning -n auto --dist loadgroup --no-loadscope-reorder -m "not slow and not long and not exhaustive" tests/unit

test-oldest-example: setup | build
	$(call oldest,laptop,$(OLDEST)-laptop)
	rm -rf $(OLDEST)-example
	$(OLDEST)-laptop/bin/penstock example $(OLDEST)-example --rows 6000
	$(OLDEST)-laptop/bin/penstock run $(OLDEST)-example/project.yaml --set deployment.port=0 --set training.trials=2
	$(OLDEST)-laptop/bin/penstock compile $(OLDEST)-example/project.yaml -o $(OLDEST)-example/release.yaml
	$(OLDEST)-laptop/bin/penstock stop $(OLDEST)-example/project.yaml

# Feast does not go with requirements.lock: docs/feast.md.
FEAST := build/feast
.PHONY: feast
feast: $(FEAST)/ready ## Make build/feast, an environment with Feast and Penstock by the lock of the image `feast`

$(FEAST)/ready: images/locks/feast.txt requirements-setup.lock | setup build
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(FEAST)
	$(BIN)/uv pip sync --quiet --compile-bytecode --python $(FEAST)/bin/python --require-hashes images/locks/feast.txt requirements-setup.lock
	$(BIN)/uv pip install --quiet --python $(FEAST)/bin/python --no-deps --no-build-isolation --editable .
	@touch $@

package: setup ## Build wheel and sdist into dist/, and try the wheel as a stranger would; a minute
	$(BIN)/python scripts/package.py

# With what was tested: whoever installs later may get later releases of them.
.PHONY: sbom release-prepare release-check
sbom: setup | build ## Write build/penstock.cdx.json (CycloneDX): what an install of the extra laptop brings
	$(BIN)/uv pip compile --quiet --python-version 3.11 --extra laptop --constraint requirements.lock --no-header \
	  pyproject.toml --output-file build/laptop.txt
	$(BIN)/cyclonedx-py requirements build/laptop.txt --pyproject pyproject.toml --output-reproducible --of JSON -o build/penstock.cdx.json

RELEASE ?=
TAG     ?= v$(VERSION)
release-prepare: ## Write version RELEASE=X.Y.Z and the date wherever they stand (docs/releasing.md)
	$(PYTHON) scripts/release_version.py prepare "$(RELEASE)"

release-check: | build ## Say whether TAG=vX.Y.Z may be released; write build/notes.md from the changelog
	$(PYTHON) scripts/release_version.py check "$(TAG)" --notes build/notes.md

lint: setup tree ## Check style, types, layers, and that generated files are current
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=$(TREE) $(BIN)/mypy -p penstock
	cd $(TREE) && $(CURDIR)/$(BIN)/lint-imports --config $(CURDIR)/pyproject.toml
	$(BIN)/python scripts/catalogue.py --check
	$(BIN)/python scripts/component_metadata.py --check
	$(BIN)/python scripts/decision_list.py --check
	$(BIN)/python scripts/dashboard.py --check
	$(BIN)/python scripts/experiment_objects.py --check
	$(BIN)/python scripts/engine_objects.py --check
	$(BIN)/python scripts/alert_table.py --check
	$(BIN)/python scripts/image_locks.py --check
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/codespell
	$(BIN)/python scripts/house_words.py

docs: setup ## Build the guides and the API reference into build/docs; any warning fails
	$(BIN)/sphinx-build --fresh-env --fail-on-warning --keep-going --nitpicky --quiet --conf-dir docs/site . build/docs
	@echo "The site begins at build/docs/index.html"

# The checkers read a tree, not setuptools' mapping: give them the one that an install has.
.PHONY: tree
tree:
	@rm -rf $(TREE) && mkdir -p $(TREE)/penstock
	@cp -R penstock/. components pipelines $(TREE)/penstock/

format: setup ## Rewrite the code in the house style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: pictures
pictures: setup ## Take the tutorial's pictures (docs/images) of a real run, with Chromium; 3 minutes
	$(BIN)/python scripts/tutorial_pictures.py

catalogue: setup ## Write the documents that are generated from the code
	$(BIN)/python scripts/catalogue.py
	$(BIN)/python scripts/component_metadata.py
	$(BIN)/python scripts/decision_list.py
	$(BIN)/python scripts/dashboard.py
	$(BIN)/python scripts/experiment_objects.py
	$(BIN)/python scripts/engine_objects.py
	$(BIN)/python scripts/alert_table.py

# Every target below that begins with bench-, in this order.
BENCHES := $(filter-out bench-page,$(shell sed -n 's/^\(bench-[a-z]*\):.*/\1/p' $(firstword $(MAKEFILE_LIST))))
.PHONY: $(BENCHES)
QUICK ?=

# Not $(MAKE) itself, which `make --dry-run` would run, and with it what stands beside it.
ALONE = $(MAKE) --no-print-directory

# One that misses a target must not hide the others; one that ends in an error must not leave the
# figures of an earlier run to the page.
bench: setup | build ## Run every benchmark, write docs/benchmarks.md, fail if a target was missed; 4 hours
	@failed=; for name in $(BENCHES); do \
	  rm -f build/$$name.json; \
	  $(ALONE) $$name || failed="$$failed $$name"; \
	done; \
	$(BIN)/python benchmarks/page.py || exit 1; \
	test -z "$$failed" || { echo "A target was missed, or the benchmark ended in an error:$$failed"; exit 1; }

bench-page: setup ## Write docs/benchmarks.md from what the benchmarks measured
	$(BIN)/python benchmarks/page.py

bench-run: setup | build ## `make run` step by step beside kfp.local alone: time, CPU, imports; 10 minutes
	$(BIN)/python benchmarks/bench_run.py --json build/bench-run.json

bench-release: setup | build ## CPU of a release on Adult against one bare script that reaches the same score
	$(BIN)/python benchmarks/bench_release.py --json build/bench-release.json

bench-ingest: setup | build ## ingest against DuckDB and polars, at 1 and 10 million rows
	$(BIN)/python benchmarks/bench_ingest.py --json build/bench-ingest.json

bench-sql: setup | build ## ingest of a query through Arrow against SQLAlchemy row by row; 3 minutes
	$(BIN)/python benchmarks/bench_sql.py --json build/bench-sql.json

bench-validate: setup | build ## 25 expectations on a million rows against plain Great Expectations
	$(BIN)/python benchmarks/bench_validate.py --json build/bench-validate.json

bench-compile: setup | build ## Seconds and size of a compiled pipeline
	$(BIN)/python benchmarks/bench_compile.py --json build/bench-compile.json

bench-canary: setup | build ## Right and wrong decisions of a canary, simulated, beside its peers; half an hour, QUICK=1 a minute
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_canary.py $(if $(QUICK),--quick) --json build/bench-canary.json

bench-gate: setup | build ## How often intervals hold and the gate errs, simulated; half an hour, QUICK=1 a minute
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_gate.py $(if $(QUICK),--quick) --json build/bench-gate.json

bench-defaults: setup | build ## What the default gate releases of simulated classifiers, by base rate; 3 minutes
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_defaults.py --json build/bench-defaults.json

bench-serving: setup | build ## The server against mlflow, MLServer, kserve and ONNX Runtime, in 15 minutes
	$(BIN)/python benchmarks/bench_serving.py --json build/bench-serving.json

bench-scale: setup | build ## Memory and CPU of each step at 1 and 10 million rows beside others; hours, FOLDER=... to go on after an end, QUICK=1 a few minutes
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_scale.py $(if $(QUICK),--quick) $(if $(FOLDER),--folder $(FOLDER)) --json build/bench-scale.json

bench-wide: setup | build ## How the cost of each step grows from 500 to 2,000 columns, beside one bare fit
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_wide.py --json build/bench-wide.json

bench-split: setup | build ## Whether the holdout predicts how fresh rows do where rows repeat; 4 minutes
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_split.py --json build/bench-split.json

bench-explain: setup | build ## SHAP values beside the library shap: CPU with imports, and the values; 5 minutes
	$(BIN)/python benchmarks/bench_explain.py --json build/bench-explain.json

MINUTES ?= 10
soak: setup | build ## Two services under load, a release a minute, kills at random: MINUTES=10
	$(BIN)/python benchmarks/soak.py --minutes $(MINUTES) --json build/bench-soak.json

bench-monitor: setup | build ## False alarms, delay and cost of the monitor, beside Evidently and NannyML; 20 minutes, QUICK=1 a minute
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_monitor.py $(if $(QUICK),--quick) --json build/bench-monitor.json

bench-estimates: setup | build ## Accuracy estimated before labels come, on real rows, beside NannyML; 3 minutes
	$(BIN)/python benchmarks/bench_estimates.py --json build/bench-estimates.json

bench-captures: setup | build ## What a store that is away costs users, and whether each row is counted; 25 minutes, QUICK=1 two
	$(BIN)/python benchmarks/bench_captures.py $(if $(QUICK),--quick) --json build/bench-captures.json

bench-guardian: setup | build ## How often a healthy champion is returned, and how late a harmful one, simulated; half an hour
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_guardian.py --json build/bench-guardian.json

bench-experiment: setup | build ## False winners and power of experiments read after every user, simulated; 5 minutes, QUICK=1 a half
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_experiment.py $(if $(QUICK),--quick) --json build/bench-experiment.json
bench-recall: setup | build ## Recall of former champions beside retraining, where regimes come back; 10 minutes, QUICK=1 two
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench_recall.py $(if $(QUICK),--quick) --json build/bench-recall.json

bench-score: setup | build ## Batch scoring beside bare ONNX Runtime, scikit-learn and MLflow's pyfunc; 10 minutes
	$(BIN)/python benchmarks/bench_score.py --json build/bench-score.json

bench-slices: setup | build ## 50 slices of a million rows against pandas, scikit-learn and a bootstrap, and fairlearn
	$(BIN)/python benchmarks/bench_slices.py --json build/bench-slices.json

build:
	@mkdir -p $@

lock: setup ## Resolve requirements.lock again from pyproject.toml
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --all-extras \
	  --no-header pyproject.toml --output-file requirements.lock
	printf 'uv\nsetuptools>=77\n' | $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	  --no-header - --output-file requirements-setup.lock
	$(BIN)/python scripts/image_locks.py
	$(BIN)/python scripts/image_locks.py --wheels

include images/images.mk

# -- manifests and local clusters --------------------------------------------------------------------
.PHONY: manifests-check cluster-up cluster-table cluster-diagnosis cluster-down
CLUSTER ?= kind
CRDS    ?=
STRICT  ?=

manifests-check: setup build/crds ## Build every overlay; check it by strict schemas and policies
	$(BIN)/shellcheck --external-sources scripts/*.sh
	PYTHONPATH=scripts $(BIN)/python -m manifests_check --crds build/crds $(addprefix --crds ,$(CRDS)) $(STRICT)

.PHONY: chart
chart: setup | build ## Write build/chart/penstock, a Helm chart of the production overlay (docs/gitops.md)
	$(BIN)/python scripts/chart.py

build/crds: manifests/versions.env scripts/manifests_crds.sh | build
	@rm -rf $@
	@scripts/manifests_crds.sh $@ || echo "The definitions could not be fetched: what they describe stays unchecked."

cluster-up: ## Make a local cluster with everything on it: CLUSTER=kind or minikube
	scripts/cluster.sh up $(CLUSTER)

cluster-table: ## Put TABLE=FILE (at most 1 MB) where the steps of its pipelines reach it
	scripts/cluster_table.sh $(if $(filter minikube,$(CLUSTER)),penstock,kind-penstock) "$(TABLE)"

cluster-diagnosis: ## Say what of it is not ready, and why
	scripts/cluster.sh diagnose $(CLUSTER)

cluster-down: ## Take it away again
	scripts/cluster.sh down $(CLUSTER)

clean: ## Remove what the other targets made
	rm -rf $(VENV) build
