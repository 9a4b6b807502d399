#!/usr/bin/env bash
# Builds the CUDA part and runs its tests on this machine's GPU. Needs CMake, a C++20 compiler, nvcc 13 and a GPU of compute
# capability 8.0 or newer; no Node.
#   scripts/test-gpu.sh [PART]...     parts: kernels sanitize parity official streams (default: all; each under 8 minutes)
# Environment: BUILD (build folder, default build/gpu), NO_BUILD=1 (use what is there), GOLDEN (more golden folders, by spaces),
#   ARCHS (compute capabilities, default this GPU's).
set -uo pipefail
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build/gpu}
LIBRARY=$BUILD/backend/cuda/libflashvsr_cuda.so
parts=("$@")
[ ${#parts[@]} -eq 0 ] && parts=(kernels sanitize parity official streams)
failed=()

check() {  # NAME COMMAND...
  local name=$1 start=$SECONDS
  shift
  echo "--- $name: $*"
  if "$@"; then echo "--- $name: ok, $((SECONDS - start)) s"; else
    echo "--- $name: FAIL, $((SECONDS - start)) s"
    failed+=("$name")
  fi
}

if [ -z "${NO_BUILD:-}" ]; then
  archs=${ARCHS:-$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d .)}
  generator=()
  command -v ninja >/dev/null && generator=(-G Ninja)
  cmake -S native -B "$BUILD" "${generator[@]}" -DFLASHVSR_CUDA=ON "-DFLASHVSR_CUDA_ARCHS=$archs" "-DCMAKE_CUDA_ARCHITECTURES=$archs" >/dev/null &&
    cmake --build "$BUILD" -j "$(nproc)" >"$BUILD/build.log" 2>&1 || { tail -40 "$BUILD/build.log"; echo "the build failed"; exit 1; }
fi

for part in "${parts[@]}"; do
  case $part in
    kernels) check kernels "$BUILD/kernels/tests/flashvsr_kernel_tests" ;;
    sanitize)
      for tool in memcheck racecheck; do
        check "$tool" compute-sanitizer --tool $tool --error-exitcode 9 "$BUILD/kernels/tests/flashvsr_kernel_tests" --quick
      done
      ;;
    parity)
      for folder in testdata/golden ${GOLDEN:-}; do
        check "parity bf16 $folder" "$BUILD/tools/flashvsr_parity" "$folder" --device cuda --precision bf16 --library "$LIBRARY"
        check "parity bf16 portable $folder" env FLASHVSR_CUDA_PATH=portable "$BUILD/tools/flashvsr_parity" "$folder" --device cuda --precision bf16 --library "$LIBRARY"
        check "parity fp32 $folder" "$BUILD/tools/flashvsr_parity" "$folder" --device cuda --precision fp32 --library "$LIBRARY"
      done
      ;;
    official)
      for path in auto portable; do
        check "official widths $path" env FLASHVSR_CUDA_PATH=$path "$BUILD/tools/flashvsr_compare" --device cuda --precision bf16 --size 256x384 --layers 4 --chunks 2 \
          --topk-ratio 1.2 --library "$LIBRARY"
      done
      ;;
    streams) check streams "$BUILD/kernels/tests/flashvsr_cuda_stream_tests" --chunks 1000 ;;
    *) echo "unknown part $part"; exit 2 ;;
  esac
done
if [ ${#failed[@]} -gt 0 ]; then
  printf 'FAILED: %s\n' "${failed[@]}"
  exit 1
fi
echo "all parts passed: ${parts[*]}"
