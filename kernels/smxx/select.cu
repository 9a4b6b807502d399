#include "kernels/select.h"

#include "kernels/common/element.cuh"

namespace flashvsr::kernels {
namespace {

constexpr int kScoreThreads = 256, kScoreWarps = kScoreThreads / 32, kSelectThreads = 1024;
constexpr int kRows = 4,
              kTogether = 8;  // query windows a block, key windows a warp multiplies at a time: 32 products, one a lane
constexpr int kHeld = 20;     // values a thread of the selection keeps in registers, where all of them fit
constexpr int kCopies = 4;    // of the histogram, so that fewer warps meet at one bin
constexpr int kMostBins = 2048;

/// Sums 2 * kHalf numbers a lane over the warp's groups of 2 * kHalf lanes, each lane ending with one: with 16, 31
/// shuffles, and lane l gets the sum of number l. (A loop over halves would keep the numbers in memory.)
template <int kHalf>
__device__ __forceinline__ float SumTogether(const float (&v)[2 * kHalf], int lane) {
  const bool upper = (lane & kHalf) != 0;
  float kept[kHalf];
#pragma unroll
  for (int j = 0; j < kHalf; ++j)
    kept[j] = (upper ? v[j + kHalf] : v[j]) + __shfl_xor_sync(0xffffffffu, upper ? v[j] : v[j + kHalf], kHalf);
  if constexpr (kHalf > 1) return SumTogether<kHalf / 2>(kept, lane);
  return kept[0];
}

/// One block per (kRows query windows, head), so that the keys' means come from L2 once for all of them: scores of the
/// allowed key windows, then their softmax.
__global__ void __launch_bounds__(kScoreThreads) ScoreKernel(const __grid_constant__ SelectParams p) {
  extern __shared__ float scores[];  // (kRows, columns)
  const int windows = p.windowRows * p.windowColumns, columns = p.keyGroups * windows, rows = p.queryGroups * windows;
  const int firstRow = blockIdx.x * kRows, head = blockIdx.y, lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int reach = p.localRange / 2, width = p.heads * kHeadWidth;
  // Query means of this block's rows
  float4 q[kRows];
#pragma unroll
  for (int r = 0; r < kRows; ++r)
    q[r] = *reinterpret_cast<const float4*>(p.queryMeans + static_cast<int64_t>(min(firstRow + r, rows - 1)) * width +
                                            head * kHeadWidth + lane * 4);

  // Scores: kTogether key windows a step of a warp
  const int mine = lane / kTogether,
            query = min(firstRow + mine, rows - 1) % windows;  // this lane's row and key window of every step
  const int queryRow = query / p.windowColumns, queryColumn = query % p.windowColumns;
  for (int first = warp * kTogether; first < columns; first += kScoreWarps * kTogether) {
    float products[kRows * kTogether];
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      const int column = min(first + i, columns - 1), group = column / windows, key = column - group * windows;
      const float4 k = *reinterpret_cast<const float4*>(p.keyMeans[group] + static_cast<int64_t>(key) * width +
                                                        head * kHeadWidth + lane * 4);
#pragma unroll
      for (int r = 0; r < kRows; ++r)
        products[r * kTogether + i] = q[r].x * k.x + q[r].y * k.y + q[r].z * k.z + q[r].w * k.w;
    }
    const float score = SumTogether<kRows * kTogether / 2>(products, lane) * 0.08838834764831845f;
    const int column = first + lane % kTogether, key = column % windows;
    const int keyRow = key / p.windowColumns, keyColumn = key - keyRow * p.windowColumns;
    const bool allowed = abs(queryRow - keyRow) <= reach && abs(queryColumn - keyColumn) <= reach;
    if (column < columns) scores[mine * columns + column] = allowed ? score : -INFINITY;
  }
  __syncthreads();
  // Softmax: one warp a row
  if (warp >= kRows || firstRow + warp >= rows) return;
  float* const own = scores + warp * columns;
  float top = -INFINITY, sum = 0.0f;
  for (int column = lane; column < columns; column += 32) top = fmaxf(top, own[column]);
#pragma unroll
  for (int offset = 16; offset > 0; offset >>= 1) top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, offset));
  for (int column = lane; column < columns; column += 32) {
    const float e = expf(own[column] - top);
    own[column] = e;
    sum += e;
  }
  sum = WarpSum(sum);
  float* const out = p.probabilities + (static_cast<int64_t>(head) * rows + firstRow + warp) * columns;
  for (int column = lane; column < columns; column += 32) out[column] = own[column] / sum;
}

/// One block per (query group, head): the bits of the (topk+1)-th largest probability, 11, 10 and 10 at a time from the
/// top (the bits of non-negative floats order like the floats; 11 bits already separate eighths of an octave, so the
/// histogram's additions seldom meet), then the mask. kAllHeld: every value stays in its thread's registers; otherwise
/// they are read again each time.
template <bool kAllHeld>
__global__ void __launch_bounds__(kSelectThreads) ThresholdKernel(const __grid_constant__ SelectParams p) {
  __shared__ int histogram[kCopies][kMostBins];
  __shared__ int warpTotals[kSelectThreads / 32];
  __shared__ unsigned foundBin;
  __shared__ int foundRank;
  const int windows = p.windowRows * p.windowColumns;
  const int64_t count = static_cast<int64_t>(windows) * p.keyGroups * windows;
  const int group = blockIdx.x, head = blockIdx.y, lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int64_t start = (static_cast<int64_t>(head) * p.queryGroups + group) * count;
  const float* const values = p.probabilities + start;

  // This thread's values
  unsigned held[kHeld];
  if constexpr (kAllHeld) {
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
      const int at = threadIdx.x + i * kSelectThreads;
      held[i] = at < count ? __float_as_uint(values[at]) : 0u;
    }
  }
  const auto each = [&](const auto& visit) {  // visit(index, bits)
    if constexpr (kAllHeld) {
#pragma unroll
      for (int i = 0; i < kHeld; ++i) {
        const int at = threadIdx.x + i * kSelectThreads;
        if (at < count) visit(static_cast<int64_t>(at), held[i]);
      }
    } else {
#pragma unroll 8
      for (int64_t at = threadIdx.x; at < count; at += kSelectThreads) visit(at, __float_as_uint(values[at]));
    }
  };

  // Radix selection of the threshold's bits, from the top
  int64_t limit = p.topk < 0 ? 0 : p.topk;
  if (limit > count - 1) limit = count - 1;
  int rank = static_cast<int>(limit);  // how many candidates lie above the wanted one
  unsigned prefix = 0;
#pragma unroll
  for (int level = 0; level < 3; ++level) {
    const int shift = level == 0   ? 20
                      : level == 1 ? 10
                                   : 0,
              bits = level == 0 ? 11 : 10, perThread = level == 0 ? 2 : 1;
    // Histogram of the candidates' next bits
    static_assert(kMostBins == 2 * kSelectThreads);
    for (int i = threadIdx.x; i < kCopies * kMostBins; i += kSelectThreads) (&histogram[0][0])[i] = 0;
    __syncthreads();
    each([&](int64_t, unsigned value) {
      if (level == 0 || value >> (shift + bits) == prefix)
        atomicAdd(&histogram[warp % kCopies][(value >> shift) & ((1u << bits) - 1u)], 1);
    });
    __syncthreads();
    // Scan: thread t owns the t-th bins from the top; an inclusive scan finds whose bins hold the rank
    const int top = (1 << bits) - 1 - static_cast<int>(threadIdx.x) * perThread;
    int sizes[2] = {0, 0};
#pragma unroll
    for (int i = 0; i < perThread; ++i)
#pragma unroll
      for (int copy = 0; copy < kCopies; ++copy) sizes[i] += histogram[copy][top - i];
    const int own = sizes[0] + sizes[1];
    int scan = own;
#pragma unroll
    for (int offset = 1; offset < 32; offset <<= 1) {
      const int other = __shfl_up_sync(0xffffffffu, scan, offset);
      if (lane >= offset) scan += other;
    }
    if (lane == 31) warpTotals[warp] = scan;
    __syncthreads();
    int before = lane < warp ? warpTotals[lane] : 0;
#pragma unroll
    for (int offset = 16; offset > 0; offset >>= 1) before += __shfl_xor_sync(0xffffffffu, before, offset);
    const int above = before + scan - own;
    if (rank >= above && rank < above + own) {
      const bool second = rank >= above + sizes[0];
      foundBin = static_cast<unsigned>(second ? top - 1 : top);
      foundRank = rank - above - (second ? sizes[0] : 0);
    }
    __syncthreads();
    prefix = prefix << bits | foundBin;
    rank = foundRank;
    __syncthreads();
  }
  // Mask
  const float threshold = __uint_as_float(prefix);
  uint8_t* const mask = p.mask + start;
  each([&](int64_t at, unsigned value) { mask[at] = __uint_as_float(value) > threshold ? 1 : 0; });
}

}  // namespace

cudaError_t LaunchSelect(const SelectParams& p, cudaStream_t stream) {
  const int64_t windows = static_cast<int64_t>(p.windowRows) * p.windowColumns, columns = windows * p.keyGroups;
  if (p.queryMeans == nullptr || p.probabilities == nullptr || p.mask == nullptr || p.heads <= 0 || windows <= 0 ||
      p.queryGroups <= 0 || p.keyGroups <= 0 || p.keyGroups > kMaxKeyGroups || columns * kRows * 4 > 96 * 1024 ||
      windows * columns >= int64_t{1} << 31)
    return cudaErrorInvalidValue;
  const int bytes = static_cast<int>(columns * kRows * 4);
  const cudaError_t error = cudaFuncSetAttribute(reinterpret_cast<const void*>(ScoreKernel),
                                                 cudaFuncAttributeMaxDynamicSharedMemorySize, 96 * 1024);
  if (error != cudaSuccess) return error;
  ScoreKernel<<<dim3(static_cast<unsigned>(CeilDiv(p.queryGroups * windows, kRows)), static_cast<unsigned>(p.heads)),
                kScoreThreads, bytes, stream>>>(p);
  auto* threshold = windows * columns <= kHeld * kSelectThreads ? ThresholdKernel<true> : ThresholdKernel<false>;
  threshold<<<dim3(static_cast<unsigned>(p.queryGroups), static_cast<unsigned>(p.heads)), kSelectThreads, 0, stream>>>(
      p);
  return cudaGetLastError();
}

}  // namespace flashvsr::kernels
