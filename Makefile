# The commands of a contributor. `make` alone lists them. What CI also runs is
# written once, in .ci/run.

.DEFAULT_GOAL := help
.PHONY: help test race vet staticcheck fuzz-smoke kill-storm crash-storm soak every-float demo-model bench-ledger bench-policy bench-gateway bench-start bench-theft bench-theft-detect bench-theft-fidelity bench-theft-marks bench-theft-prompts bench-theft-timing bench-ingest bench-dataset bench-dataset-large bench-poison bench-drift bench-registry attack-ledgers walk-lifecycle kubernetes ci

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: ## all tests
	go test ./...

race: ## the short tests under the race detector
	.ci/run race

vet: ## go vet, in both modules
	go vet ./...
	cd bench && go vet ./...

staticcheck: ## staticcheck, at the version that CI uses
	.ci/run staticcheck

fuzz-smoke: ## every fuzz target for a few seconds (FUZZTIME=5s)
	.ci/run fuzz

kill-storm: ## kill -9 a working pavise a hundred times; nothing acknowledged may be lost
	PAVISE_KILLS=100 .ci/run killstorm

crash-storm: ## power losses at a thousand random places while acts run; none may run twice
	PAVISE_CRASHES=1000 .ci/run crashstorm

soak: ## ask a running pavise for an hour in every protocol, and change it; its memory must stay flat (SOAK=1h)
	PAVISE_SOAK=$(or $(SOAK),1h) go test -count=1 -timeout 0 -v -run '^TestSoak$$' ./cmd/pavise

every-float: ## write every FP32 that we write ourselves, and hold it against strconv: half a minute
	PAVISE_EVERY_FLOAT=1 go test -count=1 -v -run '^TestEveryFloat$$' ./internal/decimal

demo-model: ## train the sample model again; the same bytes come out
	go run ./examples/threat-detector/train --out examples/threat-detector --seed 1

bench-ledger: ## the evidence log: beside its peers, as it grows, and its followers (ARGS=--write keeps the results)
	cd bench && go run ./ledger $(ARGS)
	cd bench && go run ./follow $(ARGS)
	cd bench && go run ./growth $(ARGS)
	cd bench && go run ./growth --entry 384 $(ARGS)

bench-policy: ## one authorization decision beside cedar-go and OPA, knowing who calls, and a change at every gateway (ARGS=--write keeps the results)
	cd bench && go run ./policy $(ARGS)
	cd bench && go run ./identity $(ARGS)
	cd bench && go run ./fleet $(ARGS)

bench-gateway: ## the gateway beside nginx, haproxy, Caddy and Portkey, idle crowds and storms with it (ARGS=--write keeps the results)
	cd bench && go run ./gateway $(ARGS)

bench-start: ## binary size, build time, time until ready, memory (ARGS=--write keeps the result)
	cd bench && go run ./start $(ARGS)

bench-theft: bench-theft-detect bench-theft-fidelity bench-theft-marks bench-theft-prompts bench-theft-timing ## model theft: all parts, a quarter of an hour on two cores at most (ARGS=--write keeps the results)

bench-theft-detect: ## rows until thieves are found, and honest clients taken for such
	cd bench && go run ./theft/detect --seed 17 $(ARGS)

bench-theft-fidelity: ## how like a model its copies are, and whether that is the luck of a seed
	cd bench && go run ./theft/fidelity $(ARGS)
	cd bench && go run ./theft/fidelity --seeds 3 $(ARGS)

bench-theft-marks: ## marks that copies learn, beside innocent models
	cd bench && go run ./theft/marks $(ARGS)

bench-theft-prompts: ## what rules for prompts hold for an attack
	cd bench && go run ./theft/prompts $(ARGS)

bench-theft-timing: ## what answer times tell
	cd bench && go run ./theft/timing --stands 1000 $(ARGS)

bench-ingest: ## log templates beside Drain3 ($PAVISE_DRAIN3 names its Python), and misconfigured pods (ARGS=--write keeps the results)
	cd bench && go run ./ingest $(ARGS)

bench-dataset: ## sealing a dataset by row and by block, beside openssl (ARGS=--write keeps the result)
	cd bench && go run ./dataset $(ARGS)

bench-dataset-large: ## sealing one file of 10 GB, and the memory that it takes (GB=3 makes it smaller)
	cd bench && go run ./dataset --gigabytes $(or $(GB),10) $(ARGS)

bench-poison: ## poisoned training data: how high its rows rank, and what clean rows are taken for it (ARGS=--write keeps the results)
	cd bench && go run ./poison $(ARGS)

bench-drift: ## a value counted for drift beside Evidently (ARGS="--python PYTHON --write" asks a Python that has it, and keeps the results)
	cd bench && go run ./drift $(ARGS)

bench-registry: ## the registry of models asked over HTTP by 32 callers: versions, and additions that are durable (ARGS=--write keeps the result)
	cd bench && go run ./registry $(ARGS)

attack-ledgers: ## write the golden ledgers of the attacks anew, when they are meant to ask other rows
	go test ./internal/extraction -run '^TestGoldenLedgers$$' -update

walk-lifecycle: ## a model's life from mlflow.register_model to three targets and back, told as it goes
	.ci/run lifecycle

kubernetes: ## a Kubernetes API server built from source, and the tests that ask it; the first time a quarter of an hour (ARGS=record keeps what it says)
	.ci/kubernetes $(ARGS)

ci: ## everything that must hold before a change is kept
	.ci/run
