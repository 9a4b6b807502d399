// Checks of stream options and what follows from them.
#pragma once

#include <functional>
#include <optional>
#include <utility>

#include "engine/engine.h"
#include "engine/network.h"

namespace flashvsr {

// Throws Error of scope Stream that names the option, its value and its range.
// Whether a stream of this model on this device ("reference", "cuda") can have the decoder; Error "engine.settings".
void RequireDecoder(Decoder decoder, const PreparedModel& model, const std::string& device);
void CheckOptions(const StreamOptions& options);
// The same for settings alone, of scope Frame. `kvRatio`: the stream's own, absent when it may still be chosen.
void CheckSettings(const StreamSettings& settings, std::optional<double> kvRatio);
// A picture that cannot be: Error of scope Frame.
void CheckPicture(const FrameView& picture);

// Output size = round(source * scale) made even (up), padded to the next multiples of 128.
Geometry GeometryOf(const StreamOptions& options);
// The largest output (width, height) of the same shape, a multiple of 128 smaller along its longer side, that `fits`;
// nothing when none does. What a refused stream is told.
std::optional<std::pair<int, int>> LargestThatFits(const StreamOptions& options,
                                                   const std::function<bool(const StreamOptions&)>& fits);
NetworkOptions NetworkOptionsOf(const StreamOptions& options);

}  // namespace flashvsr
