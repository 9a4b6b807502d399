// Rotary angles for any 64-bit position (flashvsr-model.md section 4), as (cos, sin) pairs in fp32.
#pragma once

#include <cstdint>
#include <vector>

namespace flashvsr {

inline constexpr int kRopeFramePairs = 22;
inline constexpr int kRopeSidePairs = 21;

// (count, pairs, 2): cos and sin of position * 10000^(-2i / (2*pairs)) for positions first .. first + count - 1. The
// product is exact (two doubles) and reduced modulo 2*pi, so differences of positions, which are all that attention
// sees, keep double precision up to positions of 2^53.
std::vector<float> RopeTable(std::int64_t first, std::int64_t count, int pairs);

}  // namespace flashvsr
