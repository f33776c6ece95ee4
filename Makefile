# Culvert's commands. `make` alone lists them.

GO       ?= go
FUZZTIME ?= 60s
BENCH    ?= .
MINUTES  ?= 1
PKGS     ?= ./...

.DEFAULT_GOAL := help
.PHONY: help demo build generate check fmt vet lint generated rules \
        test unit cover interop simulate race fuzz bench deps clean

help: ## list the targets
	@awk 'BEGIN { FS = ":.*## "; print "usage: make TARGET [VAR=value]\n" } \
	  /^[a-z]+:.*## / { printf "  %-10s %s\n", $$1, $$2 } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) }' $(MAKEFILE_LIST)

##@ Use
demo: ## 1,000 subscribers through lnsd on this machine (KEEP=1 leaves it running)
	@ops/lab/demo.sh

build: ## lnsd, lnsctl and lacsim into bin/
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/...

##@ Test
# The IPsec suite takes longer than all the others; `make interop` runs it.
test: SUITES ?= interop
test: deps unit interop ## everything that CI runs but the linters (as root it installs Debian packages)

unit: ## all Go tests but the interop suite, with a list of what was skipped and why
	@ops/lab/unit.sh $(PKGS)

cover: ## coverage by statement of proto/..., lns/link and lns/trace; fails at LEAST (95) per cent or below; V=1 lists what no test runs
	@LEAST='$(LEAST)' V='$(V)' ops/lab/cover.sh

interop: ## xl2tpd and pppd against lnsd, FreeRADIUS and PostgreSQL, then over IPsec with strongSwan (as root; SUITES=interop leaves IPsec out)
	@SUITES='$(SUITES)' ops/lab/interop.sh

simulate: ## break simulated LNSs on all cores for MINUTES (1), or with SEEDS from FROM on; CLUSTER=1 has whole clusters; MUTATIONS=. checks that faults are found
	@MINUTES='$(MINUTES)' SEEDS='$(SEEDS)' FROM='$(FROM)' CLUSTER='$(CLUSTER)' MUTATIONS='$(MUTATIONS)' ops/lab/simulate.sh

race: ## the Go tests under the race detector (slow)
	$(GO) test -race -count=1 $(PKGS)

fuzz: ## every fuzz target for FUZZTIME (60s), JOBS side by side (as many as cores); RUN=pattern picks some, SKIP=file leaves some out
	@FUZZTIME='$(FUZZTIME)' JOBS='$(JOBS)' RUN='$(RUN)' SKIP='$(SKIP)' ops/lab/fuzz.sh $(PKGS)

bench: ## Go benchmarks (BENCH=pattern), then the end-to-end measurements
	@BENCH='$(BENCH)' ops/lab/bench.sh $(PKGS)

##@ Keep
check: fmt vet lint generated rules cover ## format, vet, staticcheck, generated code, import rules, coverage of the protocol cores

fmt:
	@echo '== gofmt'
	@bad=$$(gofmt -l $$(find . -name '*.go' -not -path './.git/*' -not -path './out/*')); \
	  if [ -n "$$bad" ]; then echo "gofmt -w these:"; echo "$$bad"; exit 1; fi

vet:
	@echo '== go vet'
	@$(GO) vet ./...

lint:
	@echo '== staticcheck'
	@$(GO) tool staticcheck ./...

generated:
	@echo '== generated code'
	@ops/lab/generated.sh

rules:
	@echo '== import rules'
	@$(GO) test -count=1 ./ops/archtest

generate: ## run the code generators (go generate)
	$(GO) generate ./...

deps: ## Debian packages that the tests use: installs them as root, else lists them
	@ops/lab/deps.sh

clean: ## remove bin/ and out/
	rm -rf bin out
