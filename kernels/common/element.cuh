// Loading and storing activations of either type as fp32, 1 or 8 at a time.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp8.h>

#include <cstdint>

namespace flashvsr::kernels {

using Bf16 = __nv_bfloat16;
using Fp8 = __nv_fp8_e4m3;

__device__ __forceinline__ float ToFloat(float x) { return x; }
__device__ __forceinline__ float ToFloat(Bf16 x) { return __bfloat162float(x); }

template <typename T>
__device__ __forceinline__ T FromFloat(float x);
template <>
__device__ __forceinline__ float FromFloat<float>(float x) {
  return x;
}
template <>
__device__ __forceinline__ Bf16 FromFloat<Bf16>(float x) {
  return __float2bfloat16_rn(x);
}
template <>
__device__ __forceinline__ Fp8 FromFloat<Fp8>(float x) {
  Fp8 out;
  out.__x = __nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E4M3);
  return out;
}

__device__ __forceinline__ uint32_t PackBf16(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

/// Four numbers as e4m3 bytes, the first in the lowest.
__device__ __forceinline__ uint32_t PackFp8(float a, float b, float c, float d) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  uint32_t out;
  asm("{\n.reg .b16 low, high;\ncvt.rn.satfinite.e4m3x2.f32 low, %2, %1;\ncvt.rn.satfinite.e4m3x2.f32 high, %4, "
      "%3;\nmov.b32 %0, {low, high};\n}\n"
      : "=r"(out)
      : "f"(a), "f"(b), "f"(c), "f"(d));
  return out;
#else
  const uint32_t low = __nv_cvt_float2_to_fp8x2(make_float2(a, b), __NV_SATFINITE, __NV_E4M3);
  const uint32_t high = __nv_cvt_float2_to_fp8x2(make_float2(c, d), __NV_SATFINITE, __NV_E4M3);
  return low | high << 16;
#endif
}

/// Reads 8 consecutive elements; `p` is 16-byte aligned.
__device__ __forceinline__ void Load8(const float* p, float out[8]) {
  const float4 a = *reinterpret_cast<const float4*>(p);
  const float4 b = *reinterpret_cast<const float4*>(p + 4);
  out[0] = a.x, out[1] = a.y, out[2] = a.z, out[3] = a.w;
  out[4] = b.x, out[5] = b.y, out[6] = b.z, out[7] = b.w;
}
__device__ __forceinline__ void Load8(const Bf16* p, float out[8]) {
  const uint4 raw = *reinterpret_cast<const uint4*>(p);
  const uint32_t words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    out[2 * i] = __uint_as_float(words[i] << 16);
    out[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
  }
}

/// Writes 8 consecutive elements; `p` is 16-byte aligned.
__device__ __forceinline__ void Store8(float* p, const float in[8]) {
  *reinterpret_cast<float4*>(p) = make_float4(in[0], in[1], in[2], in[3]);
  *reinterpret_cast<float4*>(p + 4) = make_float4(in[4], in[5], in[6], in[7]);
}
__device__ __forceinline__ void Store8(Bf16* p, const float in[8]) {
  *reinterpret_cast<uint4*>(p) =
      make_uint4(PackBf16(in[0], in[1]), PackBf16(in[2], in[3]), PackBf16(in[4], in[5]), PackBf16(in[6], in[7]));
}

__device__ __forceinline__ void Store8(Fp8* p, const float in[8]) {  // 8-byte aligned
  *reinterpret_cast<uint2*>(p) = make_uint2(PackFp8(in[0], in[1], in[2], in[3]), PackFp8(in[4], in[5], in[6], in[7]));
}

/// 8 consecutive elements as they lie in memory: loaded early, decoded late, half the registers of floats.
template <typename T>
struct Raw8;
template <>
struct Raw8<Bf16> {
  uint4 words;
  __device__ __forceinline__ void load(const Bf16* p) { words = *reinterpret_cast<const uint4*>(p); }
  __device__ __forceinline__ void get(float v[8]) const {
    const uint32_t w[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      v[2 * i] = __uint_as_float(w[i] << 16);
      v[2 * i + 1] = __uint_as_float(w[i] & 0xffff0000u);
    }
  }
  __device__ __forceinline__ void add(float v[8]) const {
    float own[8];
    get(own);
#pragma unroll
    for (int i = 0; i < 8; ++i) v[i] += own[i];
  }
};
template <>
struct Raw8<float> {
  float words[8];
  __device__ __forceinline__ void load(const float* p) { Load8(p, words); }
  __device__ __forceinline__ void get(float v[8]) const {
#pragma unroll
    for (int i = 0; i < 8; ++i) v[i] = words[i];
  }
  __device__ __forceinline__ void add(float v[8]) const {
#pragma unroll
    for (int i = 0; i < 8; ++i) v[i] += words[i];
  }
};
template <>
struct Raw8<Fp8> {  // outputs only: a product's e4m3 output takes no residual
  __device__ __forceinline__ void load(const Fp8*) {}
  __device__ __forceinline__ void add(float*) const {}
};

/// Sum over the 32 lanes in a fixed order; every lane gets it.
__device__ __forceinline__ float WarpSum(float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset >>= 1) x += __shfl_xor_sync(0xffffffffu, x, offset);
  return x;
}
__device__ __forceinline__ float WarpMax(float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset >>= 1) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, offset));
  return x;
}

}  // namespace flashvsr::kernels
