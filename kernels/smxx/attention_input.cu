#include "kernels/attention_input.h"

#include "kernels/smxx/warp_row.cuh"
#include "kernels/window_order.h"

namespace flashvsr::kernels {
namespace {

constexpr int kPairs = 8, kFramePairs = 22, kSidePairs = 21, kWindow = 128, kHead = 128;

/// Both warps of pair `pair` meet.
__device__ __forceinline__ void MeetInPair(int pair) { asm volatile("bar.sync %0, 64;\n" ::"r"(pair + 1) : "memory"); }

/// A block owns a window of queries or of keys. Two warps share a row, half each, so that 16 warps have the registers
/// to keep the next row's loads in flight while this one is turned (there is one block an SM, and 8 warps of whole rows
/// left the memory idle). Each lane adds up its own columns, so the means cost no second pass over memory. Vector v of
/// 8 elements lies at pair 4*(v % 16) of its head, and v % 16 is the same for all vectors of a lane (they are 32
/// apart): each lane needs four angles only. kVectors: of a lane, in half a row.
template <typename T, typename Out, int kVectors>
__global__ void __launch_bounds__(kPairs * 64) QueryKeyKernel(const __grid_constant__ QueryKeyParams p) {
  extern __shared__ float sums[];
  __shared__ float squares[2][kPairs][2];
  // This warp's half row: queries or keys, window, pair of warps
  constexpr bool kHoldWeights = kVectors <= 3;
  const QueryKeyParams::Part& part = p.parts[blockIdx.y];
  const int lane = threadIdx.x & 31, pair = threadIdx.x >> 6, half = threadIdx.x >> 5 & 1;
  const int halfWidth = p.width / 2, firstColumn = half * halfWidth, vectors = halfWidth / 8;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kWindow;
  const T* const x = static_cast<const T*>(p.x) + first * p.ldx + blockIdx.y * p.width + firstColumn;
  const TokenPosition corner = PositionOfToken(p.tokenRows, p.tokenColumns, first);

  // Where this lane's four angles come from
  const float* table[4];  // at the window's corner
  int step[4];            // pairs of the table's row; `axis` names the table
  int axis[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int turned = ((lane + half * vectors) & 15) * 4 + i;
    axis[i] = turned < kFramePairs ? 0 : turned < kFramePairs + kSidePairs ? 1 : 2;
    step[i] = axis[i] == 0 ? kFramePairs : kSidePairs;
    const int inside = axis[i] == 0 ? turned : turned - kFramePairs - (axis[i] - 1) * kSidePairs;
    const int at = axis[i] == 0 ? corner.frame : axis[i] == 1 ? corner.row : corner.column;
    table[i] = (axis[i] == 0 ? p.frames : axis[i] == 1 ? p.rows : p.columns) + (at * step[i] + inside) * 2;
  }

  // Column sums, and the norm's weights where registers hold them
  float mean[kVectors][8], weight[kHoldWeights ? kVectors : 1][8];
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
#pragma unroll
    for (int j = 0; j < 8; ++j) mean[i][j] = 0.0f;
    if constexpr (kHoldWeights)
      if (lane + 32 * i < vectors) Load8(part.weight + firstColumn + (lane + 32 * i) * 8, weight[i]);
  }
  // Main loop: a pair of warps takes every kPairs-th token, the next row's loads in flight
  WarpRow<T, kVectors> row, next;
  row.load(x + pair * p.ldx, halfWidth);
  int slot = 0;
#pragma unroll 1
  for (int token = pair; token < kWindow; token += kPairs) {
    if (token + kPairs < kWindow) next.load(x + (token + kPairs) * p.ldx, halfWidth);
    float2 angle[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int offset = axis[i] == 0 ? token >> 6 : axis[i] == 1 ? token >> 3 & 7 : token & 7;
      angle[i] = *reinterpret_cast<const float2*>(table[i] + offset * step[i] * 2);
    }
    // RMS over both halves of the row
    const float own = row.squares();
    if (lane == 0) squares[slot][pair][half] = own;
    MeetInPair(pair);  // two slots: a slot is never written before the other warp has read it
    const float factor = rsqrtf((squares[slot][pair][0] + squares[slot][pair][1]) / p.width + 1e-6f);
    slot ^= 1;
    // Norm, rope, store, and this row's share of the means
    Out* const out = static_cast<Out*>(part.out) + (first + token) * p.width + firstColumn;
    row.each([&](float e[8], int v, int i) {
      float w[8];
      if constexpr (kHoldWeights) {
#pragma unroll
        for (int j = 0; j < 8; ++j) w[j] = weight[i][j];
      } else {
        Load8(part.weight + firstColumn + v * 8, w);
      }
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const float re = e[2 * k] * factor * w[2 * k], im = e[2 * k + 1] * factor * w[2 * k + 1];
        e[2 * k] = re * angle[k].x - im * angle[k].y;
        e[2 * k + 1] = re * angle[k].y + im * angle[k].x;
      }
#pragma unroll
      for (int j = 0; j < 8; ++j) mean[i][j] += ToFloat(FromFloat<T>(e[j]));
      Store8Scaled(out + v * 8, e, part.outputScale);
    });
    row = next;
  }
  // Means: pair after pair, so that the sum has one order
#pragma unroll 1
  for (int turn = 0; turn < kPairs; ++turn) {
    if (pair == turn) {
#pragma unroll
      for (int i = 0; i < kVectors; ++i) {
        const int v = lane + 32 * i, column = firstColumn + v * 8;
        if (v >= vectors) continue;
        float e[8];
        if (turn > 0) {
          Load8(sums + column, e);
#pragma unroll
          for (int j = 0; j < 8; ++j) mean[i][j] += e[j];
        }
        if (turn == kPairs - 1) {
#pragma unroll
          for (int j = 0; j < 8; ++j) mean[i][j] *= 1.0f / kWindow;
          Store8(part.means + static_cast<int64_t>(blockIdx.x) * p.width + column, mean[i]);
        } else {
          Store8(sums + column, mean[i]);
        }
      }
    }
    __syncthreads();
  }
}

template <typename T, typename Out>
void LaunchQueryKeyOf(const QueryKeyParams& p, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(p.windows), 2);
  const unsigned bytes = static_cast<unsigned>(p.width) * 4;
  if (p.width <= 2 * 256) {
    QueryKeyKernel<T, Out, 1><<<grid, kPairs * 64, bytes, stream>>>(p);
  } else if (p.width <= 6 * 256) {
    QueryKeyKernel<T, Out, 3><<<grid, kPairs * 64, bytes, stream>>>(p);
  } else {
    QueryKeyKernel<T, Out, 8><<<grid, kPairs * 64, bytes, stream>>>(p);
  }
}

/// One block a (window, head). A thread takes 4 columns of 16 tokens as words and turns them as 4x4 bytes in registers;
/// rows in shared memory are padded by a word, so that a warp's 32 words of a row fall into 32 banks.
__global__ void __launch_bounds__(256) TransposeValuesKernel(const TransposeValuesParams p) {
  __shared__ uint32_t tile[kWindow][kHead / 4 + 1];
  const int window = blockIdx.x, head = blockIdx.y;
  const int64_t ld = static_cast<int64_t>(p.heads) * kHead;
  const uint8_t* const x =
      static_cast<const uint8_t*>(p.x) + static_cast<int64_t>(window) * kWindow * ld + head * kHead;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int token = (threadIdx.x >> 3) + i * 32, chunk = threadIdx.x & 7;
    const uint4 words = *reinterpret_cast<const uint4*>(x + token * ld + chunk * 16);
    tile[token][chunk * 4] = words.x, tile[token][chunk * 4 + 1] = words.y;
    tile[token][chunk * 4 + 2] = words.z, tile[token][chunk * 4 + 3] = words.w;
  }
  __syncthreads();
  const int columns = threadIdx.x & 31, tokens = (threadIdx.x >> 5) * 16;
  uint32_t out[4][4];  // [column][word of four positions]
#pragma unroll
  for (int word = 0; word < 4; ++word) {
    // Positions 4*word .. 4*word+3 hold tokens 2*word, 2*word+1, 8+2*word, 9+2*word (ValuePosition).
    const uint32_t a = tile[tokens + 2 * word][columns], b = tile[tokens + 2 * word + 1][columns];
    const uint32_t c = tile[tokens + 8 + 2 * word][columns], d = tile[tokens + 9 + 2 * word][columns];
    const uint32_t lowAb = __byte_perm(a, b, 0x5140), highAb = __byte_perm(a, b, 0x7362);
    const uint32_t lowCd = __byte_perm(c, d, 0x5140), highCd = __byte_perm(c, d, 0x7362);
    out[0][word] = __byte_perm(lowAb, lowCd, 0x5410);
    out[1][word] = __byte_perm(lowAb, lowCd, 0x7632);
    out[2][word] = __byte_perm(highAb, highCd, 0x5410);
    out[3][word] = __byte_perm(highAb, highCd, 0x7632);
  }
  uint8_t* const to = static_cast<uint8_t*>(p.out) + (static_cast<int64_t>(window) * p.heads + head) * kHead * kWindow;
#pragma unroll
  for (int c = 0; c < 4; ++c)
    *reinterpret_cast<uint4*>(to + (columns * 4 + c) * kWindow + tokens) =
        make_uint4(out[c][0], out[c][1], out[c][2], out[c][3]);
}

}  // namespace

cudaError_t LaunchQueryKey(const QueryKeyParams& p, cudaStream_t stream) {
  if (p.x == nullptr || p.frames == nullptr || p.rows == nullptr || p.columns == nullptr || p.windows <= 0 ||
      p.width <= 0 || p.width > kMaxQueryKeyWidth || p.width % 128 != 0 || p.ldx < 2 * p.width || p.ldx % 8 != 0 ||
      p.tokenRows % 8 != 0 || p.tokenColumns % 8 != 0 || (p.float8 && p.type != DataType::kBfloat16))
    return cudaErrorInvalidValue;
  for (const QueryKeyParams::Part& part : p.parts)
    if (part.weight == nullptr || part.out == nullptr || part.means == nullptr) return cudaErrorInvalidValue;
  if (p.type == DataType::kFloat32) {
    LaunchQueryKeyOf<float, float>(p, stream);
  } else if (p.float8) {
    LaunchQueryKeyOf<Bf16, Fp8>(p, stream);
  } else {
    LaunchQueryKeyOf<Bf16, Bf16>(p, stream);
  }
  return cudaGetLastError();
}

cudaError_t LaunchTransposeValues(const TransposeValuesParams& p, cudaStream_t stream) {
  if (p.x == nullptr || p.out == nullptr || p.windows <= 0 || p.heads <= 0) return cudaErrorInvalidValue;
  TransposeValuesKernel<<<dim3(static_cast<unsigned>(p.windows), static_cast<unsigned>(p.heads)), 256, 0, stream>>>(p);
  return cudaGetLastError();
}

}  // namespace flashvsr::kernels
