// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) and the engine's noise from it.
// Header only, so that every backend computes the same bits; FLASHVSR_HOST_DEVICE is __host__ __device__ under nvcc.
#pragma once

#include <cmath>
#include <cstdint>

#if defined(__CUDACC__)
#define FLASHVSR_HOST_DEVICE __host__ __device__
#else
#define FLASHVSR_HOST_DEVICE
#endif

namespace flashvsr {

struct Philox4 {
  std::uint32_t v[4];
};

FLASHVSR_HOST_DEVICE
inline Philox4 Philox(Philox4 counter, std::uint32_t key0, std::uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = static_cast<std::uint64_t>(0xD2511F53U) * counter.v[0];
    const std::uint64_t p1 = static_cast<std::uint64_t>(0xCD9E8D57U) * counter.v[2];
    const Philox4 next{{static_cast<std::uint32_t>(p1 >> 32) ^ counter.v[1] ^ key0, static_cast<std::uint32_t>(p1),
                        static_cast<std::uint32_t>(p0 >> 32) ^ counter.v[3] ^ key1, static_cast<std::uint32_t>(p0)}};
    counter = next;
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
  return counter;
}

// What a counter is used for: streams of numbers that never meet.
enum class PhiloxUse : std::uint32_t { Noise = 0, Weights = 1 };

// Two independent standard normals from two words (Box-Muller in double, so that backends agree to rounding).
FLASHVSR_HOST_DEVICE
inline void BoxMuller(std::uint32_t a, std::uint32_t b, float& first, float& second) {
  const double radius = sqrt(-2.0 * log((static_cast<double>(a) + 1.0) * (1.0 / 4294967296.0)));
  const double angle = static_cast<double>(b) * (6.283185307179586476925286766559 / 4294967296.0);
  first = static_cast<float>(radius * cos(angle));
  second = static_cast<float>(radius * sin(angle));
}

// Normals 4*index .. 4*index+3 of latent position `position`. Elements of one position are counted channel > row >
// column over (16, H/8, W/8); index = element / 4. Counter: index, use, position low, position high; key: seed low,
// seed high.
FLASHVSR_HOST_DEVICE
inline void NoiseNormals(std::uint64_t seed, std::int64_t position, std::uint32_t index, float out[4]) {
  const std::uint64_t p = static_cast<std::uint64_t>(position);
  const Philox4 bits = Philox({{index, static_cast<std::uint32_t>(PhiloxUse::Noise), static_cast<std::uint32_t>(p),
                                static_cast<std::uint32_t>(p >> 32)}},
                              static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
  BoxMuller(bits.v[0], bits.v[1], out[0], out[1]);
  BoxMuller(bits.v[2], bits.v[3], out[2], out[3]);
}

}  // namespace flashvsr
