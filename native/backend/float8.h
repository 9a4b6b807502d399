// e4m3 and the scales of the fp8 mode, shared by the reference backend (which rounds as the hardware does) and the CUDA
// backend.
//
// Every scale is static, a power of two, and follows from the weights. A layer norm's output has norm sqrt(width)
// exactly, so no element is larger than that; a linear layer's results are then bounded by Cauchy-Schwarz, a softmax's
// averages by their values, a normalised and turned query by its norm's weights. Such a bound is some ten times what a
// row really reaches, and that costs nothing: e4m3 is a floating-point format whose normal numbers span 2^14.8, and a
// scale only says where in it the numbers lie. No pass over activations looks for maxima, and nothing ever saturates.
//
// What is e4m3 (arXiv 2209.05433 for the format), per transformer block: operands of q, k, v, o, of cross attention's q
// and o, of both feed-forward layers; q, k, v and probabilities of sparse attention. Sums, norms, softmax and the token
// stream stay as in bf16.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "common/error.h"

namespace flashvsr::float8 {

inline constexpr float kLargest = 448.0F;

// Nearest e4m3 (ties to even), saturating, no infinities; NaN stays NaN.
inline float Round(float x) {
  const float magnitude = std::fabs(x);
  if (!(magnitude < kLargest)) return std::isnan(x) ? x : std::copysign(kLargest, x);
  int exponent = 0;
  std::frexp(magnitude, &exponent);                    // magnitude in [2^(exponent-1), 2^exponent)
  const int quantum = std::max(exponent - 1, -6) - 3;  // 3 mantissa bits; below 2^-6 the steps stay
  return std::ldexp(std::nearbyintf(std::ldexp(x, -quantum)), quantum);
}

// The largest power of two that takes `bound` to at most kLargest. 1 for 0.
inline float ScaleFor(float bound) {
  if (!(bound > 0.0F)) return 1.0F;
  int exponent = 0;
  std::frexp(kLargest / bound, &exponent);
  return std::ldexp(1.0F, exponent - 1);
}

// Largest element of a row of `width` after a norm without weights.
inline float NormBound(std::int64_t width) { return std::sqrt(static_cast<float>(width)); }

// How much of a block is e4m3. All is what `precision: fp8` means; the environment variable FLASHVSR_FP8 (ffn, linear,
// all) takes less, to measure what each part costs and gives. Attention also needs a card that has the kernel.
enum class Scope : std::uint8_t { FeedForward, Linear, All };
inline Scope ScopeFromEnvironment() {
  const char* const text = std::getenv("FLASHVSR_FP8");
  const std::string name = text != nullptr ? text : "";
  if (name.empty() || name == "all") return Scope::All;
  if (name == "linear") return Scope::Linear;
  if (name == "ffn") return Scope::FeedForward;
  throw Error("engine.settings", ErrorScope::Engine, "FLASHVSR_FP8 is \"" + name + "\".", "Use ffn, linear or all.");
}

}  // namespace flashvsr::float8
