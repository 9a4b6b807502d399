// Backends by name.
#pragma once

#include <memory>
#include <string>

#include "backend/backend.h"

namespace flashvsr {

// "reference", "cuda" or "auto". Throws Error "engine.device" with the reason when it cannot be used.
std::unique_ptr<Backend> OpenBackend(const std::string& device, int deviceIndex, int threads,
                                     const std::string& cudaLibraryPath);
// Precision in use when none is asked for.
Precision DefaultPrecision(const std::string& device);
std::string_view PrecisionName(Precision precision);
Precision ParsePrecision(std::string_view name);

}  // namespace flashvsr
