# The container images: docs/images.md.
DOCKER           ?= docker
BASE             ?= python:3.11-slim-bookworm
BUILD_FLAGS      ?=
PLATFORMS        ?= linux/amd64,linux/arm64
KIND_CLUSTER     ?= penstock
MINIKUBE_PROFILE ?= penstock
IMAGES           := data train deploy serving monitor score mlflow
VERSION          := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
REVISION          = $(shell git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null)
REFERENCES       := $(IMAGES:%=penstock/%:$(VERSION))
BUILD             = build --file images/Dockerfile --build-arg BASE=$(BASE) \
                    --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) $(BUILD_FLAGS)
# Digest of what an image installs, as images/install reads it: of its lock, or of its locks one after the other.
locked            = --build-arg LOCK=sha256:$(shell cat $(patsubst %,images/locks/%.txt,$(subst -, ,$(1))) \
                    | { sha256sum 2>/dev/null || shasum -a 256; } | sed 's/ .*//')
# Without the values of build arguments: an address of an index may hold a password.
PROVENANCE       := --provenance=mode=min

.PHONY: images push push-all-platforms kind-load minikube-load images-sizes images-sbom images-scan images-reproduced test-images lock-images

# What is missing is said before the minutes that the images take.
.PHONY: need-engine need-buildx need-registry need-kind need-minikube need-scanner
missing = { echo "$(1)"; exit 1; }

need-engine:
	@command -v $(DOCKER) >/dev/null || $(call missing,There is no $(DOCKER) here: see https://docs.docker.com/engine/install or name another client by DOCKER=.)

need-buildx: need-engine
	@$(DOCKER) buildx version >/dev/null 2>&1 || $(call missing,$(DOCKER) has no buildx: see https://github.com/docker/buildx.)

need-registry:
	@test -n "$(REGISTRY)" || $(call missing,Say where to: REGISTRY=registry.internal:5000/ml)

need-kind:
	@command -v kind >/dev/null || $(call missing,There is no kind here: see https://kind.sigs.k8s.io.)

need-minikube:
	@command -v minikube >/dev/null || $(call missing,There is no minikube here: see https://minikube.sigs.k8s.io.)

need-scanner:
	@command -v trivy >/dev/null || command -v grype >/dev/null || command -v osv-scanner >/dev/null || \
	  $(call missing,Nothing was scanned: install trivy (https://trivy.dev) or grype (https://github.com/anchore/grype) or osv-scanner (https://github.com/google/osv-scanner).)

images: $(IMAGES:%=image-%) ## Build the container images; BASE=image@sha256:... names their base

image-%: need-engine
	$(DOCKER) $(BUILD) $(call locked,$*) --target $* --tag penstock/$*:$(VERSION) .

push: need-registry setup images ## Push them to REGISTRY=..., and name their digests in images/digests.json
	$(BIN)/python scripts/image_push.py "$(REGISTRY)" --docker $(DOCKER)

push-all-platforms: need-registry need-buildx ## Build for PLATFORMS by buildx and push to REGISTRY=..., tagged with the version
	$(foreach image,$(IMAGES),$(DOCKER) buildx $(BUILD) $(call locked,$(image)) $(PROVENANCE) --platform $(PLATFORMS) \
	  --target $(image) --push --tag $(REGISTRY)/$(image):$(VERSION) . &&) true

kind-load: need-kind images ## Load them into the kind cluster KIND_CLUSTER
	kind load docker-image $(REFERENCES) --name $(KIND_CLUSTER)

minikube-load: need-minikube images ## Load them into the minikube profile MINIKUBE_PROFILE
	for image in $(REFERENCES); do minikube --profile $(MINIKUBE_PROFILE) image load $$image || exit 1; done

images-sizes: setup images | build ## What the packages of each weigh, beside what they may
	$(BIN)/python benchmarks/image_sizes.py --docker $(DOCKER) --json build/image-sizes.json \
	  $(foreach image,$(IMAGES),$(image)=penstock/$(image):$(VERSION))

images-sbom: setup images ## Write build/sbom/*.json (CycloneDX) of what is in each
	$(BIN)/python scripts/image_sbom.py $(REFERENCES) --docker $(DOCKER)

images-reproduced: $(IMAGES:%=reproduced-%) ## Build each once more, from nothing: its layers must be the same

reproduced-%: setup image-%
	$(DOCKER) $(BUILD) --no-cache $(call locked,$*) --target $* --tag penstock/$*:again .
	$(BIN)/python scripts/image_layers.py penstock/$*:$(VERSION) penstock/$*:again --docker $(DOCKER)

# A folder that scripts/offline_advisories.py wrote, for osv-scanner where its service is out of reach.
ADVISORIES       ?=

images-scan: need-scanner images ## Look for known vulnerabilities with trivy, grype or osv-scanner, whichever is installed
	@for image in $(REFERENCES); do \
	  if command -v trivy >/dev/null; then trivy image --exit-code 1 --ignore-unfixed $$image; \
	  elif command -v grype >/dev/null; then grype --only-fixed --fail-on high docker:$$image; \
	  else osv-scanner scan image $(ADVISORIES:%=--offline-vulnerabilities --local-db-path=%) $$image; fi || failed=1; \
	done; exit $${failed:-0}

test-images: setup images image-train-boosting image-feast ## Run each component, and the server, in its image
	OMP_WAIT_POLICY=PASSIVE $(BIN)/pytest tests/image

lock-images: setup ## Derive images/locks from requirements.lock
	$(BIN)/python scripts/image_locks.py
	$(BIN)/python scripts/image_locks.py --wheels
