// Rows for linear layers in int8: turned by Hadamard blocks, then rounded with a scale a row (native/backend/int8.h has
// the format and why).
#pragma once

#include "kernels/types.h"

namespace flashvsr::kernels {

inline constexpr int kRotation = 256;  ///< length of a Hadamard block

/// out = round(LN(x) H / scale), scale = the row's largest magnitude / 127; the norm only when `norm` is set. LN has no
/// weights here (what it has is folded into the layer's), biased variance, eps 1e-6. fp32 inside.
struct RotateRoundParams {
  const void* x = nullptr;  ///< (rows, width) of `type`, 16-byte aligned
  void* out = nullptr;      ///< int8 (rows, width), 8-byte aligned
  float* scales = nullptr;  ///< (rows)
  int64_t rows = 0;
  int width = 0;                        ///< a multiple of 256, at most 10240
  DataType type = DataType::kBfloat16;  ///< or kFloat32 (weights)
  bool norm = false;
};

/// Deterministic: one block owns one row. Without the norm, the bytes of the reference (RotateRows, RoundInt8).
/// cudaErrorInvalidValue names a broken shape rule.
cudaError_t LaunchRotateRound(const RotateRoundParams& params, cudaStream_t stream);

}  // namespace flashvsr::kernels
