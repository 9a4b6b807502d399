// Normalisation of rows: LN with modulation (transformer), RMS over channels with SiLU (projector).
#pragma once

#include "kernels/types.h"

namespace flashvsr::kernels {

/// out = LN(x) [* weight + bias] [* scale + shift], eps 1e-6, biased variance, fp32 inside. `scale` is the factor
/// itself (1 + s).
struct LayerNormParams {
  const void* x = nullptr;        ///< (rows, width) of `type`
  void* out = nullptr;            ///< (rows, width) of `type`; may be x
  const float* weight = nullptr;  ///< (width) or null together with bias
  const float* bias = nullptr;
  const float* scale = nullptr;  ///< (width) or null together with shift
  const float* shift = nullptr;
  int64_t rows = 0;
  int width = 0;  ///< a multiple of 8
  DataType type = DataType::kBfloat16;
  bool float8 = false;  ///< out is e4m3(outputScale * ..), saturating; `type` is then kBfloat16
  float outputScale = 1.0f;
};
cudaError_t LaunchLayerNorm(const LayerNormParams& params, cudaStream_t stream);

/// out = x / max(||x||, 1e-12) * sqrt(channels) * gamma for every pixel of one frame, through SiLU unless `silu` is
/// false.
struct ChannelNormParams {
  const void* x = nullptr;       ///< (height, width, channels) of `type`
  void* out = nullptr;           ///< the same in place, or with `tokenFrame` >= 0 tokens in window order
  const float* gamma = nullptr;  ///< (channels)
  int height = 0, width = 0, channels = 0;
  int tokenFrame = -1;  ///< latent frame whose tokens these pixels are; height and width are then multiples of 8
  bool silu = true;
  DataType type = DataType::kBfloat16;
};
cudaError_t LaunchChannelNorm(const ChannelNormParams& params, cudaStream_t stream);

/// x = x / sqrt(mean(x^2) + 1e-6) * weight over each row, from `inputType` to `type`; RMS without rope (cross
/// attention).
struct RmsNormParams {
  const void* x = nullptr;        ///< (rows, width) of `inputType`
  void* out = nullptr;            ///< (rows, width) of `type`; may be x when the types agree
  const float* weight = nullptr;  ///< (width)
  int64_t rows = 0;
  int width = 0;  ///< a multiple of 8
  DataType inputType = DataType::kBfloat16;
  DataType type = DataType::kBfloat16;
};
cudaError_t LaunchRmsNorm(const RmsNormParams& params, cudaStream_t stream);

}  // namespace flashvsr::kernels
