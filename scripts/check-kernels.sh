#!/usr/bin/env bash
# Compiles every kernel, without a GPU, and prints what ptxas reports: kernels, most registers, spills. A warning is an error.
#   scripts/check-kernels.sh [ARCH]... [--report FILE] [--launches]
#     ARCH            default: 80 86 89 90 100 120 (Ampere to Blackwell; sm90/ is compiled for 90 only)
#     --report FILE   registers, stack, spills and static shared memory of every kernel and architecture
#     --launches      then runs whole chunks of the CUDA backend for a card of every compute capability on paper and holds every
#                     launch against the card's limits (native/backend/cuda/paper); builds flashvsr_paper in BUILD (build/paper)
# Needs nvcc 13 (CUDA toolkit). Without it, says so and ends with 0. KEEP=DIR keeps the cubins and ptxas' output there; JOBS (all cores).
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v nvcc >/dev/null || ! nvcc --version | grep -q 'release 13\.'; then
  echo "skipped  kernels: nvcc 13 is not here (CUDA toolkit 13)"
  exit 0
fi
archs=()
report=
launches=
while [ $# -gt 0 ]; do
  case $1 in
    --report) report=$2 && shift ;;
    --launches) launches=1 ;;
    *) archs+=("$1") ;;
  esac
  shift
done
[ ${#archs[@]} -eq 0 ] && archs=(80 86 89 90 100 120)
jobs=${JOBS:-$(getconf _NPROCESSORS_ONLN)}
out=${KEEP:-$(mktemp -d)}
mkdir -p "$out"
[ -n "${KEEP:-}" ] || trap 'rm -rf "$out"' EXIT

compile() {  # ARCH FILE
  local target=$1 define=() name
  name=$out/$1-$(basename "$(dirname "$2")")-$(basename "$2" .cu)
  case $2 in kernels/sm90/*) target=90a define=(-DFLASHVSR_SM90) ;; esac
  nvcc -O3 -DNDEBUG -std=c++17 --expt-relaxed-constexpr -Xcompiler=-Wall,-Wextra -Werror=all-warnings -Xptxas -v "-arch=sm_$target" \
    "${define[@]}" -I. -cubin "$2" -o "$name.cubin" 2>"$name.ptxas" || { cat "$name.ptxas"; return 1; }
}
export -f compile
export out
for arch in "${archs[@]}"; do
  for file in kernels/smxx/*.cu kernels/sm90/*.cu; do
    case $file in kernels/sm90/*) [ "$arch" = 90 ] || continue ;; esac
    printf '%s %s\n' "$arch" "$file"
  done
done | xargs -P "$jobs" -L1 bash -c 'compile "$0" "$1"'

for arch in "${archs[@]}"; do
  cat "$out/$arch"-*.ptxas | awk -v arch="$arch" '
    /spill stores/ { spills = $5 + $9; if (spills > 0) { spilling++; bytes += spills } }
    /Used [0-9]+ registers/ { kernels++; for (i = 1; i < NF; ++i) if ($i == "Used" && $(i + 1) > most) most = $(i + 1) + 0 }
    END { printf "sm_%-4s %3d kernels  most registers %3d  spilling %2d (%d bytes)\n", arch, kernels, most, spilling, bytes }'
done

if [ -n "$report" ]; then
  {
    echo "# scripts/check-kernels.sh --report, $(date -u +%F), $(nvcc --version | grep -o 'V[0-9.]*' | tail -1), commit ${COMMIT:-$(git rev-parse --short HEAD)}"
    printf '%-7s %9s %6s %7s %7s  %s\n' arch registers stack spills shared kernel
    for arch in "${archs[@]}"; do
      cat "$out/$arch"-*.ptxas | c++filt | awk -v arch="$arch" '
        /Compiling entry function/ { name = $0; sub(/^[^\047]*\047/, "", name); sub(/\047 for .*/, "", name) }
        /bytes stack frame/ { stack = $1; spills = $5 + $9 }
        /Used [0-9]+ registers/ {
          shared = 0
          for (i = 2; i <= NF; ++i) { if ($(i - 1) == "Used") registers = $i; if ($i == "smem," || $i == "smem") shared = $(i - 2) }
          gsub(/void |flashvsr::kernels::|\(anonymous namespace\)::|\(int\)|\(bool\)/, "", name)
          sub(/\([^<>]*\)$/, "", name)
          printf "sm_%-4s %9d %6d %7d %7d  %s\n", arch, registers, stack, spills, shared, name
        }' | sort -k6
    done
  } >"$report"
  echo "registers, spills and shared memory by kernel: $report"
fi

if [ -n "$launches" ]; then
  build=${BUILD:-build/paper}
  mkdir -p "$build"
  cmake -S native -B "$build" -DFLASHVSR_CUDA=ON -DFLASHVSR_CUDA_ARCHS=90 -DCMAKE_CUDA_ARCHITECTURES=90 >/dev/null &&
    cmake --build "$build" -j "$jobs" --target flashvsr_paper >"$build/build.log" 2>&1 || { tail -40 "$build/build.log"; echo "the build failed"; exit 1; }
  "$build/backend/cuda/paper/flashvsr_paper" --resources "$out"
fi
