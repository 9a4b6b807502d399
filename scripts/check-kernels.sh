#!/usr/bin/env bash
# Compiles every kernel, without a GPU, and prints what ptxas reports: kernels, most registers, spills. A warning is an error.
#   scripts/check-kernels.sh [ARCH]...     default: 80 86 89 90 100 120 (Ampere to Blackwell; sm90/ is compiled for 90 only)
# Needs nvcc 13 (CUDA toolkit). Without it, says so and ends with 0. KEEP=DIR keeps the cubins and reports there.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v nvcc >/dev/null || ! nvcc --version | grep -q 'release 13\.'; then
  echo "skipped  kernels: nvcc 13 is not here (CUDA toolkit 13)"
  exit 0
fi
archs=("$@")
[ ${#archs[@]} -eq 0 ] && archs=(80 86 89 90 100 120)
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
done | xargs -P "$(getconf _NPROCESSORS_ONLN)" -L1 bash -c 'compile "$0" "$1"'

for arch in "${archs[@]}"; do
  cat "$out/$arch"-*.ptxas | awk -v arch="$arch" '
    /spill stores/ { spills = $5 + $9; if (spills > 0) { spilling++; bytes += spills } }
    /Used [0-9]+ registers/ { kernels++; for (i = 1; i < NF; ++i) if ($i == "Used" && $(i + 1) > most) most = $(i + 1) + 0 }
    END { printf "sm_%-4s %3d kernels  most registers %3d  spilling %2d (%d bytes)\n", arch, kernels, most, spilling, bytes }'
done
