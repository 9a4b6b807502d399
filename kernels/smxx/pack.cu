#include "kernels/pack.h"

#include <cuda_fp16.h>

#include "kernels/common/element.cuh"
#include "kernels/convolution.h"

namespace flashvsr::kernels {
namespace {

constexpr int kThreads = 256;

__device__ __forceinline__ float Read(const void* data, SourceType type, int64_t index) {
  switch (type) {
    case SourceType::kFloat16:
      return __half2float(static_cast<const __half*>(data)[index]);
    case SourceType::kBfloat16:
      return __bfloat162float(static_cast<const Bf16*>(data)[index]);
    default:
      return static_cast<const float*>(data)[index];
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads) PackRowsKernel(const __grid_constant__ PackRowsParams p) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= p.rows * p.ldOut) return;
  const int64_t row = index / p.ldOut, column = index % p.ldOut;
  float v = 0.0f;
  if (column < p.columns) {
    v = Read(p.in, p.source, row * p.columns + column) * (p.rowScale != nullptr ? p.rowScale[row] : 1.0f);
    v *= p.columnScale != nullptr ? p.columnScale[column] : 1.0f;
  }
  static_cast<T*>(p.out)[index] = FromFloat<T>(v);
}

/// One block a row, sums in a fixed order.
__global__ void __launch_bounds__(kThreads) RowStatisticsKernel(const __grid_constant__ PackFloat8RowsParams p) {
  __shared__ float partial[3][kThreads / 32];
  const int64_t row = blockIdx.x;
  const float rowScale = p.rowScale != nullptr ? p.rowScale[row] : 1.0f;
  float largest = 0.0f, squares = 0.0f, shifts = 0.0f;
  for (int64_t column = threadIdx.x; column < p.columns; column += kThreads) {
    const float in = Read(p.in, p.source, row * p.columns + column) * rowScale;
    const float w = in * (p.columnScale != nullptr ? p.columnScale[column] : 1.0f);
    largest = fmaxf(largest, fabsf(w));
    squares += w * w;
    if (p.columnShift != nullptr) shifts += in * p.columnShift[column];
  }
  const float sums[3] = {WarpMax(largest), WarpSum(squares), WarpSum(shifts)};
  if ((threadIdx.x & 31) == 0)
    for (int i = 0; i < 3; ++i) partial[i][threadIdx.x >> 5] = sums[i];
  __syncthreads();
  if (threadIdx.x != 0) return;
  largest = squares = shifts = 0.0f;
  for (int warp = 0; warp < kThreads / 32; ++warp) {
    largest = fmaxf(largest, partial[0][warp]);
    squares += partial[1][warp];
    shifts += partial[2][warp];
  }
  p.largest[row] = largest;
  p.squares[row] = squares;
  p.shifts[row] = shifts;
}

__global__ void __launch_bounds__(kThreads) PackFloat8RowsKernel(const __grid_constant__ PackFloat8RowsParams p) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= p.rows * p.columns) return;
  const int64_t row = index / p.columns, column = index % p.columns;
  float w = Read(p.in, p.source, index) * (p.rowScale != nullptr ? p.rowScale[row] : 1.0f);
  w *= p.columnScale != nullptr ? p.columnScale[column] : 1.0f;
  static_cast<Fp8*>(p.out)[index] = FromFloat<Fp8>(w * p.scale);
}

template <typename T>
__global__ void __launch_bounds__(kThreads) PackConvolutionKernel(const __grid_constant__ PackConvolutionParams p) {
  const int64_t depth = PackedConvolutionDepth(p.taps, p.channels[0], p.channels[1]);
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= p.outChannels * depth) return;
  const int64_t o = index / depth;
  const int perTap = PackedChannels(p.channels[0]) + PackedChannels(p.channels[1]);
  const int k = static_cast<int>(index % depth), tap = k / perTap;
  int channel = k % perTap;
  bool real;
  if (channel < PackedChannels(p.channels[0])) {
    real = channel < p.channels[0];
  } else {
    channel -= PackedChannels(p.channels[0]);
    real = channel < p.channels[1];
    channel += p.channels[0];
  }
  const int64_t in = (o * (p.channels[0] + p.channels[1]) + channel) * p.taps + tap;
  static_cast<T*>(p.out)[index] = FromFloat<T>(real ? Read(p.in, p.source, in) : 0.0f);
}

template <typename T>
__global__ void __launch_bounds__(kThreads) FoldGrowKernel(const __grid_constant__ FoldGrowParams p) {
  const int padded = PackedChannels(p.channels);
  const int64_t depth = int64_t{4} * padded;
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= 4 * p.outChannels * depth) return;
  const int phase = static_cast<int>(index / (p.outChannels * depth)),
            o = static_cast<int>(index / depth % p.outChannels);
  const int tap = static_cast<int>(index % depth / padded), channel = static_cast<int>(index % padded);
  float sum = 0.0f;
  if (channel < p.channels) {
    // 3x3 tap t of phase p reads the small picture's pixel (p + t - 1) >> 1 relative to y; the 2x2 taps are p - 1 and
    // p.
    const int py = phase / 2, px = phase % 2;
    for (int ky = 0; ky < 3; ++ky) {
      if (((py + ky + 1) >> 1) - 1 != tap / 2 - 1 + py) continue;
      for (int kx = 0; kx < 3; ++kx) {
        if (((px + kx + 1) >> 1) - 1 != tap % 2 - 1 + px) continue;
        if (p.grow == nullptr) {
          sum += Read(p.weight, p.weightSource, (static_cast<int64_t>(o) * p.channels + channel) * 9 + ky * 3 + kx);
          continue;
        }
        for (int j = 0; j < p.channels; ++j)
          sum += Read(p.weight, p.weightSource, (static_cast<int64_t>(o) * p.channels + j) * 9 + ky * 3 + kx) *
                 Read(p.grow, p.growSource, static_cast<int64_t>(j) * p.channels + channel);
      }
    }
  }
  static_cast<T*>(p.out)[index] = FromFloat<T>(sum);
}

unsigned Blocks(int64_t count) { return static_cast<unsigned>(CeilDiv(count, kThreads)); }

}  // namespace

cudaError_t LaunchPackRows(const PackRowsParams& p, cudaStream_t stream) {
  if (p.in == nullptr || p.out == nullptr || p.rows <= 0 || p.columns <= 0 || p.ldOut < p.columns)
    return cudaErrorInvalidValue;
  if (p.type == DataType::kFloat32) {
    PackRowsKernel<float><<<Blocks(p.rows * p.ldOut), kThreads, 0, stream>>>(p);
  } else {
    PackRowsKernel<Bf16><<<Blocks(p.rows * p.ldOut), kThreads, 0, stream>>>(p);
  }
  return cudaGetLastError();
}

cudaError_t LaunchRowStatistics(const PackFloat8RowsParams& p, cudaStream_t stream) {
  if (p.in == nullptr || p.rows <= 0 || p.columns <= 0 || p.largest == nullptr || p.squares == nullptr ||
      p.shifts == nullptr)
    return cudaErrorInvalidValue;
  RowStatisticsKernel<<<static_cast<unsigned>(p.rows), kThreads, 0, stream>>>(p);
  return cudaGetLastError();
}

cudaError_t LaunchPackFloat8Rows(const PackFloat8RowsParams& p, cudaStream_t stream) {
  if (p.in == nullptr || p.out == nullptr || p.rows <= 0 || p.columns <= 0) return cudaErrorInvalidValue;
  PackFloat8RowsKernel<<<static_cast<unsigned>(CeilDiv(p.rows * p.columns, kThreads)), kThreads, 0, stream>>>(p);
  return cudaGetLastError();
}

cudaError_t LaunchPackConvolution(const PackConvolutionParams& p, cudaStream_t stream) {
  if (p.in == nullptr || p.out == nullptr || p.outChannels <= 0 || p.channels[0] <= 0 || p.channels[1] < 0 ||
      p.taps <= 0)
    return cudaErrorInvalidValue;
  const unsigned blocks = Blocks(p.outChannels * PackedConvolutionDepth(p.taps, p.channels[0], p.channels[1]));
  if (p.type == DataType::kFloat32) {
    PackConvolutionKernel<float><<<blocks, kThreads, 0, stream>>>(p);
  } else {
    PackConvolutionKernel<Bf16><<<blocks, kThreads, 0, stream>>>(p);
  }
  return cudaGetLastError();
}

cudaError_t LaunchFoldGrow(const FoldGrowParams& p, cudaStream_t stream) {
  if (p.weight == nullptr || p.out == nullptr || p.outChannels <= 0 || p.channels <= 0) return cudaErrorInvalidValue;
  const unsigned blocks = Blocks(4 * p.outChannels * PackedConvolutionDepth(4, p.channels, 0));
  if (p.type == DataType::kFloat32) {
    FoldGrowKernel<float><<<blocks, kThreads, 0, stream>>>(p);
  } else {
    FoldGrowKernel<Bf16><<<blocks, kThreads, 0, stream>>>(p);
  }
  return cudaGetLastError();
}

}  // namespace flashvsr::kernels
