#!/bin/bash
# Several candidates of a round at once, one GPU each, or one candidate on all GPUs; bounded by the wall clock.
#
#   training/rounds.sh SECONDS DATA START OUT GPU:CANDIDATE...
#
# SECONDS bounds everything, packing included. DATA is the pack, START a folder with the checkpoints to start from. OUT gets one
# CANDIDATE.tar each (checkpoints and log.json, renewed about every minute) and CANDIDATE.txt, what the training printed.
# GPU is a number, or several joined by commas: then that candidate runs on all of them (--ranks). Example:
#
#   training/rounds.sh 540 .train .train/start "$OUT" 0:a 1:b 2:c
set -u
[ $# -ge 5 ] || { sed -n 2,10p "$0"; exit 2; }
begun=$(date +%s)
seconds=$1 data=$2 start=$3 out=$4
shift 4
here=$(dirname "$0")
work=$(mktemp -d)
mkdir -p "$out"

# Starts from shipped weights: no slope below zero, 8 bits from the first step on.
common="--leaky 0 --quantise-at 0 --warmup 300 --frames 10 --keep-end 0.9995"
sharp="--sharp 0.6 --bend-end 0.06"
options() {
  case $1 in
    a) echo "--models nano-skip $sharp --clean 0.55 --fresh 0.8 --noisy 0.3 --items 24 --rate 6e-4 --flicker 0.2 --flicker-compressed 0.6 --gradient 0.03 --seed 11" ;;
    b) echo "--models nano-skip $sharp --bend-end 0.1 --clean 0.7 --fresh 0.85 --noisy 0.2 --items 24 --rate 6e-4 --flicker 0.1 --flicker-compressed 0.5 --gradient 0.02 --seed 12" ;;
    c) echo "--models mini-skip,nano-x2 $sharp --clean 0.5 --fresh 0.8 --noisy 0.3 --items 20 --rate 8e-4 --flicker 0.25 --flicker-compressed 0.9 --gradient 0.03 --seed 13" ;;
    # Round 5. START holds b's nano-skip and the shipped mini-skip. With --bend-from -3 the bend is the same all the time.
    e) echo "--models nano-skip $sharp --bend-end 0.03 --bend-from -3 --clean 0.75 --fresh 0.85 --noisy 0.2 --items 24 --rate 7e-4 --flicker 0.1 --flicker-compressed 0.5 --gradient 0.02 --seed 31" ;;
    f) echo "$(options e) --bend-end 0.1 --rate 6e-4 --seed 32" ;;
    g) echo "$(options e) --bend-end 0.01 --clean 0.8 --seed 33" ;;
    m) echo "--models mini-skip --sharp 0.4 --bend-end 0.01 --clean 0.5 --fresh 0.8 --noisy 0.3 --items 24 --rate 8e-4 --flicker 0.3 --flicker-compressed 1.0 --gradient 0.03 --seed 34" ;;
    *) echo "unknown candidate $1" >&2; return 1 ;;
  esac
}

pack() {
  local name file
  for name in "${names[@]}"; do
    [ -e "$work/$name/log.json" ] || continue
    file=$work/$name.tar
    tar -C "$work" -cf "$file" --exclude='*.new' "$name" && mv "$file" "$out/$name.tar"
  done
}

for pair in "$@"; do options "${pair##*:}" > /dev/null || exit 2; done
names=() pids=()
for pair in "$@"; do
  gpus=${pair%%:*} name=${pair##*:}
  chosen=$(options "$name")
  ranks=$(echo "$gpus" | tr ',' '\n' | wc -l)
  names+=("$name")
  left=$((seconds - $(date +%s) + begun))
  # The program itself ends in time; `timeout` is for one that hangs.
  # shellcheck disable=SC2086
  TORCHINDUCTOR_CACHE_DIR="$work/kernels-$name" CUDA_VISIBLE_DEVICES=$gpus timeout -k 5 $((left - 5)) "${PYTHON:-python3}" "$here/train.py" --data "$data" --resume "$start" --out "$work/$name" \
    --seconds $((left - 20)) --ranks "$ranks" $common $chosen ${EXTRA:-} > "$out/$name.txt" 2>&1 &
  pids+=($!)
done
failed=0
while :; do
  running=0
  for pid in "${pids[@]}"; do kill -0 "$pid" 2> /dev/null && running=1; done
  pack
  [ $running = 1 ] || break
  for _ in $(seq 30); do
    sleep 1
    for pid in "${pids[@]}"; do kill -0 "$pid" 2> /dev/null && continue 2; done
    break
  done
done
for index in "${!pids[@]}"; do
  wait "${pids[$index]}" || { echo "${names[$index]}: status $?"; failed=1; }
  tail -n 5 "$out/${names[$index]}.txt"
done
[ $failed = 0 ] || { sleep 3; pack; }  # a process that was asked to end saves first
rm -rf "$work"
exit $failed
