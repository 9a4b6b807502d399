// The Hopper attention (wgmma): same operands and results as smxx/attention.cu.
#pragma once

#include "kernels/attention.h"

namespace flashvsr::kernels {

/// True when built with sm_90a code, on a Hopper, every key tile is a whole 128 tokens and the copy engine can read the
/// operands.
bool Sm90SuitsAttention(const AttentionParams& params);
/// bf16. Only after Sm90SuitsAttention.
cudaError_t LaunchAttentionSm90(const AttentionParams& params, cudaStream_t stream);

/// Whether the current device is a Hopper and the library has code for it.
bool Sm90HasFloat8Attention();
/// e4m3 (AttentionParams::type kFloat8), sparse. Only where Sm90HasFloat8Attention.
cudaError_t LaunchFloat8AttentionSm90(const AttentionParams& params, cudaStream_t stream);

}  // namespace flashvsr::kernels
