// The portable attention and its plain twin: launchers only, dispatch/attention.cpp chooses.
#pragma once

#include "kernels/attention.h"

namespace flashvsr::kernels {

/// bf16, sparse or dense; output bf16 or e4m3.
cudaError_t LaunchAttentionSmxx(const AttentionParams& params, cudaStream_t stream);

/// fp32, sparse or dense: one key at a time.
cudaError_t LaunchAttentionPlain(const AttentionParams& params, cudaStream_t stream);

}  // namespace flashvsr::kernels
