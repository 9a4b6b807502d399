// What both tensor-core products share after the sums: bias, activation, residual, and whole 16-byte stores.
#pragma once

#include "../types.h"
#include "element.cuh"
#include "mma.cuh"

namespace flashvsr::kernels {

/// The right operand: (n, k) rows, `ld` apart.
struct ProductWeight {
  const void* data;
  int64_t ld;
  int n;
  int k;
};

/// What happens to a finished sum, in this order: + bias, activation (unless last), + residual, activation (if last).
struct ProductEpilogue {
  const float* bias;
  Activation activation;
  bool activationLast;
  bool vectorised;  // every row of output and residual, and the bias, is 16-byte aligned
};

__device__ __forceinline__ float Activate(float x, Activation activation) {
  switch (activation) {
    case Activation::kGeluTanh: {
      // 0.5 x (1 + tanh u) = x / (1 + exp(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3)
      const float u = 0.7978845608028654f * (x + 0.044715f * x * x * x);
      return __fdividef(x, 1.0f + __expf(-2.0f * u));
    }
    case Activation::kSilu:
      return __fdividef(x, 1.0f + __expf(-x));
    case Activation::kRelu:
      return fmaxf(x, 0.0f);
    default:
      return x;
  }
}

/// 8 consecutive elements as they lie in memory: loads of a residual are started early and decoded late.
template <typename T>
struct Raw8;
template <>
struct Raw8<Bf16> {
  uint4 words;
  __device__ __forceinline__ void load(const Bf16* p) { words = *reinterpret_cast<const uint4*>(p); }
  __device__ __forceinline__ void add(float v[8]) const {
    const uint32_t w[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      v[2 * i] += __uint_as_float(w[i] << 16);
      v[2 * i + 1] += __uint_as_float(w[i] & 0xffff0000u);
    }
  }
};
template <>
struct Raw8<float> {
  float words[8];
  __device__ __forceinline__ void load(const float* p) { Load8(p, words); }
  __device__ __forceinline__ void add(float v[8]) const {
#pragma unroll
    for (int i = 0; i < 8; ++i) v[i] += words[i];
  }
};

__device__ __forceinline__ void Activate8(float v[8], Activation activation) {
  if (activation == Activation::kNone) return;
  if (activation == Activation::kRelu) {
#pragma unroll
    for (int i = 0; i < 8; ++i) v[i] = fmaxf(v[i], 0.0f);
  } else if (activation == Activation::kGeluTanh) {
#pragma unroll
    for (int i = 0; i < 8; ++i) v[i] = Activate(v[i], Activation::kGeluTanh);
  } else {
#pragma unroll
    for (int i = 0; i < 8; ++i) v[i] = Activate(v[i], Activation::kSilu);
  }
}

/// The ragged edge, and rows that are not 16-byte aligned: one element at a time. `v` has its bias.
template <typename Out>
__device__ __forceinline__ void FinishEdge(const ProductEpilogue& e, const float v[8], Out* out, const Out* residual, int columns) {
  for (int i = 0; i < 8; ++i) {
    if (i >= columns) break;
    float x = v[i];
    if (!e.activationLast) x = Activate(x, e.activation);
    if (residual != nullptr) x += ToFloat(residual[i]);
    if (e.activationLast) x = Activate(x, e.activation);
    out[i] = FromFloat<Out>(x);
  }
}

/// Tile of this block: groups of 8 row tiles walk all column tiles, so that both operands stay in L2.
__device__ __forceinline__ void TileOfBlock(int block, int tilesM, int tilesN, int& tileM, int& tileN) {
  constexpr int kGroup = 8;
  const int perGroup = kGroup * tilesN;
  const int group = block / perGroup;
  const int first = group * kGroup;
  const int size = min(kGroup, tilesM - first);
  const int inside = block - group * perGroup;
  tileM = first + inside % size;
  tileN = inside / size;
}

/// Transposes 4 float2 across the 4 lanes of a quad: lane q ends with element q of lanes 0..3.
__device__ __forceinline__ void TransposeQuad(float2 e[4], int lane) {
#pragma unroll
  for (int s = 1; s <= 2; s <<= 1) {
    const bool upper = (lane & s) != 0;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (j & s) continue;
      const int k = j | s;
      float2 send = upper ? e[j] : e[k];
      send.x = __shfl_xor_sync(0xffffffffu, send.x, s);
      send.y = __shfl_xor_sync(0xffffffffu, send.y, s);
      if (upper) {
        e[j] = send;
      } else {
        e[k] = send;
      }
    }
  }
}

/// Bytes of shared memory one warp needs to store tiles of kNt * 8 columns: 16 rows of floats, 8 floats of padding a row so that
/// fragments are written without bank conflicts.
template <int kNt>
constexpr int StagingBytes() {
  return 16 * (kNt * 8 + 8) * 4;
}

/// Finishes and stores a warp's accumulators: kMt tiles of 16 rows, `rowStep` apart, from row `firstRow`; kNt tiles of 8 columns from
/// column `firstOfTile`. Both tensor-core paths leave their sums in this layout. The sums go through the warp's own piece of shared
/// memory, 16 rows at a time: a lane then finishes 8 consecutive columns, always the same ones, in a small loop. (All of it unrolled in
/// registers was measured at 10 us a tile and more: the instructions, met once a tile, did not come out of the cache fast enough.)
template <int kMt, int kNt, typename Rows, typename Out>
__device__ __forceinline__ void StoreTile(const typename Rows::Params& rowParams, const ProductWeight& weight,
                                          const ProductEpilogue& epilogue, const float (&acc)[kMt][kNt][4], int firstRow,
                                          int rowStep, int firstOfTile, int lane, float* staging) {
  constexpr int kStride = kNt * 8 + 8, kRowsAtOnce = 32 / kNt, kTurns = 16 / kRowsAtOnce, kBatch = kTurns < 4 ? kTurns : 4;
  const int chunk = lane % kNt, rowOfLane = lane / kNt, column = firstOfTile + chunk * 8;
  const int columns = weight.n - column;  // left for this lane: >= 8 whole, <= 0 none
  const bool whole = columns >= 8 && epilogue.vectorised;
  float bias[8];
#pragma unroll
  for (int c = 0; c < 8; ++c) bias[c] = epilogue.bias != nullptr && c < columns ? epilogue.bias[column + c] : 0.0f;
#pragma unroll
  for (int i = 0; i < kMt; ++i) {
    float* const to = staging + (lane >> 2) * kStride + (lane & 3) * 2;
#pragma unroll
    for (int j = 0; j < kNt; ++j) {
      *reinterpret_cast<float2*>(to + j * 8) = make_float2(acc[i][j][0], acc[i][j][1]);
      *reinterpret_cast<float2*>(to + 8 * kStride + j * 8) = make_float2(acc[i][j][2], acc[i][j][3]);
    }
    __syncwarp();
#pragma unroll 1
    for (int turn = 0; turn < kTurns; turn += kBatch) {
      // The residuals of a batch are in flight before its first store: stores and loads may alias, so the order is fixed here.
      Out* out[kBatch];
      const Out* residual[kBatch];
      Raw8<Out> add[kBatch];
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        out[b] = nullptr;
        residual[b] = nullptr;
        const int m = firstRow + i * rowStep + (turn + b) * kRowsAtOnce + rowOfLane;
        if (!Rows::template OutputRow<Out>(rowParams, m, out[b], residual[b])) out[b] = nullptr;
        if (whole && out[b] != nullptr && residual[b] != nullptr) add[b].load(residual[b] + column);
      }
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        if (out[b] == nullptr || columns <= 0) continue;
        float v[8];
        Load8(staging + ((turn + b) * kRowsAtOnce + rowOfLane) * kStride + chunk * 8, v);
#pragma unroll
        for (int c = 0; c < 8; ++c) v[c] += bias[c];
        if (whole) {
          if (!epilogue.activationLast) Activate8(v, epilogue.activation);
          if (residual[b] != nullptr) add[b].add(v);
          if (epilogue.activationLast) Activate8(v, epilogue.activation);
          Store8(out[b] + column, v);
        } else {
          FinishEdge<Out>(epilogue, v, out[b] + column, residual[b] != nullptr ? residual[b] + column : nullptr, columns);
        }
      }
    }
    __syncwarp();
  }
}

}  // namespace flashvsr::kernels
