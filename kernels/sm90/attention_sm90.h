// The Hopper attention (wgmma): same operands and results as smxx/attention.cu.
#pragma once

#include "kernels/attention.h"

namespace flashvsr::kernels {

/// True when built with sm_90a code, on a Hopper, every key tile is a whole 128 tokens and the copy engine can read the operands.
bool Sm90SuitsAttention(const AttentionParams& params);
/// bf16. Only after Sm90SuitsAttention.
cudaError_t LaunchAttentionSm90(const AttentionParams& params, cudaStream_t stream);

/// e4m3 (AttentionParams::type kFloat8), sparse. Only where Float8AttentionSuits.
cudaError_t LaunchAttention8Sm90(const AttentionParams& params, cudaStream_t stream);

}  // namespace flashvsr::kernels
