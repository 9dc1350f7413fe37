#!/bin/sh
# Builds pavise as one static program that needs nothing of the machine it runs on:
#
#   dist/build.sh OUTPUT
#
# The same source, toolchain and target give the same bytes.
set -eu
out=${1:-pavise}
cd "$(dirname "$0")/.."
CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags="-s -w" -o "$out" ./cmd/pavise
