#include "kernels/attention.h"

namespace flashvsr::kernels {
namespace {

/// One warp a row: 32 columns at a time, kept ones take consecutive places.
__global__ void __launch_bounds__(128) KeptWindowsKernel(const KeptWindowsParams p) {
  const int lane = threadIdx.x & 31, row = blockIdx.x * 4 + (threadIdx.x >> 5);
  if (row >= p.rows) return;
  const uint8_t* const mask = p.mask + static_cast<int64_t>(row) * p.columns;
  uint32_t* const entries = p.entries + static_cast<int64_t>(row) * p.columns;
  int count = 0;
  for (int base = 0; base < p.columns; base += 32) {
    const int column = base + lane;
    const bool kept = column < p.columns && mask[column] != 0;
    const unsigned ballot = __ballot_sync(0xffffffffu, kept);
    if (kept) {
      const int group = column / p.windows;
      entries[count + __popc(ballot & ((1u << lane) - 1u))] = KeyWindowEntry(group, column - group * p.windows);
    }
    count += __popc(ballot);
  }
  if (lane == 0) p.counts[row] = count;
}

}  // namespace

cudaError_t LaunchKeptWindows(const KeptWindowsParams& p, cudaStream_t stream) {
  if (p.mask == nullptr || p.entries == nullptr || p.counts == nullptr || p.rows <= 0 || p.columns <= 0 ||
      p.windows <= 0 || p.windows >= 1 << 20 || p.columns % p.windows != 0 || p.columns / p.windows > kMaxKeyGroups)
    return cudaErrorInvalidValue;
  KeptWindowsKernel<<<static_cast<unsigned>(CeilDiv(p.rows, 4)), 128, 0, stream>>>(p);
  return cudaGetLastError();
}

}  // namespace flashvsr::kernels
