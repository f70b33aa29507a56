# One target for each task: `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes

.DEFAULT_GOAL := help
.PHONY: help run test lint lint-python lint-javascript lint-shell format lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# A stamp for each lock file, so that a second run installs nothing.
$(VENV)/%.installed: requirements/%.txt requirements/build.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	    "note-whisperer needs Python 3.11 or newer: set PYTHON=...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing requirements/$*.txt into $(VENV), which takes a minute the first time"
	@$(PIP_INSTALL) -r requirements/build.txt
	@$(PIP_INSTALL) --no-build-isolation --use-pep517 -r requirements/$*.txt
	@touch $@

run: $(VENV)/local.installed  ## serve on http://localhost:8080 (PORT, DATA_DIR and the README's settings apply)
	@exec $(BIN)/python -m server

# The Terraform tests need a separate virtual environment; install it only if terraform is here.
DEPLOY_ENVIRONMENT := $(if $(shell command -v terraform),.venv-deploy/installed)

test: $(VENV)/dev.installed .venv-audit/installed $(DEPLOY_ENVIRONMENT) .venv-helm/installed  ## run all tests that can run on this machine
	$(BIN)/python -m pytest -rs

lint: lint-python lint-javascript lint-shell  ## check format, style, types and security

lint-python: $(VENV)/dev.installed
	$(BIN)/python -m black --check --quiet --diff .
	$(BIN)/python -m isort --check-only --quiet .
	$(BIN)/python -m flake8
	$(BIN)/python -m mypy

# If npm or shellcheck is missing, lint says that it skips the check. .ci/run installs both.
NPM := $(shell command -v npm)
lint-javascript: $(if $(NPM),node_modules/.installed)
	@$(if $(NPM),set -x; node_modules/.bin/biome lint --error-on-warnings, \
	    echo "lint-javascript: skipped, it needs npm (Debian: apt install nodejs npm)")

node_modules/.installed: package-lock.json
	@npm ci --loglevel=error
	@touch $@

SHELL_SCRIPTS = .ci/run .ci/release requirements/sbom nginx/publish nginx/render \
    $(wildcard nginx/*.sh nginx/*.envsh terraform/*.sh client/share/bash-completion/completions/*) $(shell find tests -name '*.sh')
lint-shell:
	@$(if $(shell command -v shellcheck),set -x; shellcheck $(SHELL_SCRIPTS), \
	    echo "lint-shell: skipped, it needs shellcheck (Debian: apt install shellcheck)")

format: $(VENV)/dev.installed  ## format the Python code
	$(BIN)/python -m isort --quiet .
	$(BIN)/python -m black --quiet .

.PHONY: messages
LOCALES := server/locales
messages: $(VENV)/dev.installed  ## collect the sentences of pages and problems, update and compile the translations, and check them
	$(BIN)/pybabel --quiet extract --mapping babel.cfg --output $(LOCALES)/messages.pot --no-location --sort-output \
	    --no-default-keywords --keyword gettext --keyword _ --keyword ngettext:1,2 --keyword text --keyword counted:1,2 \
	    --keyword Problem:2 --keyword unavailable .
	@for file in $(LOCALES)/*.po; do \
	    $(BIN)/pybabel --quiet update --input-file $(LOCALES)/messages.pot --output-file $$file --locale \
	        $$(basename $$file .po | tr - _) --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date --width 110 && \
	    $(BIN)/pybabel --quiet compile --input-file $$file --output-file $${file%.po}.mo || exit 1; done
	$(BIN)/python -m nginx.texts
	$(BIN)/python -m pytest -q tests/server/test_languages.py

LOCKS := build server kgs local dev client deploy helm bench
lock:  ## pin the packages of requirements/*.in, with hashes (needs uv)
	@for name in $(LOCKS); do uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --no-annotate --no-header --override requirements/overrides.txt \
	    requirements/$$name.in --output-file requirements/$$name.txt || exit 1; done

.PHONY: manual
manual: $(VENV)/dev.installed  ## write the man page and the completions of the command note-whisperer
	$(BIN)/python -m client.manual

clean:  ## remove the virtual environment, but no notes or keys
	rm -rf $(VENV)

.PHONY: abuse
HOSTILE_REQUESTS ?= 35000
abuse: $(VENV)/dev.installed  ## send over 100,000 hostile requests, in about six minutes (HOSTILE_REQUESTS=N for fewer)
	HOSTILE_REQUESTS=$(HOSTILE_REQUESTS) $(BIN)/python -m pytest -rs -s tests/abuse \
	    tests/deploy/nginx/test_limits.py tests/deploy/nginx/test_memory.py tests/deploy/nginx/test_strangers.py

.PHONY: strangers
strangers: $(VENV)/dev.installed  ## attack for ten minutes from an address, from a /48, and with a stolen link; 1,000 readers each
	STRANGERS_SECONDS=600 $(BIN)/python -m pytest -rs -s tests/deploy/nginx/test_strangers.py

.PHONY: timing
SAMPLES ?= 10000
timing: $(VENV)/dev.installed  ## compare the times of 404s of keys with and without a note (SAMPLES=N of each kind)
	$(BIN)/python -m tests.abuse.timing --samples $(SAMPLES)

.PHONY: screens
screens: $(VENV)/dev.installed  ## take the screenshots in docs/screens (needs Chromium)
	$(BIN)/python -m pytest -q tests/browser/screens.py

.PHONY: bench bench-growth bench-startup bench-plot
BENCH ?=
bench: $(VENV)/dev.installed  ## measure notes per second and the references, into docs/benchmarks.md (BENCH="--quick" for a quick look)
	$(BIN)/python -m tests.bench throughput $(BENCH)

bench-growth: $(VENV)/dev.installed  ## the same with ten million notes stored, for half an hour (BENCH="--notes N --minutes M")
	$(BIN)/python -m tests.bench growth $(BENCH)

bench-startup: $(VENV)/dev.installed  ## measure how long the service takes to start
	$(BIN)/python -m tests.bench startup $(BENCH)

bench-plot: $(VENV)/dev.installed  ## draw docs/benchmarks.svg from the results of `make bench`
	$(BIN)/python -m tests.bench plot

.PHONY: bench-kgs
BENCH_KGS ?=
bench-kgs: $(VENV)/dev.installed  ## measure the KGS into docs/benchmarks.md (BENCH_KGS="--count N" for fewer keys)
	$(BIN)/python -m tests.bench.kgs $(BENCH_KGS)

# The AWS emulator (with the AWS CLI and checkov) and Helm as a library have separate virtual environments: see
# requirements/deploy.in and helm.in.
.venv-deploy/installed .venv-helm/installed: .venv-%/installed: requirements/%.txt requirements/build.txt
	@test -x .venv-$*/bin/python || $(PYTHON) -m venv .venv-$*
	@echo "Installing requirements/$*.txt into .venv-$*, which takes up to two minutes the first time"
	@.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
	    -r requirements/build.txt
	@.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
	    --no-build-isolation -r requirements/$*.txt
	@touch $@

.PHONY: test-deploy push deploy
# Without terraform, install nothing: the tests report that they are skipped.
test-deploy: $(VENV)/dev.installed $(DEPLOY_ENVIRONMENT)  ## apply terraform/ to an emulated AWS
	$(BIN)/python -m pytest -rs tests/deploy/terraform

# Bases of Debian packages stand in for the official images, so this needs no registry; as root.
.PHONY: images
IMAGES ?= /var/tmp/note-whisperer-images
images: $(VENV)/dev.installed  ## build the three images and run the service from them (needs buildah and debootstrap)
	sh tests/deploy/build_images.sh $(IMAGES)
	IMAGES=$(IMAGES) $(BIN)/python -m pytest -q tests/deploy/test_built_images.py

.PHONY: platforms
platforms: $(VENV)/dev.installed  ## look up a wheel of each package of the images for x86-64 and arm64 (needs the internet)
	$(BIN)/python tests/deploy/platforms.py

.PHONY: walk-through
WALK ?= /var/tmp/note-whisperer-walk
walk-through: $(VENV)/dev.installed  ## follow docs/operating.md on a bare Debian 12, as root (needs debootstrap)
	$(BIN)/python -m tests.deploy.walk_through $(WALK)

# Deployment to AWS: docs/deploying.md. terraform/terraform.tfvars can hold fellow_name and the other variables.
IMAGE_TAG ?= $(shell sed -n 's/^version = //p' setup.cfg)
TERRAFORM := terraform -chdir=terraform
TERRAFORM_VARS = $(if $(FELLOW_NAME),-var fellow_name=$(FELLOW_NAME)) -var image_tag=$(IMAGE_TAG) $(VARS)

push:  ## build the images and push them to ECR (FELLOW_NAME, RDS_BUNDLE_SHA256, IMAGE_TAG, VARS)
	$(TERRAFORM) init -input=false
	$(TERRAFORM) apply -target=aws_ecr_repository.image $(TERRAFORM_VARS)
	sh terraform/push_images.sh "$$($(TERRAFORM) output -raw registry)" "$(IMAGE_TAG)" \
	    "$$($(TERRAFORM) output -raw platform)"

deploy: push  ## push, then create or upgrade everything on AWS
	$(TERRAFORM) apply $(TERRAFORM_VARS)
	@$(TERRAFORM) output -raw url

# Long runs, started by hand. They write their results into docs/reliability.md.
.PHONY: faults faults-mutants failover soak
faults: $(VENV)/dev.installed  ## inject each kind of fault at least 20 times, under load (half an hour)
	FAULTS=long $(BIN)/python -m pytest -q tests/faults/test_locks.py tests/faults/test_files.py
	$(BIN)/python -m tests.faults faults

faults-mutants: $(VENV)/dev.installed  ## remove each piece of the fault handling, and check that the tests fail
	$(BIN)/python -m tests.faults.mutants

failover: $(VENV)/dev.installed  ## kill a primary under load and promote its standby, five times
	$(BIN)/python -m tests.faults failover

soak: $(VENV)/dev.installed  ## send 1,200,000 mixed requests to one process, and check its memory
	$(BIN)/python -m tests.faults soak

.PHONY: model
model: $(VENV)/dev.installed  ## check the protocol of reveals and files in every order of events (needs spin and gcc)
	$(BIN)/python -m pytest -q -rs -s tests/model

# Checks of dependencies, and of the code for known mistakes.
.PHONY: bandit audit sbom
lint: bandit
bandit: $(VENV)/dev.installed  # its standard error has only warnings about lines with `nosec`
	$(BIN)/python -m bandit --quiet --recursive --configfile requirements/bandit.yaml server kgs client 2>/dev/null

.venv-audit/installed: requirements/audit.txt
	@test -x .venv-audit/bin/python || $(PYTHON) -m venv .venv-audit
	@.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
	    -r requirements/audit.txt
	@touch $@

LOCKS += audit
audit: .venv-audit/installed  ## look up known vulnerabilities of the server's packages (needs the internet)
	.venv-audit/bin/pip-audit --strict --disable-pip --no-deps --require-hashes --progress-spinner off \
	    --requirement requirements/server.txt

sbom: .venv-audit/installed  ## write sbom.json: the server's components, in CycloneDX 1.6
	requirements/sbom $(PYTHON) .venv-audit/bin/cyclonedx-py > sbom.json

.PHONY: release
release: $(VENV)/local.installed .venv-audit/installed  ## make an archive, a manifest and an SBOM of HEAD in dist/ (docs/releasing.md)
	.ci/release dist "$(CURDIR)/$(BIN)/python" "$(CURDIR)/.venv-audit/bin/cyclonedx-py"
	@cat dist/SHA256SUMS
