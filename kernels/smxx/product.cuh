// One tensor-core product for linear layers and convolutions: d = epilogue(rows * weight^T).
//
// Shape of the kernel. A block computes a kBm x kBn tile over the whole reduction; cp.async keeps kStages k-blocks of 32 in
// flight; warps own 64x64 (or smaller) tiles so that shared-memory reads stay below the tensor cores' appetite; fragments
// are double-buffered in registers across k-blocks. Where the rows of the left operand lie is the `Rows` type's business
// (a matrix, or pixels of frames under a moving tap), so both products share every line that touches a tensor core.
#pragma once

#include "../types.h"
#include "element.cuh"
#include "mma.cuh"

namespace flashvsr::kernels {

inline constexpr int kBlockK = 32;  // elements; 64-byte rows in shared memory

template <int kBmValue, int kBnValue, int kWmValue, int kWnValue, int kStagesValue>
struct ProductTile {
  static constexpr int kBm = kBmValue, kBn = kBnValue, kWm = kWmValue, kWn = kWnValue, kStages = kStagesValue;
  static constexpr int kWarpsM = kBm / kWm, kWarpsN = kBn / kWn;
  static constexpr int kThreads = 32 * kWarpsM * kWarpsN;
  static constexpr int kRowsPerPass = kThreads / 4;  // 4 threads copy one 64-byte row
  static constexpr int kPassesA = kBm / kRowsPerPass;
  static constexpr int kPassesB = (kBn + kRowsPerPass - 1) / kRowsPerPass;
  static constexpr int kBytesA = kBm * kBlockK * 2, kBytesB = kBn * kBlockK * 2;
  static constexpr int kSharedBytes = kStages * (kBytesA + kBytesB);
  static_assert(kBm % kRowsPerPass == 0 && kWm % 16 == 0 && kWn % 16 == 0 && kSharedBytes <= 99 * 1024);
};

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
      return x / (1.0f + __expf(-2.0f * u));
    }
    case Activation::kSilu:
      return x / (1.0f + __expf(-x));
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
  } else {
#pragma unroll
    for (int i = 0; i < 8; ++i) v[i] = Activate(v[i], activation);
  }
}

/// The ragged edge, and rows that are not 16-byte aligned: one element at a time. `v` has its bias.
template <typename Out>
__device__ __noinline__ void FinishEdge(const ProductEpilogue& e, float4 low, float4 high, Out* out, const Out* residual,
                                        int columns) {
  const float v[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    if (i >= columns) continue;
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

template <typename Tile, typename Rows, typename Out>
__global__ void __launch_bounds__(Tile::kThreads)
    ProductKernel(const __grid_constant__ typename Rows::Params rowParams, const __grid_constant__ ProductWeight weight,
                  const __grid_constant__ ProductEpilogue epilogue, int tilesM, int tilesN) {
  extern __shared__ __align__(1024) unsigned char shared[];
  constexpr int kMt = Tile::kWm / 16, kNt = Tile::kWn / 8, kStages = Tile::kStages;

  const int thread = threadIdx.x, lane = thread & 31, warp = thread >> 5;
  const int warpM = warp % Tile::kWarpsM, warpN = warp / Tile::kWarpsM;
  int tileM, tileN;
  TileOfBlock(blockIdx.x, tilesM, tilesN, tileM, tileN);
  const int m0 = tileM * Tile::kBm, n0 = tileN * Tile::kBn;

  const int copyRow = thread >> 2, copyChunk = thread & 3;
  const uint32_t sharedA = SharedAddress(shared), sharedB = sharedA + kStages * Tile::kBytesA;

  Rows rows;
  rows.template Start<Tile>(rowParams, m0 + copyRow, copyChunk);
  const Bf16* const weights = static_cast<const Bf16*>(weight.data);

  const auto issue = [&](int stage, int block) {
    rows.template Copy<Tile>(rowParams, sharedA + stage * Tile::kBytesA, copyRow, copyChunk, block);
    const int column = block * kBlockK + copyChunk * 8;
#pragma unroll
    for (int i = 0; i < Tile::kPassesB; ++i) {
      const int row = copyRow + i * Tile::kRowsPerPass;
      if (Tile::kBn % Tile::kRowsPerPass == 0 || row < Tile::kBn) {
        const bool valid = n0 + row < weight.n && column < weight.k;
        const Bf16* source = valid ? weights + (n0 + row) * weight.ld + column : weights;
        CopyAsync16(sharedB + stage * Tile::kBytesB + SwizzledOffset<4>(row, copyChunk), source, valid);
      }
    }
  };

  const int blocks = (weight.k + kBlockK - 1) / kBlockK;
#pragma unroll
  for (int stage = 0; stage < kStages - 1; ++stage) {
    if (stage < blocks) issue(stage, stage);
    CommitCopies();
  }

  // ldmatrix addresses: lane i gives row i%16 of A and, for B, row (i&7) + 8*(i/16); the k step flips chunk bit 1.
  const int rowA = warpM * Tile::kWm + (lane & 15);
  const int rowB = warpN * Tile::kWn + (lane & 7) + ((lane >> 4) << 3);
  const uint32_t offsetA = SwizzledOffset<4>(rowA, lane >> 4);
  const uint32_t offsetB = SwizzledOffset<4>(rowB, (lane >> 3) & 1);

  float acc[kMt][kNt][4];
#pragma unroll
  for (int i = 0; i < kMt; ++i)
#pragma unroll
    for (int j = 0; j < kNt; ++j)
#pragma unroll
      for (int c = 0; c < 4; ++c) acc[i][j][c] = 0.0f;

  uint32_t a[2][kMt][4], b[2][kNt][2];
  const auto loadFragments = [&](int buffer, int stage, int step) {
    const uint32_t flip = step * 32;
    const uint32_t baseA = sharedA + stage * Tile::kBytesA + (offsetA ^ flip);
    const uint32_t baseB = sharedB + stage * Tile::kBytesB + (offsetB ^ flip);
#pragma unroll
    for (int i = 0; i < kMt; ++i)
      LoadMatrix4(baseA + i * 16 * 64, a[buffer][i][0], a[buffer][i][1], a[buffer][i][2], a[buffer][i][3]);
#pragma unroll
    for (int j = 0; j < kNt; j += 2)
      LoadMatrix4(baseB + j * 8 * 64, b[buffer][j][0], b[buffer][j][1], b[buffer][j + 1][0], b[buffer][j + 1][1]);
  };

  WaitCopies<kStages - 2>();
  __syncthreads();
  loadFragments(0, 0, 0);
  int readStage = 0, writeStage = kStages - 1;
  for (int block = 0; block < blocks; ++block) {
    // Step 0: fetch the second half of this k-block, start the copy kStages-1 blocks ahead into the stage everyone has left.
    loadFragments(1, readStage, 1);
    if (block + kStages - 1 < blocks) issue(writeStage, block + kStages - 1);
    CommitCopies();
    writeStage = writeStage + 1 == kStages ? 0 : writeStage + 1;
#pragma unroll
    for (int i = 0; i < kMt; ++i)
#pragma unroll
      for (int j = 0; j < kNt; ++j) MultiplyAdd(acc[i][j], a[0][i], b[0][j][0], b[0][j][1]);
    // Step 1: the next k-block must have landed; its first half is fetched under this half's products.
    WaitCopies<kStages - 2>();
    __syncthreads();
    readStage = readStage + 1 == kStages ? 0 : readStage + 1;
    if (block + 1 < blocks) loadFragments(0, readStage, 0);
#pragma unroll
    for (int i = 0; i < kMt; ++i)
#pragma unroll
      for (int j = 0; j < kNt; ++j) MultiplyAdd(acc[i][j], a[1][i], b[1][j][0], b[1][j][1]);
  }

  // A lane finishes 8 consecutive columns of a row at a time, the same columns for every row: their bias is loaded once. The
  // residuals of one m-tile are all in flight before the first store (stores and loads may alias, so the order is fixed here).
  constexpr int kGroups = (kNt + 3) / 4;
  const int quadLane = lane & 3;
  float bias[kGroups][8];
  int columns[kGroups];  // left of this lane's 8: >= 8 whole, <= 0 nothing
#pragma unroll
  for (int group = 0; group < kGroups; ++group) {
    const int nt = group * 4 + quadLane, column = n0 + warpN * Tile::kWn + nt * 8;
    columns[group] = nt < kNt ? weight.n - column : 0;
#pragma unroll
    for (int c = 0; c < 8; ++c) bias[group][c] = 0.0f;
    if (epilogue.bias == nullptr) continue;
    if (columns[group] >= 8 && epilogue.vectorised) {
      Load8(epilogue.bias + column, bias[group]);
    } else {
#pragma unroll
      for (int c = 0; c < 8; ++c)
        if (c < columns[group]) bias[group][c] = epilogue.bias[column + c];
    }
  }
  const int firstColumn = n0 + warpN * Tile::kWn + quadLane * 8;
#pragma unroll
  for (int i = 0; i < kMt; ++i) {
    Out* out[2] = {nullptr, nullptr};
    const Out* residual[2] = {nullptr, nullptr};
    bool inside[2];
    Raw8<Out> add[2][kGroups];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int m = m0 + warpM * Tile::kWm + i * 16 + half * 8 + (lane >> 2);
      inside[half] = Rows::template OutputRow<Out>(rowParams, m, out[half], residual[half]);
      if (inside[half] && residual[half] != nullptr && epilogue.vectorised) {
#pragma unroll
        for (int group = 0; group < kGroups; ++group)
          if (columns[group] >= 8) add[half][group].load(residual[half] + firstColumn + group * 32);
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int group = 0; group < kGroups; ++group) {
        float2 e[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const int nt = group * 4 + j;
          e[j] = nt < kNt ? make_float2(acc[i][nt < kNt ? nt : 0][2 * half], acc[i][nt < kNt ? nt : 0][2 * half + 1])
                          : make_float2(0.0f, 0.0f);
        }
        TransposeQuad(e, lane);
        float v[8] = {e[0].x, e[0].y, e[1].x, e[1].y, e[2].x, e[2].y, e[3].x, e[3].y};
#pragma unroll
        for (int c = 0; c < 8; ++c) v[c] += bias[group][c];
        if (!inside[half]) continue;
        const int column = firstColumn + group * 32;
        if (columns[group] >= 8 && epilogue.vectorised) {
          if (!epilogue.activationLast) Activate8(v, epilogue.activation);
          if (residual[half] != nullptr) add[half][group].add(v);
          if (epilogue.activationLast) Activate8(v, epilogue.activation);
          Store8(out[half] + column, v);
        } else if (columns[group] > 0) {
          FinishEdge<Out>(epilogue, make_float4(v[0], v[1], v[2], v[3]), make_float4(v[4], v[5], v[6], v[7]), out[half] + column,
                          residual[half] != nullptr ? residual[half] + column : nullptr, columns[group]);
        }
      }
    }
  }
}

/// The plain twin: fp32 (debugging), and bf16 of widths that 16-byte copies cannot read. 64x64 tile, 16 threads a side, each
/// 4x4 fp32 sums over k in order.
template <typename Rows, typename In, typename Out>
__global__ void __launch_bounds__(256)
    PlainProductKernel(const __grid_constant__ typename Rows::Params rowParams, const __grid_constant__ ProductWeight weight,
                      const __grid_constant__ ProductEpilogue epilogue, int tilesM, int tilesN) {
  constexpr int kTile = 64, kDepth = 16;
  __shared__ float sharedA[kDepth][kTile + 1], sharedB[kDepth][kTile + 1];
  int tileM, tileN;
  TileOfBlock(blockIdx.x, tilesM, tilesN, tileM, tileN);
  const int m0 = tileM * kTile, n0 = tileN * kTile;
  const int tx = threadIdx.x & 15, ty = threadIdx.x >> 4;
  const In* const weights = static_cast<const In*>(weight.data);
  float acc[4][4] = {};
  for (int k0 = 0; k0 < weight.k; k0 += kDepth) {
    for (int i = threadIdx.x; i < kTile * kDepth; i += 256) {
      const int row = i / kDepth, k = k0 + i % kDepth;
      sharedA[i % kDepth][row] = Rows::template At<In>(rowParams, m0 + row, k);
      sharedB[i % kDepth][row] = n0 + row < weight.n && k < weight.k ? ToFloat(weights[(n0 + row) * weight.ld + k]) : 0.0f;
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) acc[i][j] += sharedA[k][ty * 4 + i] * sharedB[k][tx * 4 + j];
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    Out* out = nullptr;
    const Out* residual = nullptr;
    if (!Rows::template OutputRow<Out>(rowParams, m0 + ty * 4 + i, out, residual)) continue;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int column = n0 + tx * 4 + j;
      if (column >= weight.n) continue;
      float v = acc[i][j];
      if (epilogue.bias != nullptr) v += epilogue.bias[column];
      if (!epilogue.activationLast) v = Activate(v, epilogue.activation);
      if (residual != nullptr) v += ToFloat(residual[column]);
      if (epilogue.activationLast) v = Activate(v, epilogue.activation);
      out[column] = FromFloat<Out>(v);
    }
  }
}

template <typename Tile, typename Rows, typename Out>
cudaError_t LaunchTile(const typename Rows::Params& rows, const ProductWeight& weight, const ProductEpilogue& epilogue, int m,
                       cudaStream_t stream) {
  const int tilesM = static_cast<int>(CeilDiv(m, Tile::kBm)), tilesN = static_cast<int>(CeilDiv(weight.n, Tile::kBn));
  auto* kernel = ProductKernel<Tile, Rows, Out>;
  const cudaError_t error = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                                 cudaFuncAttributeMaxDynamicSharedMemorySize, Tile::kSharedBytes);
  if (error != cudaSuccess) return error;
  kernel<<<tilesM * tilesN, Tile::kThreads, Tile::kSharedBytes, stream>>>(rows, weight, epilogue, tilesM, tilesN);
  return cudaGetLastError();
}

template <typename Rows, typename In, typename Out>
cudaError_t LaunchPlain(const typename Rows::Params& rows, const ProductWeight& weight, const ProductEpilogue& epilogue, int m,
                        cudaStream_t stream) {
  const int tilesM = static_cast<int>(CeilDiv(m, 64)), tilesN = static_cast<int>(CeilDiv(weight.n, 64));
  PlainProductKernel<Rows, In, Out><<<tilesM * tilesN, 256, 0, stream>>>(rows, weight, epilogue, tilesM, tilesN);
  return cudaGetLastError();
}

using LargeTile = ProductTile<256, 128, 64, 64, 4>;  // 8 warps, 96 KB
using SmallTile = ProductTile<64, 64, 32, 32, 4>;    // 4 warps, 32 KB: few rows, or narrow outputs
using ThinTile = ProductTile<256, 16, 32, 16, 4>;    // 8 warps, 68 KB: the decoder's last convolution (3 channels)

/// Chooses the tile by shape. The large one needs enough tiles to fill the card; below that smaller tiles spread better.
template <typename Rows, typename Out>
cudaError_t LaunchProduct(const typename Rows::Params& rows, const ProductWeight& weight, const ProductEpilogue& epilogue,
                          int m, cudaStream_t stream) {
  if (weight.n <= 16 && m >= 4096) return LaunchTile<ThinTile, Rows, Out>(rows, weight, epilogue, m, stream);
  if (weight.n > 64 && CeilDiv(m, 256) * CeilDiv(weight.n, 128) >= 64)
    return LaunchTile<LargeTile, Rows, Out>(rows, weight, epilogue, m, stream);
  return LaunchTile<SmallTile, Rows, Out>(rows, weight, epilogue, m, stream);
}

/// `vectors`: every operand can be read 16 bytes at a time.
template <typename Rows>
cudaError_t DispatchProduct(const typename Rows::Params& rows, const ProductWeight& weight, const ProductEpilogue& epilogue,
                            int m, DataType type, DataType outputType, bool vectors, cudaStream_t stream) {
  const bool floatOut = outputType == DataType::kFloat32;
  if (type == DataType::kFloat32)
    return floatOut ? LaunchPlain<Rows, float, float>(rows, weight, epilogue, m, stream) : cudaErrorInvalidValue;
  if (!vectors)
    return floatOut ? LaunchPlain<Rows, Bf16, float>(rows, weight, epilogue, m, stream)
                    : LaunchPlain<Rows, Bf16, Bf16>(rows, weight, epilogue, m, stream);
  return floatOut ? LaunchProduct<Rows, float>(rows, weight, epilogue, m, stream)
                  : LaunchProduct<Rows, Bf16>(rows, weight, epilogue, m, stream);
}

}  // namespace flashvsr::kernels
