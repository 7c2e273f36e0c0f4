#!/usr/bin/env bash
# Build the image with whatever engine is there: make image [ENGINE=podman] [TAG=cropmask:0.1.0] [TARGET=worker]
set -euo pipefail
cd "$(dirname "$0")/.."

works() { case $1 in docker) docker info >/dev/null 2>&1 ;; *) command -v "$1" >/dev/null ;; esac; }
engine=${ENGINE:-}
if [ -z "$engine" ]; then
  for candidate in docker podman buildah; do
    if works "$candidate"; then engine=$candidate; break; fi
  done
fi
case $engine in
  '' | docker | podman | buildah) ;;
  *) echo "cropmask: unknown engine '$engine': choose docker, podman or buildah" >&2; exit 2 ;;
esac
[ -z "$engine" ] || command -v "$engine" >/dev/null || { echo "cropmask: $engine is not installed here" >&2; exit 13; }
[ -n "$engine" ] || { echo "cropmask: no engine builds images here: install docker, podman or buildah" >&2; exit 13; }

version=$(sed -n 's/^VERSION = "\(.*\)"$/\1/p' cropmask/contract.py)
target=${TARGET:-worker}
name=cropmask; [ "$target" = worker ] || name=cropmask-$target
arguments=(
  --file jobs/Dockerfile --target "$target" --tag "${TAG:-$name:$version}"
  --build-arg "VERSION=$version"
  --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)"
)
[ -z "${BASE:-}" ] || arguments+=(--build-arg "BASE=$BASE")
case $engine in
  docker) DOCKER_BUILDKIT=1 exec docker build "${arguments[@]}" . ;;
  *) arguments+=(--ignorefile jobs/Dockerfile.dockerignore) ;;
esac
# Words such as --isolation chroot, for builds inside a container.
read -ra more <<<"${BUILD_FLAGS:-}"
case $engine in
  podman) exec podman build "${more[@]}" "${arguments[@]}" . ;;
  buildah) exec buildah bud "${more[@]}" "${arguments[@]}" . ;;
esac
