# The container images: docs/images.md.
DOCKER           ?= docker
BASE             ?= python:3.11-slim-bookworm
BUILD_FLAGS      ?=
PLATFORMS        ?= linux/amd64,linux/arm64
KIND_CLUSTER     ?= penstock
MINIKUBE_PROFILE ?= penstock
IMAGES           := data train deploy serving mlflow
VERSION          := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
REVISION          = $(shell git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null)
REFERENCES       := $(IMAGES:%=penstock/%:$(VERSION))
BUILD             = build --file images/Dockerfile --build-arg BASE=$(BASE) \
                    --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) $(BUILD_FLAGS)

.PHONY: images push push-all-platforms kind-load minikube-load images-sizes images-sbom images-scan test-images lock-images

images: $(IMAGES:%=image-%) ## Build the container images; BASE=image@sha256:... names their base

image-%:
	$(DOCKER) $(BUILD) --target $* --tag penstock/$*:$(VERSION) .

push: setup images ## Push them to REGISTRY=..., and name their digests in images/digests.json
	@test -n "$(REGISTRY)" || { echo "Say where to: make push REGISTRY=registry.internal:5000/ml"; exit 1; }
	$(BIN)/python scripts/image_push.py "$(REGISTRY)" --docker $(DOCKER)

push-all-platforms: ## Build for PLATFORMS by buildx and push to REGISTRY=..., tagged with the version
	@test -n "$(REGISTRY)" || { echo "Say where to: make push-all-platforms REGISTRY=registry.internal:5000/ml"; exit 1; }
	for image in $(IMAGES); do \
	  $(DOCKER) buildx $(BUILD) --platform $(PLATFORMS) --target $$image --push --tag $(REGISTRY)/$$image:$(VERSION) . || exit 1; \
	done

kind-load: images ## Load them into the kind cluster KIND_CLUSTER
	kind load docker-image $(REFERENCES) --name $(KIND_CLUSTER)

minikube-load: images ## Load them into the minikube profile MINIKUBE_PROFILE
	for image in $(REFERENCES); do minikube --profile $(MINIKUBE_PROFILE) image load $$image || exit 1; done

images-sizes: images image-everything ## Size of each beside one image with everything
	@for image in everything $(IMAGES); do \
	  $(DOCKER) image inspect --format "$$image {{.Size}}" penstock/$$image:$(VERSION) || exit 1; \
	done | awk '{ if (!whole) whole = $$2; printf "%-12s %6.0f MB  %3.0f %%\n", $$1, $$2 / 1e6, 100 * $$2 / whole }'

images-sbom: setup images ## Write build/sbom/*.json (CycloneDX) of what is in each
	$(BIN)/python scripts/image_sbom.py $(REFERENCES) --docker $(DOCKER)

images-scan: images ## Look for known vulnerabilities with trivy or grype, whichever is installed
	@if command -v trivy >/dev/null; then for image in $(REFERENCES); do trivy image --exit-code 1 --ignore-unfixed $$image || failed=1; done; \
	elif command -v grype >/dev/null; then for image in $(REFERENCES); do grype --only-fixed --fail-on high docker:$$image || failed=1; done; \
	else echo "Nothing was scanned: install trivy (https://trivy.dev) or grype (https://github.com/anchore/grype)."; exit 1; fi; \
	exit $${failed:-0}

test-images: setup images ## Run each component, and the server, in its image
	OMP_WAIT_POLICY=PASSIVE $(BIN)/pytest tests/image

lock-images: setup ## Derive images/locks from requirements.lock
	$(BIN)/python scripts/image_locks.py
