// 8-bit integers with rotation: the number format of `precision: int8`, shared by the reference backend (which rounds
// as the kernels do) and the CUDA kernels.
//
// A linear layer's operands are int8, its sums int32 and exact. Weights have one scale an output channel, activations
// one a token, both the largest magnitude of the row divided by 127, so nothing saturates and no data of a stream goes
// into another token's scale. One large channel would take the other channels' digits: an element's rounding error is
// largest / 254 whatever its own size. So both operands are first multiplied by the same orthogonal matrix along k,
// blocks of Sylvester's Hadamard matrix over the root of their length (QuaRot, arXiv 2404.00456, section 3): x H (W
// H)^T = x W^T, and a channel 50 times the others becomes 50 / 16 of every channel of its block.
//
// What is int8, per transformer block: operands of q, k, v, o, of cross attention's q and o, of both feed-forward
// layers. The norm's factors and the gate are folded into the weights before they are turned and rounded, as in fp8.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace flashvsr::int8 {

inline constexpr float kLargest = 127.0F;
inline constexpr std::int64_t kLongestRotation = 256;

// Length of the Hadamard blocks of rows of `width`: the largest power of two that divides it, 256 at the most. 256 for
// 1536 and 8960.
constexpr std::int64_t RotationOf(std::int64_t width) {
  std::int64_t length = 1;
  while (length < kLongestRotation && width % (2 * length) == 0) length *= 2;
  return length;
}

// The scale of a row whose largest magnitude is `largest`; 1 for a row of zeros.
inline float ScaleFor(float largest) { return largest > 0.0F ? largest / kLargest : 1.0F; }

// Nearest integer (ties to even) of x / scale, by the reciprocal: at most 127 in magnitude where `scale` is ScaleFor of
// the row's largest.
inline float Round(float x, float scale) { return std::nearbyintf(x * (1.0F / scale)); }

// FLASHVSR_INT8=plain leaves the rotation out, to measure what it is worth.
inline bool RotationWanted() {
  const char* const text = std::getenv("FLASHVSR_INT8");
  return text == nullptr || std::string_view(text) != "plain";
}

}  // namespace flashvsr::int8
