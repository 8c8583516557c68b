#!/bin/sh
# make compose-test: tests the stack of docker-compose.yml on this machine's engine, in a
# project of its own, or says in one line why it cannot. Nothing is fetched: bring the
# images with `docker compose pull`, or make stand-ins (deploy/standins/make.sh).
set -eu
cd "$(dirname "$0")"

not_run() {
  echo "compose-test is not run: $1"
  exit 0
}
have() { docker image inspect "$1" >/dev/null 2>&1; }

command -v docker >/dev/null || not_run "Docker is not installed"
docker info >/dev/null 2>&1 || not_run "no Docker engine answers"
docker compose version >/dev/null 2>&1 || docker-compose version >/dev/null 2>&1 || not_run "Compose is not installed"
go_image=golang:$(sed -n 's/^ARG GO_VERSION=//p' ../Dockerfile)-alpine
missing=
for image in "$go_image" $(sed -n 's/^ *image: \(caddy:[^ ]*\|redis:[^ ]*\|postgres:[^ ]*\).*/\1/p' ../../docker-compose.yml); do
  have "$image" || missing="$missing $image"
done
[ -z "$missing" ] || not_run "these images are not here:$missing"

sh ../images.sh
# The test itself is Go: see stack_test.go.
COMPOSE_TEST=1 ${GO:-go} test -count=1 -timeout 30m -run TestStack -v .
