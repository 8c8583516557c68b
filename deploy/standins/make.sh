#!/bin/sh
# Makes stand-ins, of Debian's packages, for the images that docker-compose.yml and
# deploy/Dockerfile name, under their names: for machines that have an engine and
# Debian's packages, and cannot reach a registry. Grafana has none.
#
#	sh deploy/standins/make.sh           # as root; needs debootstrap and Go
#	sh deploy/standins/make.sh remove    # takes the names off again
#
# They are for trying the stack, not for running it: their versions are others than
# their names say. An image that is there already is left alone.
set -eu
cd "$(dirname "$0")"

# name prints the image that docker-compose.yml names for a repository.
name() { sed -n "s|^ *image: *\($1:[^ ]*\).*|\1|p" ../../docker-compose.yml | head -n 1; }
go_version=$(sed -n 's/^ARG GO_VERSION=//p' ../Dockerfile)
s3=$(name versity/versitygw)

if [ "${1:-}" = remove ]; then
  # Only ours: they have the label.
  docker images -q --filter label=klinghook.standin=true | sort -u | xargs -r docker rmi -f
  docker rmi -f klinghook-standin-base
  exit
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

have() { docker image inspect "$1" >/dev/null 2>&1; }
if ! have klinghook-standin-base; then
  debootstrap --variant=minbase --include=ca-certificates bookworm "$work/root"
  tar -C "$work/root" -c . | docker import - klinghook-standin-base
  rm -rf "$work/root"
fi

# build makes the stand-in of a target unless the image is there.
build() {
  have "$2" || DOCKER_BUILDKIT=0 docker build -q --target "$1" -t "$2" "$work/context"
}
mkdir "$work/context"
cp Dockerfile ./*-entrypoint.sh "$work/context/"
build redis "$(name redis)"
build postgres "$(name postgres)"
build caddy "$(name caddy)"
build prometheus "$(name prom/prometheus)"
# Without BuildKit every target before the one that is asked for is built as well: what
# the last two are made of must be there for both.
if ! have "golang:$go_version-alpine" || ! have "$s3"; then
  cp -r "$(go env GOROOT)" "$work/context/go"
  cp /etc/ssl/certs/ca-certificates.crt "$work/context/"
  CGO_ENABLED=0 GOBIN="$work/context" go install "github.com/versity/versitygw/cmd/versitygw@${s3##*:}"
  build golang "golang:$go_version-alpine"
  build versitygw "$s3"
fi
