#include "../select.h"

#include "element.cuh"

namespace flashvsr::kernels {
namespace {

constexpr int kScoreThreads = 128, kSelectThreads = 1024;

/// One block per (query window, head): scores of the allowed key windows, then their softmax.
__global__ void __launch_bounds__(kScoreThreads) ScoreKernel(const __grid_constant__ SelectParams p) {
  extern __shared__ float scores[];
  __shared__ float partial[kScoreThreads / 32];
  const int windows = p.windowRows * p.windowColumns, columns = p.keyGroups * windows;
  const int row = blockIdx.x, head = blockIdx.y, lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int query = row % windows, reach = p.localRange / 2;
  const int queryRow = query / p.windowColumns, queryColumn = query % p.windowColumns;
  const int width = p.heads * kHeadWidth;
  const float4 q = *reinterpret_cast<const float4*>(p.queryMeans + static_cast<int64_t>(row) * width + head * kHeadWidth + lane * 4);

  float top = -INFINITY;
  for (int column = warp; column < columns; column += kScoreThreads / 32) {
    const int group = column / windows, key = column - group * windows;
    const int keyRow = key / p.windowColumns, keyColumn = key - keyRow * p.windowColumns;
    float score = -INFINITY;
    if (abs(queryRow - keyRow) <= reach && abs(queryColumn - keyColumn) <= reach) {
      const float4 k =
          *reinterpret_cast<const float4*>(p.keyMeans[group] + static_cast<int64_t>(key) * width + head * kHeadWidth + lane * 4);
      score = WarpSum(q.x * k.x + q.y * k.y + q.z * k.z + q.w * k.w) * 0.08838834764831845f;
    }
    if (lane == 0) scores[column] = score;
    top = fmaxf(top, score);
  }
  if (lane == 0) partial[warp] = top;
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kScoreThreads / 32; ++i) top = fmaxf(top, partial[i]);
  __syncthreads();
  float sum = 0.0f;
  for (int column = threadIdx.x; column < columns; column += kScoreThreads) {
    const float e = expf(scores[column] - top);
    scores[column] = e;
    sum += e;
  }
  sum = WarpSum(sum);
  if (lane == 0) partial[warp] = sum;
  __syncthreads();
  sum = 0.0f;
#pragma unroll
  for (int i = 0; i < kScoreThreads / 32; ++i) sum += partial[i];
  float* const out = p.probabilities + (static_cast<int64_t>(head) * gridDim.x + row) * columns;
  for (int column = threadIdx.x; column < columns; column += kScoreThreads) out[column] = scores[column] / sum;
}

/// One block per (query group, head): the bits of the (topk+1)-th largest probability, 8 at a time from the top (the bits of
/// non-negative floats order like the floats), then the mask.
__global__ void __launch_bounds__(kSelectThreads) ThresholdKernel(const __grid_constant__ SelectParams p) {
  __shared__ int histogram[kSelectThreads / 32][256];
  __shared__ unsigned foundPrefix;
  __shared__ int foundRank;
  const int windows = p.windowRows * p.windowColumns;
  const int64_t count = static_cast<int64_t>(windows) * p.keyGroups * windows;
  const int group = blockIdx.x, head = blockIdx.y, lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int64_t start = (static_cast<int64_t>(head) * p.queryGroups + group) * count;
  const float* const values = p.probabilities + start;

  int64_t limit = p.topk < 0 ? 0 : p.topk;
  if (limit > count - 1) limit = count - 1;
  int rank = static_cast<int>(limit);  // how many candidates lie above the wanted one
  unsigned prefix = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (int i = threadIdx.x; i < kSelectThreads / 32 * 256; i += kSelectThreads) (&histogram[0][0])[i] = 0;
    __syncthreads();
    for (int64_t i = threadIdx.x; i < count; i += kSelectThreads) {
      const unsigned bits = __float_as_uint(values[i]);
      const bool candidate = shift == 24 || (bits >> (shift + 8)) == prefix;
      if (candidate) atomicAdd(&histogram[warp][(bits >> shift) & 255u], 1);
    }
    __syncthreads();
    if (threadIdx.x < 256) {
      int sum = 0;
      for (int i = 0; i < kSelectThreads / 32; ++i) sum += histogram[i][threadIdx.x];
      histogram[0][threadIdx.x] = sum;
    }
    __syncthreads();
    if (warp == 0) {
      // Lane l owns bins 255-8l .. 248-8l; an inclusive scan from the top finds the lane whose bins hold the rank.
      int own = 0;
      for (int i = 0; i < 8; ++i) own += histogram[0][255 - 8 * lane - i];
      int scan = own;
      for (int offset = 1; offset < 32; offset <<= 1) {
        const int other = __shfl_up_sync(0xffffffffu, scan, offset);
        if (lane >= offset) scan += other;
      }
      int above = scan - own;
      if (rank >= above && rank < scan) {
        for (int i = 0; i < 8; ++i) {
          const int bin = 255 - 8 * lane - i, size = histogram[0][bin];
          if (rank < above + size) {
            foundPrefix = prefix << 8 | static_cast<unsigned>(bin);
            foundRank = rank - above;
            break;
          }
          above += size;
        }
      }
    }
    __syncthreads();
    prefix = foundPrefix;
    rank = foundRank;
    __syncthreads();
  }
  const float threshold = __uint_as_float(prefix);
  uint8_t* const mask = p.mask + start;
  for (int64_t i = threadIdx.x; i < count; i += kSelectThreads) mask[i] = values[i] > threshold ? 1 : 0;
}

}  // namespace

cudaError_t LaunchSelect(const SelectParams& p, cudaStream_t stream) {
  const int64_t windows = static_cast<int64_t>(p.windowRows) * p.windowColumns, columns = windows * p.keyGroups;
  if (p.queryMeans == nullptr || p.probabilities == nullptr || p.mask == nullptr || p.heads <= 0 || windows <= 0 ||
      p.queryGroups <= 0 || p.keyGroups <= 0 || p.keyGroups > kMaxKeyGroups || columns * 4 > 96 * 1024 ||
      windows * columns >= int64_t{1} << 31)
    return cudaErrorInvalidValue;
  const int bytes = static_cast<int>(columns * 4);
  const cudaError_t error =
      cudaFuncSetAttribute(reinterpret_cast<const void*>(ScoreKernel), cudaFuncAttributeMaxDynamicSharedMemorySize, 96 * 1024);
  if (error != cudaSuccess) return error;
  ScoreKernel<<<dim3(static_cast<unsigned>(p.queryGroups * windows), static_cast<unsigned>(p.heads)), kScoreThreads, bytes, stream>>>(p);
  ThresholdKernel<<<dim3(static_cast<unsigned>(p.queryGroups), static_cast<unsigned>(p.heads)), kSelectThreads, 0, stream>>>(p);
  return cudaGetLastError();
}

}  // namespace flashvsr::kernels
