# Everything a contributor runs, by name: `make help` lists it.

GO       = go
# How many inputs each fuzz target gets. A time, such as 1m, is possible too, but
# then Go's fuzzer now and then reports its own deadline as a failure.
FUZZTIME = 500000x
# What CI runs, in this order: what is quick or fills the build cache first.
CHECKS   = fmt-check build vet verify test chaos-short compose-test kube-test lint race fuzz

.DEFAULT_GOAL = help
.PHONY: help modules test chaos chaos-short bench bench-short bench-test images compose-check compose-test race race-compile fuzz kube-test lint fmt fmt-check vet verify vulncheck build cover check checks clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

# Packages whose tests take longest begin first, so that they do not end alone.
SLOWEST = ./internal/e2e ./worker ./cmd/klinghook ./internal/store

# vet has a target of its own: with each way to compile a package, go test would run it
# once more on all that the package needs.
#
# The tests note in a file what they skipped for want of a server. The status of
# go test is the status of the target, whatever is printed after it.
test: ## run all tests; skips those whose server (Redis, PostgreSQL) is not installed
	@skips=$$(mktemp) || exit 1; \
	echo '$(GO) test -vet=off -shuffle=on $(SLOWEST) ./...'; \
	status=0; \
	CGO_ENABLED=0 TESTENV_SKIPS="$$skips" $(GO) test -vet=off -shuffle=on $(SLOWEST) ./... || status=$$?; \
	awk '{ sub(/^[^ ]*: /, ""); if (!seen[$$0]++) why = why (why ? "; " : "") $$0 } \
		END { if (NR) printf "%d tests skipped: %s\n", NR, why }' "$$skips"; \
	rm -f "$$skips"; \
	exit $$status

# CHAOS_SEED repeats a run, CHAOS_SCENARIO chooses scenarios by name, and
# CHAOS_REPORT names a Markdown file whose table of scenarios is to be renewed.
chaos: ## kill everything in turn, and count what is lost (10 minutes)
	CGO_ENABLED=0 CHAOS=full $(GO) test -run '^TestChaos$$' -count=1 -timeout 60m -parallel 4 -v ./internal/chaos

chaos-short: ## the two-minute form of chaos: all at once
	CGO_ENABLED=0 CHAOS=short $(GO) test -run '^TestChaos$$' -count=1 -timeout 10m -v ./internal/chaos

# The harness is a module of its own. SOAK=10m adds a soak of as long; ONLY=growth,drain
# measures these sections and leaves the others as they were. .ci needs none of it:
# wrk, node-express, python3-flask and gunicorn take part where they are installed.
BENCH = cd bench && CGO_ENABLED=0 $(GO) run . -root .. $(if $(SOAK),-soak $(SOAK)) $(if $(ONLY),-only $(ONLY))

bench: build ## measure klinghook beside what else there is, into docs/PERFORMANCE.md (25 minutes)
	$(BENCH)

bench-short: build ## try the harness in two minutes; its figures mean nothing
	$(BENCH) -short

bench-test: ## vet and test the harness
	cd bench && CGO_ENABLED=0 $(GO) vet ./... && CGO_ENABLED=0 $(GO) test -shuffle=on ./...

# onecloud leaves out what only Google's and Azure's buckets need: it takes a minute to
# compile, and of the tests only those reach it that open such a bucket, in make test.
# SQLite and its C library are C, translated: watched, the tests of the store take three
# times the processor, to find nothing that could be mended here. Their driver is watched.
RACE = -race -tags onecloud -gcflags=modernc.org/sqlite/lib=-race=false -gcflags=modernc.org/libc/...=-race=false

# The end-to-end tests run the programs as they are built, in which nothing detects races.
# Most tests wait more than they compute: one package more at a time than there are
# processors.
race: ## run all tests with the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test $(RACE) -shuffle=on -vet=off -p $$(($$(getconf _NPROCESSORS_ONLN) + 1)) $$($(GO) list $(SLOWEST) ./... | grep -v '/internal/e2e$$')

race-compile: # what race needs
	@CGO_ENABLED=1 $(GO) list $(RACE) -test -deps -export ./... >/dev/null

# go test -fuzz would compile all dependencies once more, to be guided by what the
# inputs reach in them: minutes for the cloud SDKs, and slower fuzzing. Here only
# our own packages guide it. The corpus is the one that go test -fuzz keeps.
fuzz: ## fuzz each target with FUZZTIME inputs (500000x by default)
	@set -e; \
	export CGO_ENABLED=0; \
	program=$$(mktemp); \
	trap 'rm -f "$$program"' EXIT; \
	for dir in $$(find . -name '*_test.go' -exec grep -l '^func Fuzz' {} + | xargs -n 1 dirname | sort -u); do \
		package=$$($(GO) list "$$dir"); \
		$(GO) test -c -vet=off -ldflags='-s -w' -gcflags='github.com/klinghook/klinghook/...=-d=libfuzzer' -o "$$program" "$$dir"; \
		targets=$$(cd "$$dir" && "$$program" -test.list '^Fuzz'); \
		for target in $$targets; do \
			echo "fuzz $$package $$target"; \
			(cd "$$dir" && "$$program" -test.run '^$$' -test.fuzz "^$$target\$$" -test.fuzztime $(FUZZTIME) \
				-test.fuzzcachedir "$$($(GO) env GOCACHE)/fuzz/$$package"); \
		done; \
	done

# A module of its own: Kubernetes' and KEDA's types stay out of ours. Vetting would
# analyse all of them, for minutes. What it reads lies outside its module, where go test
# sees no changes: -count=1.
kube-test: ## hold the Kubernetes manifests against Kubernetes' own types
	cd deploy/kubernetes/test && CGO_ENABLED=0 $(GO) test -vet=off -count=1 ./...

lint: bin/golangci-lint ## run the linters of .golangci.yml
	CGO_ENABLED=0 bin/golangci-lint run ./...

# They compile Compose's loader and the load tools, for minutes: the hosted workflow
# runs them beside the rest.
modules: bin/golangci-lint bench-test compose-check ## check the modules of bench/ and deploy/compose
	for module in bench deploy/compose; do \
		(cd $$module && $(GO) mod verify && CGO_ENABLED=0 "$(CURDIR)/bin/golangci-lint" run ./...) || exit 1; \
	done

fmt: ## format all Go files
	gofmt -s -w .

fmt-check: ## fail if a Go file is not formatted
	@files=$$(gofmt -s -l .) || exit 1; \
	if [ -n "$$files" ]; then echo "not formatted (make fmt mends it):"; echo "$$files"; exit 1; fi

vet: ## run go vet
	CGO_ENABLED=0 $(GO) vet ./...

verify: ## check the downloaded modules against go.sum
	$(GO) mod verify

vulncheck: bin/govulncheck ## look for known vulnerabilities (asks a database on the internet)
	bin/govulncheck ./...

build: ## build both programs into bin, stripped, with their version
	@version=$$(git describe --tags --always --dirty 2>/dev/null || echo dev); \
	set -x; \
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$$version" -o bin/ ./cmd/klinghook ./cmd/klinghook-ingest

images: ## build both container images (deploy/Dockerfile), with their version
	sh deploy/images.sh

# What it reads lies outside its module, where go test sees no changes: -count=1.
compose-check: ## check docker-compose.yml with Compose's own loader, and what it mounts
	cd deploy/compose && CGO_ENABLED=0 $(GO) vet ./... && CGO_ENABLED=0 $(GO) test -count=1 ./...

compose-test: ## try the stack on this machine's Docker, where the images are there (5 minutes)
	@GO='$(GO)' CGO_ENABLED=0 sh deploy/compose/test.sh

cover: ## run all tests and say how much of each function they reach
	CGO_ENABLED=0 $(GO) test -shuffle=on -coverpkg=./... -coverprofile=coverage.out ./...
	$(GO) tool cover -func=coverage.out

check: $(CHECKS) ## run all that CI runs

checks:
	@echo $(CHECKS)

clean: ## delete what the other targets made
	rm -rf bin coverage.out

bin/golangci-lint: Makefile
	GOBIN=$(CURDIR)/bin CGO_ENABLED=0 $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

bin/govulncheck: Makefile
	GOBIN=$(CURDIR)/bin CGO_ENABLED=0 $(GO) install golang.org/x/vuln/cmd/govulncheck@v1.9.0
