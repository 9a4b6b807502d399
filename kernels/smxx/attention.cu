// Portable block-sparse flash attention. 4 warps of 32 query rows each, so that every key and value fragment read from
// shared memory feeds two tensor-core rows of tiles; keys come in tiles of 64. Q, one K and one V tile take 64 KB: two
// blocks share an SM of an H100 or A100 and hide each other's softmax. K of the next tile is copied under softmax and
// P*V, V under Q*K.
#include "kernels/smxx/attention_smxx.h"

#include "kernels/common/element.cuh"
#include "kernels/common/epilogue.cuh"
#include "kernels/common/mma.cuh"

namespace flashvsr::kernels {
namespace {

constexpr int kTileKeys = 64, kThreads = 128;
constexpr int kQueryBytes = kWindowTokens * kHeadWidth * 2, kTileBytes = kTileKeys * kHeadWidth * 2;
constexpr int kSharedBytes = kQueryBytes + 2 * kTileBytes;
constexpr float kScaleLog2 = 0.08838834764831845f * 1.4426950408889634f;  // log2(e) / sqrt(128)

/// Copies `kRows` rows of 128 elements, `ld` apart, into a swizzled tile; rows from `rows` on become zero.
template <int kRows>
__device__ __forceinline__ void CopyTile(uint32_t shared, const Bf16* from, int64_t ld, int rows) {
  const int chunk = threadIdx.x & 15, first = threadIdx.x >> 4;
#pragma unroll
  for (int i = 0; i < kRows / 8; ++i) {
    const int row = first + i * 8;
    const bool valid = row < rows;
    CopyAsync16(shared + SwizzledOffset<16>(row, chunk), from + (valid ? row * ld : 0) + chunk * 8, valid);
  }
}

template <bool kSparse, typename Output>
__global__ void __launch_bounds__(kThreads, 2) AttentionKernel(const __grid_constant__ AttentionParams p) {
  extern __shared__ __align__(1024) unsigned char shared[];
  const uint32_t sharedQ = SharedAddress(shared), sharedK = sharedQ + kQueryBytes, sharedV = sharedK + kTileBytes;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int queryWindow = blockIdx.x, head = blockIdx.y;
  const int64_t ld = static_cast<int64_t>(p.heads) * kHeadWidth;
  const int64_t queryOffset = static_cast<int64_t>(queryWindow) * kWindowTokens * ld + head * kHeadWidth;
  const int listRow = head * p.queryWindows + queryWindow;

  // Key tiles: two a window of the list, or the rows of the one dense operand
  const int tiles = kSparse ? p.counts[listRow] * 2 : (p.keyLength + kTileKeys - 1) / kTileKeys;
  const uint32_t* const entries = kSparse ? p.entries + static_cast<int64_t>(listRow) * p.columns : nullptr;
  const auto tileOffset = [&](int tile, uint32_t entry) {
    const int row =
        kSparse ? static_cast<int>(entry & 0xfffffu) * kWindowTokens + (tile & 1) * kTileKeys : tile * kTileKeys;
    return row * ld + head * kHeadWidth;
  };
  const auto tileRows = [&](int tile) { return kSparse ? kTileKeys : p.keyLength - tile * kTileKeys; };
  const auto entryOf = [&](int tile) { return kSparse && tile < tiles ? entries[tile >> 1] : 0u; };

  // Sums of this warp's 32 rows; per row the largest score so far and the sum of its exponentials
  float acc[2][16][4];
#pragma unroll
  for (int i = 0; i < 2; ++i)
#pragma unroll
    for (int j = 0; j < 16; ++j)
#pragma unroll
      for (int c = 0; c < 4; ++c) acc[i][j][c] = 0.0f;
  // Per thread: 4 rows, (m-tile, half): rows warp*32 + i*16 + half*8 + lane/4.
  float maximum[4], total[4];
#pragma unroll
  for (int r = 0; r < 4; ++r) maximum[r] = -INFINITY, total[r] = 0.0f;

  // First copies: Q and the first keys
  uint32_t entry = entryOf(0);
  if (tiles > 0) {
    CopyTile<kWindowTokens>(sharedQ, static_cast<const Bf16*>(p.q) + queryOffset, ld, kWindowTokens);
    CopyTile<kTileKeys>(sharedK, static_cast<const Bf16*>(p.keys[entry >> 20]) + tileOffset(0, entry), ld, tileRows(0));
    CommitCopies();
  }
  const int rowQ = warp * 32 + (lane & 15), rowK = (lane & 7) + ((lane >> 4) << 3), rowV = lane & 15;
  const uint32_t addressQ = sharedQ + SwizzledOffset<16>(rowQ, lane >> 4);
  const uint32_t addressK = sharedK + SwizzledOffset<16>(rowK, (lane >> 3) & 1);
  const uint32_t addressV = sharedV + SwizzledOffset<16>(rowV, lane >> 4);

  for (int tile = 0; tile < tiles; ++tile) {
    // Copy V under Q K^T
    WaitCopies<0>();
    __syncthreads();  // K of this tile is there; every warp is done with the previous V
    CopyTile<kTileKeys>(sharedV, static_cast<const Bf16*>(p.values[entry >> 20]) + tileOffset(tile, entry), ld,
                        tileRows(tile));
    CommitCopies();
    const uint32_t next = entryOf(tile + 1);

    // Scores: Q K^T
    float s[2][8][4];
#pragma unroll
    for (int i = 0; i < 2; ++i)
#pragma unroll
      for (int j = 0; j < 8; ++j)
#pragma unroll
        for (int c = 0; c < 4; ++c) s[i][j][c] = 0.0f;
#pragma unroll
    for (int step = 0; step < 8; ++step) {
      uint32_t a[2][4];
#pragma unroll
      for (int i = 0; i < 2; ++i)
        LoadMatrix4((addressQ ^ (step * 32)) + i * 16 * 256, a[i][0], a[i][1], a[i][2], a[i][3]);
#pragma unroll
      for (int j = 0; j < 8; j += 2) {
        uint32_t b[4];
        LoadMatrix4((addressK ^ (step * 32)) + j * 8 * 256, b[0], b[1], b[2], b[3]);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          MultiplyAdd(s[i][j], a[i], b[0], b[1]);
          MultiplyAdd(s[i][j + 1], a[i], b[2], b[3]);
        }
      }
    }
    // Keys behind the dense operand's end get no weight
    if (!kSparse && tileRows(tile) < kTileKeys) {
      const int rows = tileRows(tile);
#pragma unroll
      for (int j = 0; j < 8; ++j)
#pragma unroll
        for (int c = 0; c < 2; ++c)
          if (j * 8 + (lane & 3) * 2 + c >= rows) {
#pragma unroll
            for (int i = 0; i < 2; ++i) s[i][j][c] = s[i][j][c + 2] = -INFINITY;
          }
    }

    // Copy the next tile's K under softmax and P V
    WaitCopies<0>();
    __syncthreads();  // V of this tile is there; every warp is done with K
    if (tile + 1 < tiles) {
      CopyTile<kTileKeys>(sharedK, static_cast<const Bf16*>(p.keys[next >> 20]) + tileOffset(tile + 1, next), ld,
                          tileRows(tile + 1));
      CommitCopies();
    }

    // Online softmax: earlier sums shrink when a row's maximum moves
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int r = i * 2 + half;
        float top = maximum[r];
#pragma unroll
        for (int j = 0; j < 8; ++j) top = fmaxf(top, fmaxf(s[i][j][2 * half], s[i][j][2 * half + 1]));
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
        const float shrink = Exp2((maximum[r] - top) * kScaleLog2), offset = top * kScaleLog2;
        maximum[r] = top;
        float sum = 0.0f;
#pragma unroll
        for (int j = 0; j < 8; ++j) {
#pragma unroll
          for (int c = 2 * half; c < 2 * half + 2; ++c) {
            s[i][j][c] = Exp2(fmaf(s[i][j][c], kScaleLog2, -offset));
            sum += s[i][j][c];
          }
        }
        total[r] = total[r] * shrink + sum;
#pragma unroll
        for (int j = 0; j < 16; ++j) acc[i][j][2 * half] *= shrink, acc[i][j][2 * half + 1] *= shrink;
      }
    }

    // P V: probabilities are the left operand as they lie in registers
#pragma unroll
    for (int step = 0; step < 4; ++step) {
      uint32_t a[2][4];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        a[i][0] = PackBf16(s[i][2 * step][0], s[i][2 * step][1]);
        a[i][1] = PackBf16(s[i][2 * step][2], s[i][2 * step][3]);
        a[i][2] = PackBf16(s[i][2 * step + 1][0], s[i][2 * step + 1][1]);
        a[i][3] = PackBf16(s[i][2 * step + 1][2], s[i][2 * step + 1][3]);
      }
#pragma unroll
      for (int j = 0; j < 16; j += 2) {
        uint32_t b[4];
        LoadMatrix4Transposed((addressV ^ (j * 16)) + step * 16 * 256, b[0], b[1], b[2], b[3]);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          MultiplyAdd(acc[i][j], a[i], b[0], b[1]);
          MultiplyAdd(acc[i][j + 1], a[i], b[2], b[3]);
        }
      }
    }
    entry = next;
  }

  // Epilogue: sums over totals, 16-byte stores
  Output* const out = static_cast<Output*>(p.out) + queryOffset;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int r = i * 2 + half;
      float sum = total[r];
      sum += __shfl_xor_sync(0xffffffffu, sum, 1);
      sum += __shfl_xor_sync(0xffffffffu, sum, 2);
      const float factor = sum > 0.0f ? p.outputScale / sum : 0.0f;
      Output* const row = out + (warp * 32 + i * 16 + half * 8 + (lane >> 2)) * ld;
#pragma unroll
      for (int group = 0; group < 4; ++group) {
        float2 e[4];
#pragma unroll
        for (int j = 0; j < 4; ++j)
          e[j] = make_float2(acc[i][group * 4 + j][2 * half] * factor, acc[i][group * 4 + j][2 * half + 1] * factor);
        TransposeQuad(e, lane);
        const float v[8] = {e[0].x, e[0].y, e[1].x, e[1].y, e[2].x, e[2].y, e[3].x, e[3].y};
        Store8(row + (group * 4 + (lane & 3)) * 8, v);
      }
    }
  }
}

/// fp32 debugging twin: one warp a query row, one key at a time, 4 of the 128 elements a lane.
template <bool kSparse>
__global__ void __launch_bounds__(256) PlainAttentionKernel(const __grid_constant__ AttentionParams p) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int queryWindow = blockIdx.x, head = blockIdx.y;
  const int64_t ld = static_cast<int64_t>(p.heads) * kHeadWidth;
  const int listRow = head * p.queryWindows + queryWindow;
  const int windows = kSparse ? p.counts[listRow] : 1;
  for (int row = warp; row < kWindowTokens; row += 8) {
    const int64_t offset =
        (static_cast<int64_t>(queryWindow) * kWindowTokens + row) * ld + head * kHeadWidth + lane * 4;
    const float4 q = *reinterpret_cast<const float4*>(static_cast<const float*>(p.q) + offset);
    float4 acc = make_float4(0, 0, 0, 0);
    float maximum = -INFINITY, total = 0.0f;
    for (int w = 0; w < windows; ++w) {
      const uint32_t entry = kSparse ? p.entries[static_cast<int64_t>(listRow) * p.columns + w] : 0u;
      const int64_t start = static_cast<int64_t>(entry & 0xfffffu) * kWindowTokens * ld + head * kHeadWidth + lane * 4;
      const float* const keys = static_cast<const float*>(p.keys[entry >> 20]) + start;
      const float* const values = static_cast<const float*>(p.values[entry >> 20]) + start;
      const int length = kSparse ? kWindowTokens : p.keyLength;
      for (int t = 0; t < length; ++t) {
        const float4 k = *reinterpret_cast<const float4*>(keys + t * ld);
        const float4 v = *reinterpret_cast<const float4*>(values + t * ld);
        const float s = WarpSum(q.x * k.x + q.y * k.y + q.z * k.z + q.w * k.w) * 0.08838834764831845f;
        const float top = fmaxf(maximum, s);
        const float shrink = expf(maximum - top), weight = expf(s - top);
        maximum = top;
        total = total * shrink + weight;
        acc.x = acc.x * shrink + weight * v.x;
        acc.y = acc.y * shrink + weight * v.y;
        acc.z = acc.z * shrink + weight * v.z;
        acc.w = acc.w * shrink + weight * v.w;
      }
    }
    const float factor = total > 0.0f ? 1.0f / total : 0.0f;
    *reinterpret_cast<float4*>(static_cast<float*>(p.out) + offset) =
        make_float4(acc.x * factor, acc.y * factor, acc.z * factor, acc.w * factor);
  }
}

dim3 GridOf(const AttentionParams& p) {
  return dim3(static_cast<unsigned>(p.queryWindows), static_cast<unsigned>(p.heads));
}

template <bool kSparse, typename Output>
cudaError_t Launch(const AttentionParams& p, cudaStream_t stream) {
  auto* kernel = AttentionKernel<kSparse, Output>;
  const cudaError_t error = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                                 cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes);
  if (error != cudaSuccess) return error;
  kernel<<<GridOf(p), kThreads, kSharedBytes, stream>>>(p);
  return cudaGetLastError();
}

}  // namespace

cudaError_t LaunchAttentionPlain(const AttentionParams& p, cudaStream_t stream) {
  (p.entries != nullptr ? PlainAttentionKernel<true> : PlainAttentionKernel<false>)<<<GridOf(p), 256, 0, stream>>>(p);
  return cudaGetLastError();
}

cudaError_t LaunchAttentionSmxx(const AttentionParams& p, cudaStream_t stream) {
  const bool float8 = p.outputType == DataType::kFloat8;
  if (p.entries != nullptr) return float8 ? Launch<true, Fp8>(p, stream) : Launch<true, Bf16>(p, stream);
  return float8 ? Launch<false, Fp8>(p, stream) : Launch<false, Bf16>(p, stream);
}

}  // namespace flashvsr::kernels
