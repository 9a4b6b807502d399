// Attention of the transformer, head width 128: over the kept windows of 128 tokens, or dense over the prompt's tokens.
#pragma once

#include "kernels/launched.h"
#include "kernels/types.h"

namespace flashvsr::kernels {

inline constexpr int kHeadWidth = 128;
inline constexpr int kWindowTokens = 128;
inline constexpr int kMaxKeyGroups = 24;

/// A list entry names a key window: its group in the upper bits, its window in the lower 20.
constexpr uint32_t KeyWindowEntry(uint32_t group, uint32_t window) { return group << 20 | window; }

/// Compacts a mask into lists of kept key windows, in column order: row (head, query window) owns `columns` entries.
struct KeptWindowsParams {
  const uint8_t* mask = nullptr;  ///< (rows, columns), non-zero = kept; rows = heads * queryWindows
  int rows = 0;
  int columns = 0;              ///< keyGroups * windows
  int windows = 0;              ///< of one group
  uint32_t* entries = nullptr;  ///< (rows, columns)
  int* counts = nullptr;        ///< (rows)
};
cudaError_t LaunchKeptWindows(const KeptWindowsParams& params, cudaStream_t stream);

/// out = softmax(q k^T / sqrt(128)) v per head. Sparse when `entries` is set: query window i of 128 rows reads the key
/// windows in its list (none: the output is 0). Dense otherwise: every row reads the first `keyLength` rows of keys[0],
/// values[0].
struct AttentionParams {
  const void* q = nullptr;                 ///< (queryWindows * 128, heads * 128) of `type`
  const void* keys[kMaxKeyGroups] = {};    ///< per group (windows * 128, heads * 128); null behind the last
  const void* values[kMaxKeyGroups] = {};  ///< the same
  const uint32_t* entries = nullptr;       ///< (heads * queryWindows, columns), row head * queryWindows + query window
  const int* counts = nullptr;             ///< (heads * queryWindows)
  int columns = 0;
  int keyLength = 0;  ///< dense only
  int queryWindows = 0;
  int heads = 0;
  void* out = nullptr;  ///< like q, of `outputType`
  /// kFloat8: q and keys are e4m3, values e4m3 transposed as LaunchTransposeValues leaves them. Sparse only, and only
  /// where Float8AttentionSuits.
  DataType type = DataType::kBfloat16;
  DataType outputType =
      DataType::kBfloat16;   ///< kFloat32 with `type` kFloat32; kBfloat16 or kFloat8 (saturating) otherwise
  float scoreScale = 1.0f;   ///< kFloat8: of q k^T (the operands' scales, undone)
  float outputScale = 1.0f;  ///< of the output, before it is rounded
  Path path = Path::kAuto;
};

/// Deterministic: one block owns one (query window, head) and walks its keys in list order with an online softmax.
Launched LaunchAttention(const AttentionParams& params, cudaStream_t stream);

/// Whether the current device has e4m3 attention: Hopper, with the library built for it.
bool Float8AttentionSuits();

}  // namespace flashvsr::kernels
