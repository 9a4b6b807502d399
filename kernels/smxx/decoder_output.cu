// Three output channels make this memory-bound, so every pixel of a tile and its border is read once, straight into
// registers, and multiplied by all nine taps' weights at the same time: 27 columns of one product. The taps' sums lie
// in shared memory by column and pixel; an output pixel adds up the nine that belong to it.
#include "kernels/convolution.h"
#include "kernels/decoder_output.h"

#include "kernels/common/element.cuh"
#include "kernels/common/mma.cuh"

namespace flashvsr::kernels {
namespace {

constexpr int kThreads = 256, kTileX = 32, kTileY = 16, kHaloX = kTileX + 2, kHaloY = kTileY + 2,
              kHalo = kHaloX * kHaloY;
constexpr int kColumns = 27;     // tap*3 + output channel
static_assert(kHalo % 16 == 4);  // spreads the columns of a fragment over the banks

/// Bytes between two columns' weights in shared memory; 64 beside a multiple of 128: two rows of 64 bytes a quarter
/// warp.
__host__ __device__ constexpr int WeightStride(int channels) {
  return static_cast<int>(RoundUp(channels, 64)) * 2 + 64;
}
constexpr int SharedBytes(int channels) { return kColumns * (kHalo * 4 + WeightStride(channels)); }
constexpr int kMaxChannels = 256;
static_assert(SharedBytes(kMaxChannels) <= 99 * 1024);

/// A lane reads 8 channels (16 bytes) of the pixels of its two rows; which channel is which k of a fragment is free as
/// long as both operands agree: words 0, 1 are k 2q and 2q+8 of a first product, words 2, 3 of a second.
__global__ void __launch_bounds__(kThreads, 3) OutputKernel(const __grid_constant__ DecoderOutputParams p) {
  extern __shared__ __align__(1024) unsigned char shared[];
  float* const sums = reinterpret_cast<float*>(shared);
  unsigned char* const weights = shared + kColumns * kHalo * 4;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, row = lane >> 2, quadLane = lane & 3;
  const int x0 = blockIdx.x * kTileX - 1, y0 = blockIdx.y * kTileY - 1;
  const Bf16* const x = static_cast<const Bf16*>(p.x);
  const Bf16* const packed = static_cast<const Bf16*>(p.weight);
  const int padded = PackedChannels(p.channels), stride = WeightStride(p.channels),
            slices = static_cast<int>(CeilDiv(p.channels, 32));
  // Weights of all taps into shared memory
  for (int i = threadIdx.x; i < kColumns * slices * 4; i += kThreads) {
    const int chunk = i % (slices * 4), column = i / (slices * 4);
    *reinterpret_cast<uint4*>(weights + column * stride + chunk * 16) = *reinterpret_cast<const uint4*>(
        packed + (static_cast<int64_t>(column % 3) * 9 + column / 3) * padded + chunk * 8);
  }
  __syncthreads();

  // 16 pixels of the halo a warp and step, times 27 columns
  for (int tile = warp; tile < (kHalo + 15) / 16; tile += kThreads / 32) {
    const Bf16* pixel[2];
    bool inside[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int at = tile * 16 + half * 8 + row, hy = at / kHaloX, iy = y0 + hy, ix = x0 + at - hy * kHaloX;
      inside[half] = at < kHalo && iy >= 0 && ix >= 0 && iy < p.height && ix < p.width;
      pixel[half] = x + (inside[half] ? (static_cast<int64_t>(iy) * p.width + ix) * p.channels : 0) + quadLane * 8;
    }
    float acc[4][4] = {};
    for (int first = 0; first < slices; first += 4) {
      uint4 a[4][2];
#pragma unroll
      for (int s = 0; s < 4; ++s) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          a[s][half] = make_uint4(0, 0, 0, 0);
          if (inside[half] && (first + s) * 32 + quadLane * 8 < p.channels)
            a[s][half] = __ldg(reinterpret_cast<const uint4*>(pixel[half] + (first + s) * 32));
        }
      }
#pragma unroll
      for (int s = 0; s < 4; ++s) {
        if (first + s >= slices) break;
        const uint32_t one[4] = {a[s][0].x, a[s][1].x, a[s][0].y, a[s][1].y},
                       two[4] = {a[s][0].z, a[s][1].z, a[s][0].w, a[s][1].w};
#pragma unroll
        for (int nt = 0; nt < 4; ++nt) {
          const int column = min(nt * 8 + row, kColumns - 1);  // what lies beyond is not stored
          const uint4 b =
              *reinterpret_cast<const uint4*>(weights + column * stride + ((first + s) * 4 + quadLane) * 16);
          MultiplyAdd(acc[nt], one, b.x, b.y);
          MultiplyAdd(acc[nt], two, b.z, b.w);
        }
      }
    }
#pragma unroll
    for (int nt = 0; nt < 4; ++nt) {
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const int column = nt * 8 + quadLane * 2 + (c & 1), at = tile * 16 + (c >> 1) * 8 + row;
        if (column < kColumns && at < kHalo) sums[column * kHalo + at] = acc[nt][c];
      }
    }
  }
  __syncthreads();

  // Each output pixel adds up its nine taps
  const int64_t plane = static_cast<int64_t>(p.height) * p.width;
  const int tx = threadIdx.x % kTileX, outX = x0 + 1 + tx;
  if (outX >= p.width) return;
#pragma unroll
  for (int i = 0; i < kTileX * kTileY / kThreads; ++i) {
    const int ty = threadIdx.x / kTileX + i * (kThreads / kTileX), outY = y0 + 1 + ty;
    if (outY >= p.height) return;
#pragma unroll
    for (int channel = 0; channel < 3; ++channel) {
      float sum = p.bias[channel];
#pragma unroll
      for (int tap = 0; tap < 9; ++tap)
        sum += sums[(tap * 3 + channel) * kHalo + (ty + tap / 3) * kHaloX + tx + tap % 3];
      p.out[channel * plane + static_cast<int64_t>(outY) * p.width + outX] = sum * 2.0f - 1.0f;
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
  } else if (p.channels % 8 != 0 || p.channels > kMaxChannels || reinterpret_cast<uintptr_t>(p.x) % 16 != 0 ||
             reinterpret_cast<uintptr_t>(p.weight) % 16 != 0) {
    PlainOutputKernel<Bf16><<<blocks, kThreads, 0, stream>>>(p);
  } else {
    const cudaError_t error =
        cudaFuncSetAttribute(reinterpret_cast<const void*>(OutputKernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                             SharedBytes(p.channels));
    if (error != cudaSuccess) return error;
    const dim3 grid(static_cast<unsigned>(CeilDiv(p.width, kTileX)), static_cast<unsigned>(CeilDiv(p.height, kTileY)));
    OutputKernel<<<grid, kThreads, SharedBytes(p.channels), stream>>>(p);
  }
  return cudaGetLastError();
}

}  // namespace flashvsr::kernels
