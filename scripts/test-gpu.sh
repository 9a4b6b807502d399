#!/usr/bin/env bash
# Builds the CUDA part and runs its tests on this machine's GPU. Needs CMake, a C++20 compiler, nvcc 13 and a GPU of compute
# capability 8.0 or newer; no Node.
#   scripts/test-gpu.sh [PART]...     parts: kernels sanitize parity official streams (default: all of these; each under 8 minutes), hang
# Environment: BUILD (build folder, default build/gpu), NO_BUILD=1 (use what is there), GOLDEN (more golden folders, by spaces),
#   ARCHS (compute capabilities, default this GPU's).
set -uo pipefail
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build/gpu}
LIBRARY=$BUILD/backend/cuda/libflashvsr_cuda.so
scripts/unpack-golden.sh # with NO_BUILD=1 nothing else does it
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
    kernels) check kernels "$BUILD/kernels/test/flashvsr_kernel_tests" ;;
    sanitize)
      for tool in memcheck racecheck; do
        check "$tool" compute-sanitizer --tool $tool --error-exitcode 9 "$BUILD/kernels/test/flashvsr_kernel_tests" --quick
      done
      ;;
    parity)
      for folder in testdata/golden ${GOLDEN:-}; do
        for run in auto:bf16 portable:bf16 sm90:bf16 auto:fp8 auto:int8 portable:int8 auto:fp32; do
          check "parity $run $folder" env "FLASHVSR_CUDA_PATH=${run%:*}" "$BUILD/tools/flashvsr_parity" "$folder" --device cuda --precision "${run#*:}" --library "$LIBRARY"
        done
      done
      ;;
    official)
      for run in auto:bf16 portable:bf16 sm90:bf16 auto:fp8 portable:int8; do
        check "official widths $run" env "FLASHVSR_CUDA_PATH=${run%:*}" "$BUILD/tools/flashvsr_compare" --device cuda --precision "${run#*:}" --size 256x384 --layers 4 \
          --chunks 2 --topk-ratio 1.2 --library "$LIBRARY"
      done
      # Shapes that fill the card: here every operation with a Hopper kernel or vendor product must have used it.
      check "sm90 at full size" env FLASHVSR_CUDA_PATH=sm90 timeout 120 "$BUILD/tools/flashvsr_bench" --synthetic --layers 2 --part sizes --chunks 3 --warmup 1 --device cuda \
        --library "$LIBRARY"
      ;;
    streams)
      check streams "$BUILD/backend/cuda/test/flashvsr_cuda_stream_tests" --chunks 1000
      ;;
    hang) check "a kernel that hangs" timeout -s KILL 30 "$BUILD/backend/cuda/test/flashvsr_cuda_hang_test" "$LIBRARY" ;;
    *) echo "unknown part $part"; exit 2 ;;
  esac
done
if [ ${#failed[@]} -gt 0 ]; then
  printf 'FAILED: %s\n' "${failed[@]}"
  exit 1
fi
echo "all parts passed: ${parts[*]}"
