#!/usr/bin/env bash
# Time and size of `npm ci` in this commit and in another one, in one run on one machine:
#   scripts/install-report.sh [other commit, default 2217c9b] [rounds, default 2]
# Alternates the two; prints each round, the medians and the ratio. Uses the network and npm's cache as they are.
set -euo pipefail
cd "$(dirname "$0")/.."
other=${1:-2217c9b}
rounds=${2:-2}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git archive HEAD | (mkdir "$work/this" && tar -x -C "$work/this")
git archive "$other" | (mkdir "$work/other" && tar -x -C "$work/other")
for round in $(seq "$rounds"); do
  for tree in other this; do
    rm -rf "$work/$tree/node_modules"
    start=$(date +%s%N)
    # The addon's build is a compiler's time, not npm's.
    (cd "$work/$tree" && FLASHVSR_SKIP_ADDON=1 npm ci --silent >/dev/null 2>&1)
    milliseconds=$((($(date +%s%N) - start) / 1000000))
    megabytes=$(du -sm "$work/$tree/node_modules" | cut -f1)
    echo "$tree round $round: $milliseconds ms, $megabytes MB"
    echo "$milliseconds $megabytes" >>"$work/$tree.rows"
  done
done
median() { sort -n "$1" | awk '{a[NR]=$1; m=$2} END {print (NR % 2) ? a[(NR+1)/2] : (a[NR/2]+a[NR/2+1])/2, m}'; }
read -r other_ms other_mb < <(median "$work/other.rows")
read -r this_ms this_mb < <(median "$work/this.rows")
awk -v a="$this_ms" -v b="$other_ms" -v c="$this_mb" -v d="$other_mb" -v o="$other" \
  'BEGIN { printf "npm ci against %s: time %.2f times (%.1f s / %.1f s), size %.2f times (%d MB / %d MB)\n", o, a/b, a/1000, b/1000, c/d, c, d }'
