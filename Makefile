# Every target installs the Debian packages that it needs. "make help" lists them.

GO       ?= go
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS  := -s -w -X main.version=$(VERSION)
PACKAGES := nftables iputils-ping iptables iproute2 conntrack etcd-server etcd-client
SUDO     := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# Namespaces, nftables and real sockets need root. The suites share two cores, so packages run one after another.
TESTFLAGS ?= -race -p 1 -timeout 20m

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/weir, static, with a link bin/controlcenter
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/weir ./cmd/weir
	ln -sf weir bin/controlcenter

.PHONY: demo
demo: build packages ## three nodes in network namespaces, real connections; DEMOFLAGS='--story scale': instances that Weir runs
	$(SUDO) bin/weir demo $(DEMOFLAGS)

.PHONY: test
test: packages ## every test, the kernel and etcd parts included
	$(SUDO) env "PATH=$$PATH" $(GO) test $(TESTFLAGS) ./...
	$(SUDO) env "PATH=$$PATH" .ci/fuzz 100x

.PHONY: lint
lint: ## gofmt, vet, staticcheck, import arrows, known vulnerabilities where their database can be reached
	@unformatted=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); [ -z "$$unformatted" ] || { echo "not gofmt-ed: $$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) test ./internal/deps
	@deploy/check
	@./.ci/vulnerabilities

.PHONY: bench
bench: packages build ## the table of docs/performance.md
	$(SUDO) env "PATH=$$PATH" $(GO) run ./integration/bench $(BENCHFLAGS)

.PHONY: bench-balance
bench-balance: packages build ## what weights that follow the load do for real instances: docs/performance.md, 10 minutes
	$(SUDO) env "PATH=$$PATH" $(GO) run ./integration/bench -only balance $(BENCHFLAGS)

.PHONY: chaos
chaos: packages ## every fault of integration/chaos, or ROWS=A1,B4; writes docs/reliability.md
	$(SUDO) env "PATH=$$PATH" $(GO) run ./integration/chaos/suite -rows '$(ROWS)'

.PHONY: chaos-mutants
chaos-mutants: packages ## show that each row, or ROWS=A1,B4, turns red when what it tests is taken away
	$(SUDO) env "PATH=$$PATH" $(GO) run ./integration/chaos/suite -mutants -rows '$(ROWS)'

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (default 30s); make test gives each a hundred inputs
	@.ci/fuzz $${FUZZTIME:-30s}

.PHONY: docs
docs: packages ## make docs/rules.md and docs/rules-ipt.md from the kernel's own listing, and the golden files
	$(SUDO) env "PATH=$$PATH" $(GO) test ./rules/nft ./rules/ipt -run TestDocs -update

.PHONY: docs-balancing
docs-balancing: ## make docs/balancing.md and its plots from the simulator
	$(GO) test ./internal/simulate -run TestDocs -update

.PHONY: balance
balance: ## the targets of balancing for SEEDS seeds (default 1000), some minutes
	SEEDS=$${SEEDS:-1000} $(GO) test ./internal/simulate -count=1 -timeout 30m -v -run 'TestUnevenSpeeds|TestNeighbour|TestKeepAliveSettles|TestSteadyState'

.PHONY: clean
clean: ## remove what was built
	rm -rf bin

.PHONY: packages
packages:
	@missing=$$(for p in $(PACKAGES); do dpkg-query -W -f '$${Status}\n' $$p 2>/dev/null | grep -q 'install ok installed' || echo $$p; done); \
	[ -z "$$missing" ] || { echo "installing $$missing"; $(SUDO) apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $$missing; }
