// Three output channels make this memory-bound: a block copies its pixels and their border once (64 channels at a time) and
// lets all nine taps read them from shared memory. A warp owns one row of 32 pixels, two m-tiles of one 8-wide n-tile.
#include "../conv.h"
#include "../decoder_output.h"

#include "element.cuh"
#include "mma.cuh"

namespace flashvsr::kernels {
namespace {

constexpr int kThreads = 256, kTileX = 32, kTileY = 8, kHaloX = kTileX + 2, kHaloY = kTileY + 2, kSlice = 64;
constexpr int kHaloBytes = kHaloX * kHaloY * kSlice * 2;
constexpr int kWeightStride = 9 * kSlice + 8;  // elements; + 8 spreads the 8 rows over the banks
constexpr int kSharedBytes = kHaloBytes + 8 * kWeightStride * 2;

__global__ void __launch_bounds__(kThreads) OutputKernel(const __grid_constant__ DecoderOutputParams p) {
  extern __shared__ __align__(1024) unsigned char shared[];
  const uint32_t halo = SharedAddress(shared);
  Bf16* const weights = reinterpret_cast<Bf16*>(shared + kHaloBytes);
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int x0 = blockIdx.x * kTileX, y0 = blockIdx.y * kTileY;
  const Bf16* const x = static_cast<const Bf16*>(p.x);
  const Bf16* const packed = static_cast<const Bf16*>(p.weight);
  const int padded = PackedChannels(p.channels);

  float acc[2][4] = {};
  for (int slice = 0; slice < p.channels; slice += kSlice) {
    __syncthreads();
    for (int i = threadIdx.x; i < kHaloX * kHaloY * 8; i += kThreads) {
      const int chunk = i & 7, pixel = i >> 3, hy = pixel / kHaloX, hx = pixel - hy * kHaloX;
      const int iy = y0 + hy - 1, ix = x0 + hx - 1, channel = slice + chunk * 8;
      const bool valid = iy >= 0 && ix >= 0 && iy < p.height && ix < p.width && channel < p.channels;
      CopyAsync16(halo + SwizzledOffset<8>(pixel, chunk),
                  valid ? x + (static_cast<int64_t>(iy) * p.width + ix) * p.channels + channel : x, valid);
    }
    CommitCopies();
    for (int i = threadIdx.x; i < 8 * 9 * kSlice; i += kThreads) {
      const int c = i % kSlice, tap = i / kSlice % 9, n = i / (kSlice * 9);
      const bool valid = n < 3 && slice + c < p.channels;
      weights[n * kWeightStride + tap * kSlice + c] =
          valid ? packed[(static_cast<int64_t>(n) * 9 + tap) * padded + slice + c] : __float2bfloat16_rn(0.0f);
    }
    WaitCopies<0>();
    __syncthreads();
#pragma unroll
    for (int tap = 0; tap < 9; ++tap) {
      const int pixel = (warp + tap / 3) * kHaloX + (lane & 15) + tap % 3;
#pragma unroll
      for (int step = 0; step < kSlice / 16; ++step) {
        const Bf16* const w = weights + (lane >> 2) * kWeightStride + tap * kSlice + step * 16 + (lane & 3) * 2;
        const uint32_t b0 = *reinterpret_cast<const uint32_t*>(w), b1 = *reinterpret_cast<const uint32_t*>(w + 8);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          uint32_t a[4];
          LoadMatrix4(halo + SwizzledOffset<8>(pixel + i * 16, step * 2 + (lane >> 4)), a[0], a[1], a[2], a[3]);
          MultiplyAdd(acc[i], a, b0, b1);
        }
      }
    }
  }
  const int y = y0 + warp;
  if (y >= p.height) return;
  const int64_t plane = static_cast<int64_t>(p.height) * p.width;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      const int column = x0 + i * 16 + (lane >> 2) + (c >> 1) * 8, channel = (lane & 3) * 2 + (c & 1);
      if (column < p.width && channel < 3)
        p.out[channel * plane + static_cast<int64_t>(y) * p.width + column] = (acc[i][c] + p.bias[channel]) * 2.0f - 1.0f;
    }
  }
}

/// fp32, and widths that 16-byte copies cannot read: one thread a pixel.
template <typename T>
__global__ void __launch_bounds__(kThreads) PlainOutputKernel(const __grid_constant__ DecoderOutputParams p) {
  const int64_t plane = static_cast<int64_t>(p.height) * p.width;
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= plane) return;
  const int y = static_cast<int>(index / p.width), x = static_cast<int>(index % p.width);
  const int padded = PackedChannels(p.channels);
  const T* const weight = static_cast<const T*>(p.weight);
  float acc[3] = {};
  for (int tap = 0; tap < 9; ++tap) {
    const int iy = y + tap / 3 - 1, ix = x + tap % 3 - 1;
    if (iy < 0 || ix < 0 || iy >= p.height || ix >= p.width) continue;
    const T* const in = static_cast<const T*>(p.x) + (static_cast<int64_t>(iy) * p.width + ix) * p.channels;
    for (int c = 0; c < p.channels; ++c) {
      const float v = ToFloat(in[c]);
#pragma unroll
      for (int n = 0; n < 3; ++n) acc[n] += v * ToFloat(weight[(static_cast<int64_t>(n) * 9 + tap) * padded + c]);
    }
  }
#pragma unroll
  for (int n = 0; n < 3; ++n) p.out[n * plane + index] = (acc[n] + p.bias[n]) * 2.0f - 1.0f;
}

}  // namespace

cudaError_t LaunchDecoderOutput(const DecoderOutputParams& p, cudaStream_t stream) {
  if (p.x == nullptr || p.weight == nullptr || p.bias == nullptr || p.out == nullptr || p.height <= 0 || p.width <= 0 ||
      p.channels <= 0)
    return cudaErrorInvalidValue;
  const unsigned blocks = static_cast<unsigned>(CeilDiv(static_cast<int64_t>(p.height) * p.width, kThreads));
  if (p.type == DataType::kFloat32) {
    PlainOutputKernel<float><<<blocks, kThreads, 0, stream>>>(p);
  } else if (p.channels % 8 != 0 || reinterpret_cast<uintptr_t>(p.x) % 16 != 0) {
    PlainOutputKernel<Bf16><<<blocks, kThreads, 0, stream>>>(p);
  } else {
    const cudaError_t error = cudaFuncSetAttribute(reinterpret_cast<const void*>(OutputKernel),
                                                   cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes);
    if (error != cudaSuccess) return error;
    const dim3 grid(static_cast<unsigned>(CeilDiv(p.width, kTileX)), static_cast<unsigned>(CeilDiv(p.height, kTileY)));
    OutputKernel<<<grid, kThreads, kSharedBytes, stream>>>(p);
  }
  return cudaGetLastError();
}

}  // namespace flashvsr::kernels
