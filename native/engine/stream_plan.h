// Checks of stream options and what follows from them.
#pragma once

#include "engine/engine.h"
#include "engine/network.h"

namespace flashvsr {

// Throws Error of scope Stream that names the option, its value and its range.
void CheckOptions(const StreamOptions& options);
// The same for settings alone, of scope Frame. `kvRatio`: the stream's own, absent when it may still be chosen.
void CheckSettings(const StreamSettings& settings, std::optional<double> kvRatio);
// A picture that cannot be: Error of scope Frame.
void CheckPicture(const FrameView& picture);

// Output size = round(source * scale) made even (up), padded to the next multiples of 128.
Geometry GeometryOf(const StreamOptions& options);
NetworkOptions NetworkOptionsOf(const StreamOptions& options);

}  // namespace flashvsr
