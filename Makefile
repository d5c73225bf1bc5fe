# arw. "make run" sets everything up and runs the host; "make test" passes the tests. Both need Go and nothing else.

GO      ?= go
STATE   ?= .arw
VERSION ?= 0.1.0
PACKS   := research collaboration federation
LDFLAGS := -s -w -X main.version=$(VERSION)
export CGO_ENABLED ?= 0

.PHONY: cedar-corpus help run demo queue-nats test race check bench packs build conformance mcp-conformance spec-lint packaging-check interop other-registry load-registry load-events sdks fuzz cross clean FORCE

help:
	@echo "make run          build, sign and install the three packs, and run the host (state in $(STATE))"
	@echo "make demo         the whole path in seconds, in a throw-away folder"
	@echo "make test         all tests"
	@echo "make race         every test under the race detector (slow: it also compiles guests)"
	@echo "make check        format, vet, ladder, cross builds, tests: what must hold before a commit"
	@echo "make bench        benchmarks, printed as a table"
	@echo "make conformance  the public OCI distribution suite against our registry (slow)"
	@echo "make mcp-conformance  the public MCP conformance runner against our server (needs npm)"
	@echo "make spec-lint    Spectral and the AsyncAPI validator over docs/spec (needs npm)"
	@echo "make packaging-check  the unit, the proxies' templates and the chart against systemd, nginx, Caddy and helm"
	@echo "make interop      a private Sigstore and stock cosign against arw, written to docs/interop.md (very slow the first time)"
	@echo "make other-registry  our registry client against the CNCF distribution registry from Debian"
	@echo "make load-registry   a layer of 2 GB through the registry server, with a bound on memory"
	@echo "make queue-nats   every test of actions over NATS JetStream, and the program without its embedded server"
	@echo "make load-events  5,000 event streams, and 5,000 events a second, with memory, processors and times"
	@echo "make sdks         build and run every SDK's conformance guest and examples (sdk/toolchains.sh installs what they need)"
	@echo "make cedar-corpus  the whole public corpus of Cedar through package policy (a minute)"
	@echo "make fuzz         every fuzz target for FUZZTIME (default 30s) each"

build: bin/arw

bin/arw: FORCE
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $@ ./host/cmd/arw

FORCE:

packs: bin/arw
	@for p in $(PACKS); do bin/arw pack build packs/$$p || exit 1; done

run: packs
	@mkdir -p $(STATE)/keys && chmod 700 $(STATE) $(STATE)/keys
	@test -f $(STATE)/keys/build.key || bin/arw key generate --out $(STATE)/keys/build
	@test -f $(STATE)/trust.toml || bin/arw --state $(STATE) trust add --signer build --key $(STATE)/keys/build.pub --packs 'arw/*'
	@for p in $(PACKS); do bin/arw pack push packs/$$p --to dir:$(STATE)/registry --key $(STATE)/keys/build.key --replace || exit 1; done
	@exec bin/arw --state $(STATE) serve --registry-dir $(STATE)/registry \
	  $(foreach p,$(PACKS),--install arw/$(p):$(VERSION))

demo: packs
	@bin/arw demo

test:
	@sh .ci/test.sh

race:
	@sh .ci/test.sh race

check:
	@sh .ci/check.sh

bench:
	@sh .ci/bench.sh

# TABLE=write puts the table into sdk/README.md.
sdks: bin/arw
	@sh sdk/all.sh $(TABLE)

conformance:
	@sh registry/conformance.sh

mcp-conformance:
	@sh host/internal/mcp/conformance.sh

spec-lint:
	@sh docs/spec/lint.sh

packaging-check:
	@sh docs/deploy/check.sh

interop:
	@sh signing/interop/run.sh

other-registry:
	@sh registry/other.sh

# 5,000 streams that all get every event, then one stream at 5,000 events a second; memory, processors and times are printed.
load-events:
	ulimit -n 12000; $(GO) test -count=1 -run '^TestLoadEvents$$' -v ./host/internal/server -args -load-clients 5000 -load-rate 10 -load-events 200
	$(GO) test -count=1 -run '^TestLoadEvents$$' -v ./host/internal/server -args -load-clients 1 -load-rate 5000 -load-events 50000

# Every test of actions over NATS JetStream in the place of SQLite, and the program without its embedded server.
queue-nats:
	ARW_TEST_QUEUE=nats $(GO) test -count=1 -timeout 10m ./host/internal/action
	$(GO) vet -tags no_nats_server ./host/internal/queue/jet/embedded ./host ./host/cmd/arw
	$(GO) test -count=1 -tags no_nats_server ./host/internal/queue/jet/embedded

load-registry:
	$(GO) test -count=1 -run '^TestStreams$$' -v ./registry/layout -args -stream-mb 2048

cedar-corpus:
	$(GO) test -count=1 -run '^TestCedarCorpus$$' -v ./host/internal/policy -args -corpus 1

cross:
	GOOS=darwin GOARCH=arm64 $(GO) build ./...
	GOOS=linux GOARCH=arm64 $(GO) build ./...
	GOOS=windows GOARCH=amd64 $(GO) vet ./abi ./manifests/... ./signing ./host/api ./sdk/go/client

FUZZTIME ?= 30s
fuzz:
	@for pkg in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "== $$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
	  done; \
	done

clean:
	rm -rf bin packs/*/module.wasm packs/*/module.*.json

# A real llama-server and a worker on ONNX Runtime for the tests below, in .runtimes; see the scripts for what they do.
.PHONY: runtimes runtimes-test
runtimes:
	sh host/internal/infer/supervise/runtimes.sh
	sh host/internal/infer/onnx/ort/build.sh

# The suite of every adapter, on real runtimes with tiny models of random weights.
runtimes-test: runtimes
	ARW_LLAMA_SERVER=$(CURDIR)/.runtimes/llama/llama-server go test -count=1 -run 'Real' ./host/internal/infer/supervise
	ARW_ONNX_WORKER=$(CURDIR)/.runtimes/ort/arw-ort go test -count=1 -run 'Encoder' ./host/internal/infer/supervise
	ARW_LLAMA_SERVER=$(CURDIR)/.runtimes/llama/llama-server go test -run '^$$' -bench Overhead -benchtime 60x ./host/internal/infer/supervise
