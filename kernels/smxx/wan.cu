#include "kernels/wan.h"

#include "kernels/common/element.cuh"

namespace flashvsr::kernels {
namespace {

constexpr int kThreads = 256;

/// One thread a position and output channel.
template <typename T>
__global__ void __launch_bounds__(kThreads) WanInputKernel(const __grid_constant__ WanInputParams p) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= p.positions * kWanLatentChannels) return;
  const int64_t position = index / kWanLatentChannels;
  const int n = static_cast<int>(index % kWanLatentChannels);
  float sum = p.bias[n];
#pragma unroll
  for (int c = 0; c < kWanLatentChannels; ++c) {
    const float latent = p.latent[(static_cast<int64_t>(c) * p.latentFrames + p.latentFrame) * p.positions + position];
    sum += p.weight[n * kWanLatentChannels + c] * (latent * p.deviation[c] + p.mean[c]);
  }
  static_cast<T*>(p.out)[index] = FromFloat<T>(sum);
}

/// The sum or the maximum of a block's values, the same in every thread; `partial` holds one value a warp.
template <bool kMax>
__device__ __forceinline__ float OfBlock(float value, float* partial) {
  value = kMax ? WarpMax(value) : WarpSum(value);
  __syncthreads();  // partial may still be read
  if ((threadIdx.x & 31) == 0) partial[threadIdx.x >> 5] = value;
  __syncthreads();
  value = partial[0];
  for (int warp = 1; warp < kThreads / 32; ++warp) value = kMax ? fmaxf(value, partial[warp]) : value + partial[warp];
  return value;
}

/// One block a row, which stays in L2 for its three walks.
template <typename T>
__global__ void __launch_bounds__(kThreads) SoftmaxRowsKernel(const __grid_constant__ SoftmaxRowsParams p) {
  __shared__ float partial[kThreads / 32];
  const float* const row = p.scores + blockIdx.x * p.columns;
  T* const out = static_cast<T*>(p.out) + blockIdx.x * p.columns;
  float top = -INFINITY;
  for (int64_t at = threadIdx.x * 8; at < p.columns; at += kThreads * 8) {
    float e[8];
    Load8(row + at, e);
#pragma unroll
    for (int j = 0; j < 8; ++j) top = fmaxf(top, e[j]);
  }
  top = OfBlock<true>(top, partial) * p.scale;
  float total = 0.0f;
  for (int64_t at = threadIdx.x * 8; at < p.columns; at += kThreads * 8) {
    float e[8];
    Load8(row + at, e);
#pragma unroll
    for (int j = 0; j < 8; ++j) total += __expf(e[j] * p.scale - top);
  }
  const float factor = 1.0f / OfBlock<false>(total, partial);
  for (int64_t at = threadIdx.x * 8; at < p.columns; at += kThreads * 8) {
    float e[8];
    Load8(row + at, e);
#pragma unroll
    for (int j = 0; j < 8; ++j) e[j] = __expf(e[j] * p.scale - top) * factor;
    Store8(out + at, e);
  }
}

__global__ void __launch_bounds__(kThreads) PlanarClampKernel(const __grid_constant__ PlanarClampParams p) {
  const int64_t pixel = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (pixel >= p.pixels) return;
  const float4 in = reinterpret_cast<const float4*>(p.in)[pixel];
  p.out[pixel] = fminf(fmaxf(in.x, -1.0f), 1.0f);
  p.out[p.pixels + pixel] = fminf(fmaxf(in.y, -1.0f), 1.0f);
  p.out[2 * p.pixels + pixel] = fminf(fmaxf(in.z, -1.0f), 1.0f);
}

unsigned Blocks(int64_t count) { return static_cast<unsigned>(CeilDiv(count, kThreads)); }

}  // namespace

cudaError_t LaunchWanInput(const WanInputParams& p, cudaStream_t stream) {
  if (p.latent == nullptr || p.weight == nullptr || p.bias == nullptr || p.out == nullptr || p.positions <= 0 ||
      p.latentFrame < 0 || p.latentFrame >= p.latentFrames)
    return cudaErrorInvalidValue;
  const unsigned blocks = Blocks(p.positions * kWanLatentChannels);
  if (p.type == DataType::kFloat32) {
    WanInputKernel<float><<<blocks, kThreads, 0, stream>>>(p);
  } else {
    WanInputKernel<Bf16><<<blocks, kThreads, 0, stream>>>(p);
  }
  return cudaGetLastError();
}

cudaError_t LaunchSoftmaxRows(const SoftmaxRowsParams& p, cudaStream_t stream) {
  if (p.scores == nullptr || p.out == nullptr || p.rows <= 0 || p.columns <= 0 || p.columns % 8 != 0)
    return cudaErrorInvalidValue;
  const unsigned blocks = static_cast<unsigned>(p.rows);
  if (p.type == DataType::kFloat32) {
    SoftmaxRowsKernel<float><<<blocks, kThreads, 0, stream>>>(p);
  } else {
    SoftmaxRowsKernel<Bf16><<<blocks, kThreads, 0, stream>>>(p);
  }
  return cudaGetLastError();
}

cudaError_t LaunchPlanarClamp(const PlanarClampParams& p, cudaStream_t stream) {
  if (p.in == nullptr || p.out == nullptr || p.pixels <= 0 || reinterpret_cast<uintptr_t>(p.in) % 16 != 0)
    return cudaErrorInvalidValue;
  PlanarClampKernel<<<Blocks(p.pixels), kThreads, 0, stream>>>(p);
  return cudaGetLastError();
}

}  // namespace flashvsr::kernels
