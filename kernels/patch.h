// Between pictures of latents (channels, f, H/8, W/8) in fp32 and tokens in window order; the noise they start from.
#pragma once

#include "kernels/types.h"

namespace flashvsr::kernels {

/// rows (tokens, channels * 4): the 2x2 patches of a latent, channel > row > column, as the patch embedding's weight
/// has it.
struct PatchRowsParams {
  const float* latent = nullptr;  ///< (channels, frames, height, width)
  void* rows = nullptr;           ///< (tokens, channels * 4) of `type`
  int channels = 0, frames = 0;
  int height = 0, width = 0;  ///< of the latent; multiples of 16
  DataType type = DataType::kBfloat16;
};
cudaError_t LaunchPatchRows(const PatchRowsParams& params, cudaStream_t stream);

/// out = base - rows: the head's (tokens, 4 * channels), row of patch > column of patch > channel, put back into a
/// picture.
struct SubtractPatchesParams {
  const float* rows = nullptr;
  const float* base = nullptr;  ///< (channels, frames, height, width)
  float* out = nullptr;         ///< the same; may be base
  int channels = 0, frames = 0, height = 0, width = 0;
};
cudaError_t LaunchSubtractPatches(const SubtractPatchesParams& params, cudaStream_t stream);

/// Standard normals of latent positions position .. position + frames - 1 (common/philox.h: same bits as the
/// reference).
struct NoiseParams {
  uint64_t seed = 0;
  int64_t position = 0;
  float* out = nullptr;  ///< (channels, frames, height, width); height * width is a multiple of 4
  int channels = 0, frames = 0, height = 0, width = 0;
};
cudaError_t LaunchNoise(const NoiseParams& params, cudaStream_t stream);

}  // namespace flashvsr::kernels
