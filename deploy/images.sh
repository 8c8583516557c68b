#!/bin/sh
# Builds both images under their names in docker-compose.yml, with the version of the
# checkout. Arguments are passed to docker build, such as --platform linux/arm64.
set -eu
cd "$(dirname "$0")/.."
version=$(git describe --tags --always --dirty 2>/dev/null || echo dev)
revision=$(git rev-parse HEAD 2>/dev/null || true)

# Without BuildKit there are no cache mounts and no platforms.
file=$(mktemp)
trap 'rm -f "$file"' EXIT
if docker buildx version >/dev/null 2>&1; then
  cat deploy/Dockerfile >"$file"
  set -- --load "$@"
else
  sed -e 's/--mount=[^ ]* //g' -e 's/--platform=[^ ]* //' deploy/Dockerfile >"$file"
  export DOCKER_BUILDKIT=0
fi
for target in klinghook-ingest klinghook; do
  echo "building localhost/$target:local"
  docker build -f "$file" --target "$target" -t "localhost/$target:local" \
    --build-arg "VERSION=$version" --build-arg "REVISION=$revision" "$@" .
done
