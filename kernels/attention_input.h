// What self-attention reads, from the products of q, k and v: RMS norm over the whole width, rotary embedding by the
// token's place, the windows' means; and for e4m3 attention the values with their tokens along the rows.
#pragma once

#include "kernels/types.h"

namespace flashvsr::kernels {

/// out = rope(x / sqrt(mean(x^2) + 1e-6) * weight) for queries and keys in one launch, tokens in window order. Per head
/// of 128 the first 22 adjacent pairs turn by the frame's angles, the next 21 by the row's, the last 21 by the
/// column's. means (windows, width): plain means over each window's 128 rows, of the values rounded to `type` (also
/// where e4m3 is stored: the selection stays as sharp).
struct QueryKeyParams {
  struct Part {
    const float* weight = nullptr;  ///< (width)
    void* out = nullptr;            ///< (windows * 128, width) of `type`, or e4m3
    float* means = nullptr;         ///< (windows, width)
    float outputScale = 1.0f;       ///< e4m3: out = e4m3(outputScale * ..), saturating
  };
  const void* x = nullptr;  ///< (windows * 128, 2 * width) of `type`: queries, then keys; rows ldx apart
  int64_t ldx = 0;
  Part parts[2];                   ///< queries, keys
  const float* frames = nullptr;   ///< (f, 22, 2) cosine, sine; frame 0 is that of the first token
  const float* rows = nullptr;     ///< (tokenRows, 21, 2)
  const float* columns = nullptr;  ///< (tokenColumns, 21, 2)
  int windows = 0;                 ///< of all groups
  int tokenRows = 0, tokenColumns = 0;
  int width = 0;  ///< heads * 128, at most kMaxQueryKeyWidth
  DataType type = DataType::kBfloat16;
  bool float8 = false;  ///< `type` is then kBfloat16
};
inline constexpr int kMaxQueryKeyWidth = 4096;
cudaError_t LaunchQueryKey(const QueryKeyParams& params, cudaStream_t stream);

/// Where e4m3 attention wants token t of a window on the values' row: tensor cores take 8-bit operands only with the
/// reduction along the rows, and the probabilities leave the first product in an order in which this permutation makes
/// them the second one's operand as they are (sm90/attention_float8.cu). Within 32 tokens bit 3 moves below bits 2
/// and 1.
constexpr int ValuePosition(int t) { return (t & ~15) | (t & 6) << 1 | (t & 8) >> 2 | (t & 1); }

/// out [window][head][128 columns of the head][ValuePosition of 128 tokens] = x (windows * 128, heads * 128), both
/// e4m3.
struct TransposeValuesParams {
  const void* x = nullptr;
  void* out = nullptr;
  int windows = 0, heads = 0;
};
cudaError_t LaunchTransposeValues(const TransposeValuesParams& params, cudaStream_t stream);

}  // namespace flashvsr::kernels
