#!/usr/bin/env bash
# Build the image with whatever engine is there: make image [ENGINE=podman] [TAG=cropmask:0.1.0] [TARGET=worker]
# For other processors, which run emulated while it is built: [PLATFORMS=linux/amd64,linux/arm64] [PUSH=1, of docker]
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
# An image of several processors is a list of images: podman and buildah want to be told.
called=--tag
case $engine,${PLATFORMS:-} in docker,*) ;; *,*,*) called=--manifest ;; esac
arguments=(
  --file jobs/Dockerfile --target "$target" "$called" "${TAG:-$name:$version}"
  --build-arg "VERSION=$version"
  --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)"
)
[ -z "${BASE:-}" ] || arguments+=(--build-arg "BASE=$BASE")
[ -z "${PLATFORMS:-}" ] || arguments+=(--platform "$PLATFORMS")
if [ "$engine" = docker ]; then
  put=--load
  [ -z "${PUSH:-}" ] || put=--push
  case ${PLATFORMS:-},$put in
    *,*,--load)
      echo "cropmask: docker keeps no image of several processors: add PUSH=1 and TAG=REGISTRY/NAME:VERSION" >&2
      exit 2 ;;
  esac
  # What is known of the build is signed apart; an image of one processor stays one document.
  exec docker buildx build --provenance=false "$put" "${arguments[@]}" .
fi
arguments+=(--ignorefile jobs/Dockerfile.dockerignore)
# Words such as --isolation chroot, for builds inside a container.
read -ra more <<<"${BUILD_FLAGS:-}"
case $engine in
  podman) exec podman build "${more[@]}" "${arguments[@]}" . ;;
  buildah) exec buildah bud "${more[@]}" "${arguments[@]}" . ;;
esac
