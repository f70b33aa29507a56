# One command each: `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes

.DEFAULT_GOAL := help
.PHONY: help run test lint lock clean

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# A stamp per lock, so that a second run installs nothing.
$(VENV)/%.installed: requirements/%.txt requirements/build.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	    "note-whisperer needs Python 3.11 or newer: name one with PYTHON=...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing requirements/$*.txt into $(VENV), which takes a minute the first time"
	@$(PIP_INSTALL) -r requirements/build.txt
	@$(PIP_INSTALL) --no-build-isolation --use-pep517 -r requirements/$*.txt
	@touch $@

run: $(VENV)/local.installed  ## serve on http://localhost:8080 (PORT, DATA_DIR and the README's settings apply)
	@exec $(BIN)/python -m server

# Where there is a Terraform, its tests want an environment of their own.
DEPLOY_ENVIRONMENT := $(if $(shell command -v terraform),.venv-deploy/installed)

test: $(VENV)/dev.installed $(DEPLOY_ENVIRONMENT)  ## run every test that this machine can run
	$(BIN)/python -m pytest -rs

lint: $(VENV)/dev.installed  ## style, imports and types
	$(BIN)/python -m flake8
	$(BIN)/python -m isort --check-only --quiet .
	$(BIN)/python -m mypy

LOCKS := build server kgs local dev deploy bench
lock:  ## pin what requirements/*.in ask for, with hashes (needs uv)
	@for name in $(LOCKS); do uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --no-annotate --no-header --override requirements/overrides.txt \
	    requirements/$$name.in --output-file requirements/$$name.txt || exit 1; done

clean:  ## remove the virtual environment (notes and keys stay)
	rm -rf $(VENV)

.PHONY: abuse
HOSTILE_REQUESTS ?= 35000
abuse: $(VENV)/dev.installed  ## send well over 100,000 hostile requests, in some six minutes (HOSTILE_REQUESTS=N for fewer)
	HOSTILE_REQUESTS=$(HOSTILE_REQUESTS) $(BIN)/python -m pytest -rs -s tests/abuse

.PHONY: screens
screens: $(VENV)/dev.installed  ## take the pictures in docs/screens (needs a Chromium)
	$(BIN)/python -m pytest -q tests/browser/screens.py

.PHONY: bench bench-growth bench-startup bench-plot
BENCH ?=
bench: $(VENV)/dev.installed  ## notes a second beside the references, into docs/benchmarks.md (BENCH="--quick" for a look)
	$(BIN)/python -m tests.bench throughput $(BENCH)

bench-growth: $(VENV)/dev.installed  ## the same beside ten million notes, for half an hour (BENCH="--notes N --minutes M")
	$(BIN)/python -m tests.bench growth $(BENCH)

bench-startup: $(VENV)/dev.installed  ## how soon the service answers
	$(BIN)/python -m tests.bench startup $(BENCH)

bench-plot: $(VENV)/dev.installed  ## draw docs/benchmarks.svg from what `make bench` has measured
	$(BIN)/python -m tests.bench plot

.PHONY: bench-kgs
BENCH_KGS ?=
bench-kgs: $(VENV)/dev.installed  ## measure the KGS into docs/benchmarks.md (BENCH_KGS="--count N" for fewer keys)
	$(BIN)/python -m tests.bench.kgs $(BENCH_KGS)

# The AWS emulator, the AWS CLI and checkov: a virtual environment of their own, see requirements/deploy.in.
.venv-deploy/installed: requirements/deploy.txt requirements/build.txt
	@test -x .venv-deploy/bin/python || $(PYTHON) -m venv .venv-deploy
	@echo "Installing requirements/deploy.txt into .venv-deploy, which takes two minutes the first time"
	@.venv-deploy/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
	    -r requirements/build.txt
	@.venv-deploy/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
	    --no-build-isolation -r requirements/deploy.txt
	@touch $@

.PHONY: test-deploy push deploy
# Without terraform there is nothing to install: the tests say that they are skipped.
test-deploy: $(VENV)/dev.installed $(DEPLOY_ENVIRONMENT)  ## apply terraform/ to an emulated AWS
	$(BIN)/python -m pytest -rs tests/deploy/terraform

# For AWS: docs/deploying.md. fellow_name and all else may stand in terraform/terraform.tfvars.
IMAGE_TAG ?= $(shell sed -n 's/^version = //p' setup.cfg)
TERRAFORM := terraform -chdir=terraform
TERRAFORM_VARS = $(if $(FELLOW_NAME),-var fellow_name=$(FELLOW_NAME)) -var image_tag=$(IMAGE_TAG) $(VARS)

push:  ## build the images and push them to ECR (FELLOW_NAME, RDS_BUNDLE_SHA256, IMAGE_TAG, VARS)
	$(TERRAFORM) init -input=false
	$(TERRAFORM) apply -target=aws_ecr_repository.image $(TERRAFORM_VARS)
	sh terraform/push_images.sh "$$($(TERRAFORM) output -raw registry)" "$(IMAGE_TAG)"

deploy: push  ## push, then bring up or upgrade everything on AWS
	$(TERRAFORM) apply $(TERRAFORM_VARS)
	@$(TERRAFORM) output -raw url

# By hand, each ends by itself: docs/reliability.md, which they write their counts into.
.PHONY: faults faults-mutants failover soak
faults: $(VENV)/dev.installed  ## every kind of fault at least 20 times, under load (a quarter of an hour)
	FAULTS=long $(BIN)/python -m pytest -q tests/faults/test_locks.py
	$(BIN)/python -m tests.faults faults

faults-mutants: $(VENV)/dev.installed  ## take each piece of the fault handling out, and see the tests notice
	$(BIN)/python -m tests.faults.mutants

failover: $(VENV)/dev.installed  ## kill a primary under load, promote its standby, five times
	$(BIN)/python -m tests.faults failover

soak: $(VENV)/dev.installed  ## 1,200,000 requests of mixed kinds to one process, and what they leave behind
	$(BIN)/python -m tests.faults soak

.PHONY: model
model: $(VENV)/dev.installed  ## check the protocol of a reveal in every order of events (needs spin and gcc)
	$(BIN)/python -m pytest -q -rs -s tests/model

# What stands between us and the code of others.
.PHONY: bandit audit sbom
lint: bandit
bandit: $(VENV)/dev.installed  # on standard error it only wonders about lines with `nosec`
	$(BIN)/python -m bandit --quiet --recursive --configfile requirements/bandit.yaml server kgs 2>/dev/null

.venv-audit/installed: requirements/audit.txt
	@test -x .venv-audit/bin/python || $(PYTHON) -m venv .venv-audit
	@.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
	    -r requirements/audit.txt
	@touch $@

LOCKS += audit
audit: .venv-audit/installed  ## ask for known vulnerabilities of what the server imports (needs the internet)
	.venv-audit/bin/pip-audit --strict --disable-pip --no-deps --require-hashes --progress-spinner off \
	    --requirement requirements/server.txt

sbom: .venv-audit/installed  ## write sbom.json: what the server consists of, in CycloneDX 1.6
	cd static/vendor && sha256sum --check --quiet ../../requirements/vendor.sha256
	.venv-audit/bin/cyclonedx-py requirements --sv 1.6 --of JSON --short-PURLs --output-reproducible \
	    requirements/server.txt | $(PYTHON) requirements/sbom.py > sbom.json
