// Which key windows each query window attends to (locality-constrained top-k, flashvsr-model.md section 4, steps 3 to
// 5).
#pragma once

#include "kernels/attention.h"
#include "kernels/types.h"

namespace flashvsr::kernels {

struct SelectParams {
  const float* queryMeans = nullptr;          ///< (queryGroups * nb, heads * 128); nb = windowRows * windowColumns
  const float* keyMeans[kMaxKeyGroups] = {};  ///< per key group (nb, heads * 128), in time order
  int heads = 0, windowRows = 0, windowColumns = 0;
  int queryGroups = 0, keyGroups = 0;
  int localRange = 0;
  int64_t topk = 0;                ///< the (topk+1)-th largest probability is the threshold; clamped to 0 .. nb*keys-1
  float* probabilities = nullptr;  ///< scratch (heads, queryGroups * nb, keyGroups * nb)
  uint8_t* mask = nullptr;         ///< (heads, queryGroups * nb, keyGroups * nb): 1 = kept
};

/// Deterministic: softmax in a fixed order, threshold by radix selection on the bits (counts are integers), nothing
/// sorted.
cudaError_t LaunchSelect(const SelectParams& params, cudaStream_t stream);

}  // namespace flashvsr::kernels
