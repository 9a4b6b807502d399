#include "kernels/norm.h"

#include "kernels/smxx/warp_row.cuh"
#include "kernels/window_order.h"

namespace flashvsr::kernels {
namespace {

constexpr int kWarps = 4;
constexpr int kVectors = 8;  // rows of up to 2048 are read once

/// Mean first, then the squares of the differences, as the specification does.
template <typename T, typename Out>
__global__ void __launch_bounds__(kWarps * 32) LayerNormKernel(const __grid_constant__ LayerNormParams p) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kWarps + (threadIdx.x >> 5);
  if (at >= p.rows) return;
  WarpRow<T, kVectors> row;
  row.load(static_cast<const T*>(p.x) + at * p.width, p.width);
  Out* const out = static_cast<Out*>(p.out) + at * p.width;
  const float mean = row.sum() / p.width;
  const float factor = rsqrtf(row.squares(mean) / p.width + 1e-6f);
  row.each([&](float e[8], int v, int) {
    const int start = v * 8;
    float a[8], b[8];
#pragma unroll
    for (int j = 0; j < 8; ++j) e[j] = (e[j] - mean) * factor;
    if (p.weight != nullptr) {
      Load8(p.weight + start, a);
      Load8(p.bias + start, b);
#pragma unroll
      for (int j = 0; j < 8; ++j) e[j] = e[j] * a[j] + b[j];
    }
    if (p.scale != nullptr) {
      Load8(p.scale + start, a);
      Load8(p.shift + start, b);
#pragma unroll
      for (int j = 0; j < 8; ++j) e[j] = e[j] * a[j] + b[j];
    }
    Store8Scaled(out + start, e, p.outputScale);
  });
}

template <typename In, typename T>
__global__ void __launch_bounds__(kWarps * 32) RmsNormKernel(const __grid_constant__ RmsNormParams p) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kWarps + (threadIdx.x >> 5);
  if (at >= p.rows) return;
  WarpRow<In, kVectors> row;
  row.load(static_cast<const In*>(p.x) + at * p.width, p.width);
  T* const out = static_cast<T*>(p.out) + at * p.width;
  const float factor = rsqrtf(row.squares() / p.width + 1e-6f);
  row.each([&](float e[8], int v, int) {
    float w[8];
    Load8(p.weight + v * 8, w);
#pragma unroll
    for (int j = 0; j < 8; ++j) e[j] = e[j] * factor * w[j];
    Store8(out + v * 8, e);
  });
}

/// One warp a pixel.
template <typename T, bool kVectors>
__global__ void __launch_bounds__(kWarps * 32) ChannelNormKernel(const __grid_constant__ ChannelNormParams p) {
  const int lane = threadIdx.x & 31;
  const int pixel = blockIdx.x * kWarps + (threadIdx.x >> 5);
  if (pixel >= p.height * p.width) return;
  const T* const x = static_cast<const T*>(p.x) + static_cast<int64_t>(pixel) * p.channels;
  const int64_t to =
      p.tokenFrame < 0 ? pixel : TokenOfPosition(p.height, p.width, p.tokenFrame, pixel / p.width, pixel % p.width);
  T* const out = static_cast<T*>(p.out) + to * p.channels;
  float sum = 0.0f;
  if (kVectors) {
    for (int v = lane; v < p.channels / 8; v += 32) {
      float e[8];
      Load8(x + v * 8, e);
#pragma unroll
      for (int j = 0; j < 8; ++j) sum += e[j] * e[j];
    }
  } else {
    for (int c = lane; c < p.channels; c += 32) sum += ToFloat(x[c]) * ToFloat(x[c]);
  }
  const float factor = sqrtf(static_cast<float>(p.channels)) / fmaxf(sqrtf(WarpSum(sum)), 1e-12f);
  const auto finish = [&](float e, float gamma) {
    const float y = e * factor * gamma;
    return p.silu ? y / (1.0f + __expf(-y)) : y;
  };
  if (kVectors) {
    for (int v = lane; v < p.channels / 8; v += 32) {
      float e[8], g[8];
      Load8(x + v * 8, e);
      Load8(p.gamma + v * 8, g);
#pragma unroll
      for (int j = 0; j < 8; ++j) e[j] = finish(e[j], g[j]);
      Store8(out + v * 8, e);
    }
  } else {
    for (int c = lane; c < p.channels; c += 32) out[c] = FromFloat<T>(finish(ToFloat(x[c]), p.gamma[c]));
  }
}

}  // namespace

cudaError_t LaunchLayerNorm(const LayerNormParams& p, cudaStream_t stream) {
  if (p.x == nullptr || p.out == nullptr || p.rows <= 0 || p.width <= 0 || p.width % 8 != 0 ||
      (p.weight == nullptr) != (p.bias == nullptr) || (p.scale == nullptr) != (p.shift == nullptr))
    return cudaErrorInvalidValue;
  const unsigned blocks = static_cast<unsigned>(CeilDiv(p.rows, kWarps));
  if (p.type == DataType::kFloat32) {
    if (p.float8) return cudaErrorInvalidValue;
    LayerNormKernel<float, float><<<blocks, kWarps * 32, 0, stream>>>(p);
  } else if (p.float8) {
    LayerNormKernel<Bf16, Fp8><<<blocks, kWarps * 32, 0, stream>>>(p);
  } else {
    LayerNormKernel<Bf16, Bf16><<<blocks, kWarps * 32, 0, stream>>>(p);
  }
  return cudaGetLastError();
}

cudaError_t LaunchRmsNorm(const RmsNormParams& p, cudaStream_t stream) {
  if (p.x == nullptr || p.out == nullptr || p.weight == nullptr || p.rows <= 0 || p.width <= 0 || p.width % 8 != 0)
    return cudaErrorInvalidValue;
  const unsigned blocks = static_cast<unsigned>(CeilDiv(p.rows, kWarps));
  const bool floatIn = p.inputType == DataType::kFloat32, floatOut = p.type == DataType::kFloat32;
  if (floatIn && floatOut) {
    RmsNormKernel<float, float><<<blocks, kWarps * 32, 0, stream>>>(p);
  } else if (floatIn) {
    RmsNormKernel<float, Bf16><<<blocks, kWarps * 32, 0, stream>>>(p);
  } else if (!floatOut) {
    RmsNormKernel<Bf16, Bf16><<<blocks, kWarps * 32, 0, stream>>>(p);
  } else {
    return cudaErrorInvalidValue;
  }
  return cudaGetLastError();
}

cudaError_t LaunchChannelNorm(const ChannelNormParams& p, cudaStream_t stream) {
  if (p.x == nullptr || p.out == nullptr || p.gamma == nullptr || p.height <= 0 || p.width <= 0 || p.channels <= 0 ||
      (p.tokenFrame >= 0 && (p.height % 8 != 0 || p.width % 8 != 0)))
    return cudaErrorInvalidValue;
  const unsigned blocks = static_cast<unsigned>(CeilDiv(static_cast<int64_t>(p.height) * p.width, kWarps));
  const bool vectors = p.channels % 8 == 0;
  if (p.type == DataType::kFloat32) {
    (vectors ? ChannelNormKernel<float, true> : ChannelNormKernel<float, false>)<<<blocks, kWarps * 32, 0, stream>>>(p);
  } else {
    (vectors ? ChannelNormKernel<Bf16, true> : ChannelNormKernel<Bf16, false>)<<<blocks, kWarps * 32, 0, stream>>>(p);
  }
  return cudaGetLastError();
}

}  // namespace flashvsr::kernels
