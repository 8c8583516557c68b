#!/bin/sh
# Builds stand-ins for the images that docker-compose.yml and deploy/Dockerfile use,
# from Debian packages and Go modules, for machines with a Docker engine but no
# registry. There is none for Grafana.
#
#	sh deploy/standins/make.sh           # as root; needs debootstrap and Go
#	sh deploy/standins/make.sh s3        # also versitygw
#	sh deploy/standins/make.sh remove    # deletes them
#
# Use them to test the stack only: most versions differ from those in the names.
# Existing images are kept.
set -eu
cd "$(dirname "$0")"

# name prints the image of a repository in docker-compose.yml.
name() { sed -n "s|^ *image: *\($1:[^ ]*\).*|\1|p" ../../docker-compose.yml | head -n 1; }
go_version=$(sed -n 's/^ARG GO_VERSION=//p' ../Dockerfile)
s3=$(name versity/versitygw)
caddy=$(name caddy)

if [ "${1:-}" = remove ]; then
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

# build TARGET IMAGE builds a stand-in unless the image exists.
build() {
  have "$2" || DOCKER_BUILDKIT=0 docker build -q --target "$1" -t "$2" "$work/context"
}
export CGO_ENABLED=0 GOBIN="$work/context"
mkdir "$work/context"
cp Dockerfile ./*-entrypoint.sh "$work/context/"
build redis "$(name redis)"
build postgres "$(name postgres)"
build prometheus "$(name prom/prometheus)"
# Without BuildKit, docker builds every target before the requested one, so the files of
# the earlier ones must exist.
mkdir "$work/context/go"
cp /etc/ssl/certs/ca-certificates.crt "$work/context/"
if ! have "golang:$go_version-alpine"; then
  cp -r "$(go env GOROOT)/." "$work/context/go"
  build golang "golang:$go_version-alpine"
fi
if ! have "$caddy"; then
  caddy_version=${caddy##*:}
  go install "github.com/caddyserver/caddy/v2/cmd/caddy@v${caddy_version%-alpine}"
  build caddy "$caddy"
fi
if [ "${1:-}" = s3 ] && ! have "$s3"; then
  touch "$work/context/caddy"
  go install "github.com/versity/versitygw/cmd/versitygw@${s3##*:}"
  build versitygw "$s3"
fi
