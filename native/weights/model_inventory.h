// The model's inventory, shared by the check (model_weights.cpp) and the importer. See ExpectedTensors in
// model_weights.h for the list itself.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "weights/model_weights.h"

namespace flashvsr {

// A size whose tensor is missing or has the wrong rank. ExpectedTensors passes it on into shapes, where it matches
// anything, so that one bad tensor does not make all others look wrong.
inline constexpr std::int64_t kUnknownSize = -1;
// Pixel-unshuffled channels of both the projector (3 x 16 x 16) and the decoder's condition (3 x 4 x 8 x 8).
inline constexpr std::int64_t kUnshuffledChannels = 768;
inline constexpr std::int64_t kMaxLayers = 4096;

// Every size from the shapes; kUnknownSize where it cannot be read. The variant is left at its default.
ModelDims DetectDims(const ModelSources& sources);

// Rules between sizes that no single shape shows ("dim is 100; it must be a positive multiple of 128").
std::vector<std::string> DimsProblems(const ModelDims& dims);

}  // namespace flashvsr
