// Choices that the engine's users make and the backends carry out.
#pragma once

#include <cstdint>

namespace flashvsr {

// Of weights and activations; sums, norms and softmax are fp32 whatever the choice.
// Fp8 and Int8 are of the transformer's linear layers (docs/flashvsr-engine.md says of what else); the rest is bf16.
enum class Precision : std::uint8_t { Fp32, Bf16, Fp8, Int8 };

// How a decoded picture gets its LQ frame's colours (flashvsr-model.md section 7).
enum class ColourMatch : std::uint8_t { None, Adain, Wavelet };

}  // namespace flashvsr
