// Operations on rows of tokens, fp32, sums in double: the specification of the transformer's small fused kernels.
// Pointers are to row-major data of the shapes stated; in-place is allowed where input and output have one name.
#pragma once

#include <cstdint>

#include "backend/reference/matrix.h"

namespace flashvsr::reference {

// out = LN(x) [* weight + bias] [* (1 + scale) + shift], rows of `width`, eps 1e-6, biased variance. weight, bias,
// scale and shift have `width` elements or are nullptr (absent). x and out may be the same.
void LayerNorm(Threads& threads, const float* x, std::int64_t rows, std::int64_t width, const float* weight,
               const float* bias, const float* scale, const float* shift, float* out);

// x = x / sqrt(mean(x^2) + 1e-6) * weight over the whole row (not per head).
void RmsNorm(Threads& threads, float* x, std::int64_t rows, std::int64_t width, const float* weight);

// Rotary embedding in place on tokens in window order (backend.h, TokenIndex): per head of 128 the first 22 adjacent
// pairs turn by the latent frame, the next 21 by the row, the last 21 by the column. Tables hold (cos, sin) per pair:
// frames (f, 22, 2), rows (h, 21, 2), columns (w, 21, 2).
void Rope(Threads& threads, float* x, std::int64_t frames, std::int64_t tokenRows, std::int64_t tokenColumns,
          std::int64_t width, const float* frameTable, const float* rowTable, const float* columnTable);

enum class Activation : std::uint8_t { None, GeluTanh, Silu };
float GeluTanh(float x);
float Silu(float x);

// out (rows, N) = activation(x (rows, K) * weight^T + bias); bias (N) or nullptr.
void Linear(Threads& threads, const float* x, std::int64_t rows, const PackedMatrix& weight, const float* bias,
            Activation activation, float* out);
// x (rows, N) += gate * (y (rows, K) * weight^T + bias); gate (N) or nullptr for 1.
void LinearGatedResidual(Threads& threads, const float* y, std::int64_t rows, const PackedMatrix& weight,
                         const float* bias, const float* gate, float* x);

// x = e4m3(scale * x) / scale (backend/float8.h); nothing for scale 0.
void RoundFloat8(Threads& threads, float* x, std::int64_t count, float scale);

// x = x H / sqrt(length) in place, H block-diagonal with Sylvester's Hadamard matrices of `length` (a power of two that
// divides `width`). Its own inverse; sums in fp32 in the order of the butterflies, as the kernel has it.
void RotateRows(Threads& threads, float* x, std::int64_t rows, std::int64_t width, std::int64_t length);
// Every row becomes whole multiples of its own scale (backend/int8.h). `scales` (rows) or nullptr.
void RoundInt8(Threads& threads, float* x, std::int64_t rows, std::int64_t width, float* scales = nullptr);

// Patches of (channels, f, H8, W8) in window order: (tokens, channels*4), channel > row of patch > column of patch.
void PatchRows(Threads& threads, const float* latent, std::int64_t channels, std::int64_t frames, std::int64_t height,
               std::int64_t width, float* rows);
// The head's (tokens, 64): (row of patch, column of patch, channel), channel fastest, in window order ->
// out (channels, f, H8, W8) = base - rows. base and out may be the same.
void SubtractPatches(Threads& threads, const float* rows, const float* base, std::int64_t channels, std::int64_t frames,
                     std::int64_t height, std::int64_t width, float* out);

// Standard normals (channels, frames, height, width) for latent positions position.. (kernels/common/philox.h).
void NoiseFill(Threads& threads, std::uint64_t seed, std::int64_t position, std::int64_t channels, std::int64_t frames,
               std::int64_t height, std::int64_t width, float* out);

}  // namespace flashvsr::reference
