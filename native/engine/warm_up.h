// Everything that is made when it is first used (kernels, plans of cuBLASLt, staging) is used once before anybody waits
// for it.
#pragma once

#include <memory>

#include "engine/engine.h"
#include "engine/network.h"

namespace flashvsr {

// Runs the first two chunks of a grey stream: together they have every shape that a stream of these options ever has,
// but for the fill of the key/value cache. @returns the network, reset, with the memory such a stream needs; nullptr
// when it does not fit. `chunkMs`: what the second, steady chunk took.
std::unique_ptr<Network> WarmUp(const Backend& backend, const std::shared_ptr<PreparedModel>& model,
                                Precision precision, const StreamOptions& options, double& chunkMs);

}  // namespace flashvsr
