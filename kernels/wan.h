// What the Wan2.1 decoder needs besides convolutions, norms and products: its input, its attention's softmax, its
// output.
#pragma once

#include "kernels/types.h"

namespace flashvsr::kernels {

inline constexpr int kWanLatentChannels = 16;

/// out[position][n] = bias[n] + sum over c of weight[n][c] * (latent[c] * deviation[c] + mean[c]).
struct WanInputParams {
  const float* latent = nullptr;  ///< (16, latentFrames, positions)
  int latentFrames = 0, latentFrame = 0;
  const float* weight = nullptr;  ///< (16, 16)
  const float* bias = nullptr;    ///< (16)
  float mean[kWanLatentChannels] = {}, deviation[kWanLatentChannels] = {};
  void* out = nullptr;  ///< (positions, 16) of `type`
  int64_t positions = 0;
  DataType type = DataType::kBfloat16;
};
cudaError_t LaunchWanInput(const WanInputParams& params, cudaStream_t stream);

/// out = softmax(scale * scores) by row, fp32 inside, rounded once.
struct SoftmaxRowsParams {
  const float* scores = nullptr;  ///< (rows, columns)
  void* out = nullptr;            ///< (rows, columns) of `type`
  int64_t rows = 0, columns = 0;  ///< columns: a multiple of 8
  float scale = 1.0f;
  DataType type = DataType::kBfloat16;
};
cudaError_t LaunchSoftmaxRows(const SoftmaxRowsParams& params, cudaStream_t stream);

/// out[c][pixel] = clamp(in[pixel][c], -1, 1) for 3 channels.
struct PlanarClampParams {
  const float* in = nullptr;  ///< (pixels, 4), the fourth unused
  float* out = nullptr;       ///< (3, pixels)
  int64_t pixels = 0;
};
cudaError_t LaunchPlanarClamp(const PlanarClampParams& params, cudaStream_t stream);

}  // namespace flashvsr::kernels
