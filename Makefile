# Run `make help` for a list of targets.

GO       = go
# The time or number of inputs for each fuzz target.
FUZZTIME = 10000x
# What CI runs.
CHECKS   = fmt-check build vet verify lint words test chaos-short kube-test race fuzz

.DEFAULT_GOAL = help
.PHONY: help words test chaos chaos-short prune-load bench bench-short images modules compose-check compose-test race fuzz kube-test lint fmt fmt-check vet verify vulncheck build cover check clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

# Tests write the reason for each skip to a file, which is printed at the end.
test: ## run all tests; those that need a missing server (Redis, PostgreSQL, Chromium) are skipped
	@skips=$$(mktemp) || exit 1; \
	echo '$(GO) test -shuffle=on ./...'; \
	status=0; \
	CGO_ENABLED=0 TESTENV_SKIPS="$$skips" $(GO) test -shuffle=on ./... || status=$$?; \
	awk '{ sub(/^[^ ]*: /, ""); if (!seen[$$0]++) why = why (why ? "; " : "") $$0 } \
		END { if (NR) printf "%d test%s skipped: %s\n", NR, (NR == 1 ? "" : "s"), why }' "$$skips"; \
	rm -f "$$skips"; \
	exit $$status

# CHAOS_SEED repeats a run, and CHAOS_SCENARIO chooses scenarios by name.
chaos: ## kill each component in turn, and count losses (10 minutes)
	CGO_ENABLED=0 CHAOS=full $(GO) test -run '^TestChaos$$' -count=1 -timeout 60m -parallel 4 -v ./internal/e2e

chaos-short: ## the two-minute form of chaos: all at once
	CGO_ENABLED=0 CHAOS=short $(GO) test -run '^TestChaos$$' -count=1 -timeout 10m -v ./internal/e2e

prune-load: ## delete half of a million events, and measure how long it takes (15 minutes)
	CGO_ENABLED=0 PRUNE_EVENTS=1000000 $(GO) test -run '^TestPruneOfManyEvents$$' -count=1 -timeout 60m -v ./worker

# The harness is a separate module. It needs wrk, Redis and PostgreSQL.
BENCH = cd bench && CGO_ENABLED=0 $(GO) run . -root ..

bench: build ## measure klinghook and write the table of docs/performance.md (12 minutes)
	$(BENCH)

bench-short: build ## check in two minutes that the harness works; its figures mean nothing
	$(BENCH) -short

bench-test: ## vet and test the harness
	cd bench && CGO_ENABLED=0 $(GO) vet ./... && CGO_ENABLED=0 $(GO) test -shuffle=on ./...

# The end-to-end tests run the built programs, which have no race detector.
race: ## run all tests with the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -shuffle=on -timeout 20m $$($(GO) list ./... | grep -v '/internal/e2e$$')

fuzz: ## fuzz each target for FUZZTIME
	@set -e; \
	for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n 1 dirname | sort -u); do \
		for target in $$(CGO_ENABLED=0 $(GO) test -list '^Fuzz' "$$dir" | grep '^Fuzz'); do \
			echo "fuzz $$dir $$target"; \
			CGO_ENABLED=0 $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$dir"; \
		done; \
	done

# A separate module keeps Kubernetes' and KEDA's types out of ours. go test does not see
# changes to files outside the module, hence -count=1.
kube-test: ## check the Kubernetes manifests against Kubernetes' own types
	cd deploy/kubernetes/test && CGO_ENABLED=0 $(GO) test -vet=off -count=1 ./...

words: bin/misspell ## check the language of code and documents
	.ci/words

lint: bin/golangci-lint ## run the linters of .golangci.yml
	CGO_ENABLED=0 bin/golangci-lint run ./...

# Slow to compile; the hosted workflow runs them in a job of their own.
modules: bin/golangci-lint bench-test compose-check ## check the modules of bench/ and deploy/compose
	for module in bench deploy/compose; do \
		(cd $$module && $(GO) mod verify && CGO_ENABLED=0 "$(CURDIR)/bin/golangci-lint" run ./...) || exit 1; \
	done

fmt: ## format all Go files
	gofmt -s -w .

fmt-check: ## fail if a Go file is not formatted
	@files=$$(gofmt -s -l .) || exit 1; \
	if [ -n "$$files" ]; then echo 'not formatted (run `make fmt`):'; echo "$$files"; exit 1; fi

vet: ## run go vet
	CGO_ENABLED=0 $(GO) vet ./...

verify: ## check the downloaded modules against go.sum
	$(GO) mod verify

vulncheck: bin/govulncheck ## look for known vulnerabilities (needs the internet)
	bin/govulncheck ./...

# Without -trimpath, programs and tests share the compiled dependencies.
build: ## build both programs into bin, stripped, with their version
	@version=$$(git describe --tags --always --dirty 2>/dev/null || echo dev); \
	set -x; \
	CGO_ENABLED=0 $(GO) build -tags grpcnotrace -ldflags "-s -w -X main.version=$$version" -o bin/ ./cmd/klinghook ./cmd/klinghook-ingest

images: ## build both container images (deploy/Dockerfile), with their version
	sh deploy/images.sh

compose-check: ## check docker-compose.yml with Compose's own loader, and what it mounts
	cd deploy/compose && CGO_ENABLED=0 $(GO) vet ./... && CGO_ENABLED=0 $(GO) test -count=1 ./...

compose-test: ## test the stack on this machine's Docker; needs its images (5 minutes)
	@GO='$(GO)' CGO_ENABLED=0 sh deploy/compose/test.sh

cover: ## run all tests and print the coverage of each function
	CGO_ENABLED=0 $(GO) test -shuffle=on -coverpkg=./... -coverprofile=coverage.out ./...
	$(GO) tool cover -func=coverage.out

check: $(CHECKS) ## run what CI runs

clean: ## delete build output
	rm -rf bin coverage.out

bin/golangci-lint: Makefile
	GOBIN=$(CURDIR)/bin CGO_ENABLED=0 $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

bin/govulncheck: Makefile
	GOBIN=$(CURDIR)/bin CGO_ENABLED=0 $(GO) install golang.org/x/vuln/cmd/govulncheck@v1.9.0

bin/misspell: Makefile
	GOBIN=$(CURDIR)/bin CGO_ENABLED=0 $(GO) install github.com/golangci/misspell/cmd/misspell@v0.8.0
