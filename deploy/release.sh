#!/bin/sh
# Builds the files of a release into dist/: an archive per platform, SHA256SUMS, and a
# CycloneDX SBOM per program.
#
#	sh deploy/release.sh v1.2.3
#	PLATFORMS=linux/amd64 sh deploy/release.sh v1.2.3    # only one
set -eu
cd "$(dirname "$0")/.."
version=${1:?usage: sh deploy/release.sh VERSION}
export CGO_ENABLED=0
GOBIN=$PWD/bin go install github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.9.0

rm -rf dist
mkdir dist
for platform in ${PLATFORMS:-linux/amd64 linux/arm64 darwin/amd64 darwin/arm64}; do
  os=${platform%/*} arch=${platform#*/}
  name=klinghook-$version-$os-$arch
  mkdir "dist/$name"
  GOOS=$os GOARCH=$arch go build -trimpath -tags grpcnotrace -buildvcs=false -ldflags "-s -w -X main.version=$version" -o "dist/$name/" ./cmd/klinghook ./cmd/klinghook-ingest
  cp LICENSE README.md CHANGELOG.md "dist/$name/"
  # The same sources give the same archive.
  tar --sort=name --owner=0 --group=0 --numeric-owner --mtime='UTC 2020-01-01' -C dist -c "$name" | gzip -n >"dist/$name.tar.gz"
  if [ "$platform" = linux/amd64 ]; then
    for program in klinghook klinghook-ingest; do
      bin/cyclonedx-gomod bin -json -licenses -version "$version" -output "dist/$program-$version.cdx.json" "dist/$name/$program"
    done
  fi
  rm -r "dist/$name"
done
(cd dist && sha256sum -- * >SHA256SUMS)
