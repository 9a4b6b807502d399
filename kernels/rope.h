// Queries and keys: RMS norm over the whole width, rotary embedding by the token's place, and the windows' means.
#pragma once

#include "types.h"

namespace flashvsr::kernels {

/// out = rope(x / sqrt(mean(x^2) + 1e-6) * weight), tokens in window order. Per head of 128 the first 22 adjacent pairs turn by
/// the frame's angles, the next 21 by the row's, the last 21 by the column's.
struct RmsRopeParams {
  const void* x = nullptr;         ///< (tokens, width) of `type`, rows ldx apart
  int64_t ldx = 0;
  void* out = nullptr;             ///< (tokens, width) of `type`; may be x when ldx == width
  const float* weight = nullptr;   ///< (width)
  const float* frames = nullptr;   ///< (f, 22, 2) cosine, sine; frame 0 is that of the first token
  const float* rows = nullptr;     ///< (tokenRows, 21, 2)
  const float* columns = nullptr;  ///< (tokenColumns, 21, 2)
  int64_t tokens = 0;
  int tokenRows = 0, tokenColumns = 0;
  int width = 0;                   ///< heads * 128
  DataType type = DataType::kBfloat16;
};
cudaError_t LaunchRmsRope(const RmsRopeParams& params, cudaStream_t stream);

/// means (windows, width) = plain means over each window's 128 rows of x, added in row order.
struct WindowMeansParams {
  const void* x = nullptr;  ///< (windows * 128, width) of `type`
  float* means = nullptr;
  int windows = 0;
  int width = 0;            ///< a multiple of 8
  DataType type = DataType::kBfloat16;
};
cudaError_t LaunchWindowMeans(const WindowMeansParams& params, cudaStream_t stream);

}  // namespace flashvsr::kernels
