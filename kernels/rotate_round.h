// Rows for linear layers in int8: turned by Hadamard blocks, then rounded with a scale a row (native/backend/int8.h has
// the format and why).
#pragma once

#include "kernels/types.h"

namespace flashvsr::kernels {

inline constexpr int kLongestRotation = 256;      ///< of Hadamard blocks
inline constexpr int kWidestRotateRound = 10240;  ///< rows a block of threads holds in its registers

/// out = round(LN(x) H / scale), scale = the row's largest magnitude / 127; the norm only when `norm` is set. LN has no
/// weights here (what it has is folded into the layer's), biased variance, eps 1e-6. fp32 inside.
struct RotateRoundParams {
  const void* x = nullptr;  ///< (rows, width) of `type`, 16-byte aligned
  void* out = nullptr;      ///< int8 (rows, width), rows `ldOut` bytes apart, 8-byte aligned; see below for out == x
  float* scales = nullptr;  ///< (rows)
  int64_t rows = 0;
  int width = 0;                        ///< a multiple of 16, at most kWidestRotateRound
  int64_t ldOut = 0;                    ///< a multiple of 8, at least width
  int rotation = kLongestRotation;      ///< length of the Hadamard blocks: a power of two that divides width; 1: none
  DataType type = DataType::kBfloat16;  ///< or kFloat32 (weights)
  bool norm = false;
};

/// A row is read whole before any of it is written, so it may be rounded in its own place: out == x with ldOut the
/// bytes of a row of x. Deterministic: one block owns one row. Without the norm, the bytes of the reference
/// (RotateRows, RoundInt8). cudaErrorInvalidValue names a broken shape rule.
cudaError_t LaunchRotateRound(const RotateRoundParams& params, cudaStream_t stream);

}  // namespace flashvsr::kernels
