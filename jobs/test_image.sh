#!/usr/bin/env bash
# Build the image on a base made here, and run the demo in it as the cluster would: no root, a
# read-only root file system, no capabilities, a memory limit. Needs root, buildah, podman, runc,
# mmdebstrap, and the network for the build.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in buildah podman runc mmdebstrap; do
  command -v "$tool" >/dev/null || { echo "test-image skipped: $tool is not installed"; exit 0; }
done

base=localhost/cropmask-base:bookworm
image=localhost/cropmask:test
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { printf '%-34s %s\n' "$1" "$2"; }
fail() { echo "test-image FAILED: $*" >&2; exit 1; }
now() { date +%s.%N; }
since() { echo "$1 $(now)" | awk '{printf "%.1f s", $2 - $1}'; }

if ! buildah inspect --type image "$base" >/dev/null 2>&1; then
  started=$(now)
  mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$work/root.tar"
  podman import --quiet "$work/root.tar" "$base" >/dev/null
  say "base made" "$(since "$started")"
fi

started=$(now)
ENGINE=buildah TAG=$image BASE=$base \
  BUILD_FLAGS="--isolation chroot --pull-never --layers --volume /etc/ssl/certs:/etc/ssl/certs:ro" \
  bash jobs/build.sh >"$work/build.log" 2>&1 || { tail -40 "$work/build.log" >&2; fail "the build"; }
say "image built" "$(since "$started")"
grep -E '^kernels for|MB$' "$work/build.log" || true

size=$(podman image inspect --format '{{.Size}}' "$image")
say "size" "$((size / 1000000)) MB"
[ "$size" -lt 1200000000 ] || fail "the image has $size bytes, more than 1.2 GB"

places() { rm -rf "$work/tmp" "$work/cache"; install -d -o 10001 -g 10001 "$work/tmp" "$work/cache"; }
name=cropmask-test-$$
run() (  # run MEMORY ARGUMENTS...
  cd "$work" && # the engine notes a lack of memory in the folder where it was started
    podman --cgroup-manager=cgroupfs --runtime runc run --rm --name "$name" \
    --ulimit nofile=1024:1024 --ulimit nproc=4096:4096 --network none \
    --read-only --read-only-tmpfs=false --cap-drop=ALL --security-opt no-new-privileges \
    --volume "$work/tmp:/tmp" --volume "$work/cache:/var/cache/cropmask" --memory "$@"
)

places
[ "$(run 1g --entrypoint id "$image" -u)" = 10001 ] || fail "the image does not run as user 10001"
if run 1g --entrypoint touch "$image" /app/x 2>/dev/null; then fail "the root can be written"; fi
run 1g --entrypoint python "$image" -c '
import importlib.util as u
found = [m for m in ("sklearn", "joblib", "aws_cdk", "pytest", "moto", "kubernetes", "datacube") if u.find_spec(m)]
raise SystemExit(f"not for workers: {found}" if found else 0)' || fail "packages"
[ "$(run 1g "$image" --version)" = "cropmask $(sed -n 's/^VERSION = "\(.*\)"$/\1/p' cropmask/contract.py)" ] ||
  fail "the version"
say "user 10001, read-only, packages" "ok"

kernels='import time; t = time.monotonic()
from cropmask.core.warmup import warm_kernels; warm_kernels()
print(f"{time.monotonic() - t:.1f} s, {time.process_time():.1f} CPU-s")'
places; touch "$work/before"
say "kernels ready, warmed image" "$(run 2g --entrypoint python "$image" -c "$kernels")"
new=$(find "$work/cache/numba" -name '*.nbi' -newer "$work/before" | wc -l)
[ "$new" = 0 ] || fail "$new kernels were compiled again: the cache of the image was not used"
places; install -d -o 10001 -g 10001 "$work/cache/numba"; touch "$work/cache/numba/not-empty"
say "kernels ready, without its cache" "$(run 2g --entrypoint python "$image" -c "$kernels")"

places
started=$(now)
run 2g --entrypoint cropmask-job "$image" --tile x10y20 --region eastern --output /tmp/output >"$work/demo.log" 2>&1 ||
  { tail -20 "$work/demo.log" >&2; fail "the demo"; }
say "demo at 60 m, 2 GB" "$(since "$started")"
find "$work/tmp/output" -name '*.stac-item.json' | grep -q . || fail "the demo left no item"
started=$(now)
run 2g --entrypoint cropmask-job "$image" --tile x10y20 --region eastern --output /tmp/output >"$work/again.log" 2>&1 ||
  fail "the demo, again"
grep -qi skipped "$work/again.log" || fail "the demo again was not skipped"
say "again: skipped" "$(since "$started")"

code=0
run 150m --entrypoint cropmask-job "$image" --tile x10y20 --region eastern --output /tmp/small --resolution 10 \
  >"$work/small.log" 2>&1 || code=$?
case $code in 12 | 13 | 137) say "with 150 MB" "refused, exit code $code" ;; *) fail "150 MB ended with $code" ;; esac

code=0 name=cropmask-test-$$-stopped  # the one that was killed may not be gone yet
run 2g --entrypoint cropmask-job "$image" --tile x10y20 --region eastern --output /tmp/stopped --overwrite \
  --resolution 20 >"$work/stopped.log" 2>&1 &
sleep 8  # imports are done, the tile is not
podman --cgroup-manager=cgroupfs --runtime runc kill --signal TERM "$name" >/dev/null
wait $! || code=$?
[ "$code" = 4 ] || { tail -5 "$work/stopped.log" >&2; fail "SIGTERM ended with $code, not 4"; }
if find "$work/tmp/stopped" -name '*.stac-item.json' 2>/dev/null | grep -q .; then fail "an item was left"; fi
say "SIGTERM" "arrives, exit code 4, no item"
echo "test-image passed"
