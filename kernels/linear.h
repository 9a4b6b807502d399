// Linear layers: d = residual + activation(scale * a * b^T + bias) (gates are folded into b and bias): bf16, e4m3 or
// int8 on tensor cores, or fp32 for debugging.
#pragma once

#include "kernels/launched.h"
#include "kernels/types.h"

namespace flashvsr::kernels {

struct LinearParams {
  const void* a = nullptr;         ///< (m, k) of `type`, rows `lda` elements apart
  const void* b = nullptr;         ///< (n, k) of `type` (a linear layer's weight as stored), rows `ldb` elements apart
  const float* bias = nullptr;     ///< (n) or null
  const void* residual = nullptr;  ///< (m, n) of `outputType`, rows `ldd` elements apart, or null; may be `d` itself
  void* d = nullptr;               ///< (m, n) of `outputType`
  int m = 0, n = 0, k = 0;         ///< tensor cores want k, lda, ldb % 8 == 0 and 16-byte aligned a, b
  int64_t lda = 0, ldb = 0, ldd = 0;
  DataType type =
      DataType::kBfloat16;  ///< of a and b; 8-bit types want k, lda, ldb % 16 == 0, kFloat8 a card of sm_89 or newer
  DataType outputType = DataType::kBfloat16;  ///< kFloat8 only from kFloat8, without residual
  float scale = 1.0f;                         ///< kFloat8: of the sums (the operands' scales, undone)
  float outputScale = 1.0f;                   ///< outputType kFloat8: d = e4m3(outputScale * ..), saturating
  const float* rowScales = nullptr;           ///< kInt8: (m), times columnScales what a sum is multiplied by; bf16 out
  const float* columnScales = nullptr;        ///< kInt8: (n)
  Activation activation = Activation::kNone;
  Path path = Path::kAuto;
};

/// Deterministic: one block computes one tile of d over the whole of k, in order. cudaErrorInvalidValue names a broken
/// shape rule.
Launched LaunchLinear(const LinearParams& params, cudaStream_t stream);

/// Whether LaunchLinear takes the Hopper layer kernel (sm90/linear.cu), whose epilogue runs under the next tile's
/// products.
bool LinearOverlapsEpilogue(const LinearParams& params);

/// Whether the current device multiplies e4m3.
bool Float8Suits();

}  // namespace flashvsr::kernels
