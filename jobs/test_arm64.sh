#!/usr/bin/env bash
# Whether arm64 writes the same bytes: map the made-up tile by every recipe on this machine and
# emulated, with the packages of the lock file, and compare the digests of all files. Tests that are
# named run emulated as well: make test-arm64 TESTS="tests/unit/core tests/golden". An hour or so.
# Needs root, mmdebstrap, arch-test, qemu-user-static, and the network.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in mmdebstrap arch-test qemu-aarch64-static; do
  command -v "$tool" >/dev/null || { echo "test-arm64 skipped: $tool is not installed"; exit 0; }
done
[ "$(uname -m)" = x86_64 ] || { echo "test-arm64 skipped: this machine is no x86-64"; exit 0; }
binfmt=/proc/sys/fs/binfmt_misc
[ -e $binfmt/register ] || mount -t binfmt_misc none $binfmt
[ -e $binfmt/qemu-aarch64 ] || cat /usr/lib/binfmt.d/qemu-aarch64.conf >$binfmt/register

meters=${RESOLUTION:-100}
work=${WORK:-$(mktemp -d)}
root=$work/root
say() { printf '%-34s %s\n' "$1" "$2"; }
emulated() {
  chroot "$root" /usr/bin/env -i PATH=/usr/bin:/bin HOME=/tmp PYTHONPATH=/app/site:/app \
    NUMBA_CACHE_DIR=/tmp/numba CROPMASK_CACHE=/tmp/world CROPMASK_THREADS=1 "$@"
}

if [ ! -d "$root/app/site" ]; then
  mmdebstrap --quiet --arch=arm64 --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$root"
  mkdir -p "$root/app"
  .uv/bin/uv export --quiet --frozen --no-emit-project --extra train >"$work/locked.txt"
  .uv/bin/uv build --quiet --wheel --out-dir "$work/wheel"
  for wanted in "--require-hashes -r $work/locked.txt" "--no-deps $work/wheel/*.whl"; do
    # shellcheck disable=SC2086 # words and a pattern
    .uv/bin/uv pip install --quiet --python .venv/bin/python --python-version 3.11 \
      --python-platform aarch64-manylinux_2_28 --only-binary :all: --target "$root/app/site" $wanted
  done
  say "arm64 root and packages" "$(du -sh "$root" | cut -f1)"
fi
cp -r jobs/digests.py tests benchmarks docs models pyproject.toml "$root/app"

# Items name their inputs, so both write to a folder of the same name.
folder=$(mktemp -d /tmp/digests-XXXXXX)
mkdir "$root$folder"
trap 'rm -rf "$folder" "$root$folder"' EXIT
CROPMASK_THREADS=1 .venv/bin/python jobs/digests.py "$folder" "$meters" >"$work/here.txt"
say "files here" "$(wc -l <"$work/here.txt")"
SECONDS=0
emulated python3 /app/digests.py "$folder" "$meters" >"$work/arm64.txt"
say "files emulated" "$(wc -l <"$work/arm64.txt"), $SECONDS s"
diff "$work/here.txt" "$work/arm64.txt" || { echo "test-arm64 FAILED: bytes differ" >&2; exit 1; }
say "bytes" "the same"

if [ -n "${TESTS:-}" ]; then
  emulated sh -c "cd /app && python3 -m pytest -p no:cacheprovider -o timeout=0 $TESTS"
fi
echo "test-arm64 passed"
