#include "engine/stream_plan.h"

#include <algorithm>
#include <cmath>
#include <sstream>

namespace flashvsr {
namespace {

constexpr int kLargestSide = 8192, kSmallestSide = 16;

// "scale is 40, it must be 1..16."
template <typename T>
void InRange(const char* name, T value, T low, T high, ErrorScope scope) {
  if (value >= low && value <= high) return;  // false for NaN
  const auto text = [](T v) {
    std::ostringstream out;
    out << v;
    return out.str();
  };
  throw Error("engine.settings", scope,
              std::string(name) + " is " + text(value) + ", it must be " + text(low) + " to " + text(high) + ".",
              "Correct the named setting.");
}

int EvenSize(double size) {
  const int rounded = static_cast<int>(std::lround(size));
  return rounded + rounded % 2;
}

std::int64_t PadTo128(std::int64_t size) { return (size + 127) / 128 * 128; }

}  // namespace

Decoder ParseDecoder(std::string_view name) {
  if (name == "tiny") return Decoder::Tiny;
  if (name == "wan") return Decoder::Wan;
  throw Error("engine.settings", ErrorScope::Stream,
              "decoder is \"" + std::string(name) + "\", it must be tiny or wan.", "Correct the named setting.");
}

void RequireDecoder(Decoder decoder, const PreparedModel& model, const std::string& device) {
  if (decoder == Decoder::Tiny || model.hasWan()) return;
  if (model.dims().wanWidth == 0)
    throw Error("engine.settings", ErrorScope::Stream, "The model holds no Wan2.1 decoder.",
                "Import it again with Wan2.1_VAE.pth beside the other files, or choose the tiny decoder.");
  throw Error("engine.settings", ErrorScope::Stream, "The Wan2.1 decoder does not run on " + device + ".",
              "Choose the tiny decoder.");
}

void CheckSettings(const StreamSettings& settings, std::optional<double> kvRatio) {
  const ErrorScope scope = kvRatio ? ErrorScope::Frame : ErrorScope::Stream;
  InRange("sparseRatio", settings.sparseRatio, 1e-6, 64.0, scope);
  if (settings.topkRatio) InRange("topkRatio", *settings.topkRatio, 1e-6, 1e6, scope);
  InRange("kvRatio", settings.kvRatio, 1.0, 16.0, scope);
  InRange("localRange", settings.localRange, 1, 1023, scope);
  if (kvRatio && settings.kvRatio != *kvRatio)
    throw Error("engine.settings", scope,
                "kvRatio " + std::to_string(settings.kvRatio) + " cannot replace " + std::to_string(*kvRatio) +
                    " in a running stream.",
                "Open a new stream: kvRatio lays out its memory.");
}

void CheckOptions(const StreamOptions& options) {
  const ErrorScope scope = ErrorScope::Stream;
  InRange("sourceWidth", options.sourceWidth, 2, kLargestSide, scope);
  InRange("sourceHeight", options.sourceHeight, 2, kLargestSide, scope);
  if (options.outputWidth != 0 || options.outputHeight != 0) {
    InRange("outputWidth", options.outputWidth, kSmallestSide, kLargestSide, scope);
    InRange("outputHeight", options.outputHeight, kSmallestSide, kLargestSide, scope);
  } else {
    InRange("scale", options.scale, 0.01, 1024.0, scope);
    InRange("sourceWidth * scale", EvenSize(options.sourceWidth * options.scale), kSmallestSide, kLargestSide, scope);
    InRange("sourceHeight * scale", EvenSize(options.sourceHeight * options.scale), kSmallestSide, kLargestSide, scope);
  }
  InRange("coldStartFrames", options.coldStartFrames, 1, kFirstChunkFrames, scope);
  InRange<std::int64_t>("gatherDeadlineMs", options.gatherDeadlineMs, 0, 3'600'000, scope);
  InRange("inputQueueFrames", options.inputQueueFrames, kFirstChunkFrames, 4096, scope);
  InRange("outputQueueFrames", options.outputQueueFrames, 32, 4096, scope);
  InRange<std::int64_t>("startPosition", options.startPosition, 0, std::int64_t{1} << 52, scope);
  CheckSettings(options.settings, std::nullopt);
  const Geometry geometry = GeometryOf(options);
  try {
    Network::TopK(options.settings, geometry, 1);
  } catch (const Error& error) {
    throw Error(error.code(), scope, error.message(), error.remedy());
  }
}

void CheckPicture(const FrameView& picture) {
  const auto fail = [](const std::string& why) {
    throw Error("engine.picture", ErrorScope::Frame, why, "Give whole pictures of at most 8192x8192.");
  };
  if (picture.width < 2 || picture.height < 2 || picture.width > kLargestSide || picture.height > kLargestSide)
    fail("A picture of " + std::to_string(picture.width) + "x" + std::to_string(picture.height) + " was pushed.");
  const bool yuv = picture.format.pixels == PixelFormat::I420;
  for (std::size_t plane = 0; plane < (yuv ? 3U : 1U); ++plane) {
    const int width = !yuv ? picture.width * 3 : plane == 0 ? picture.width : (picture.width + 1) / 2;
    if (picture.planes[plane] == nullptr) fail("Plane " + std::to_string(plane) + " of a pushed picture is missing.");
    if (picture.strides[plane] < width)
      fail("Plane " + std::to_string(plane) + " has a stride of " + std::to_string(picture.strides[plane]) +
           " bytes for " + std::to_string(width) + " a row.");
  }
}

Geometry GeometryOf(const StreamOptions& options) {
  Geometry geometry;
  const bool given = options.outputWidth != 0 || options.outputHeight != 0;
  geometry.contentWidth = given ? options.outputWidth : EvenSize(options.sourceWidth * options.scale);
  geometry.contentHeight = given ? options.outputHeight : EvenSize(options.sourceHeight * options.scale);
  geometry.width = PadTo128(geometry.contentWidth);
  geometry.height = PadTo128(geometry.contentHeight);
  return geometry;
}

std::optional<std::pair<int, int>> LargestThatFits(const StreamOptions& options,
                                                   const std::function<bool(const StreamOptions&)>& fits) {
  const Geometry geometry = GeometryOf(options);
  // Memory goes in steps of 128 pixels, so the longer side does, too.
  const std::int64_t steps = std::max(geometry.width, geometry.height) / 128;
  for (std::int64_t left = steps - 1; left > 0; --left) {
    const double factor = static_cast<double>(left) / static_cast<double>(steps);
    StreamOptions smaller = options;
    smaller.outputWidth = EvenSize(static_cast<double>(geometry.contentWidth) * factor);
    smaller.outputHeight = EvenSize(static_cast<double>(geometry.contentHeight) * factor);
    if (std::min(smaller.outputWidth, smaller.outputHeight) < kSmallestSide) return std::nullopt;
    if (fits(smaller)) return std::pair{smaller.outputWidth, smaller.outputHeight};
  }
  return std::nullopt;
}

NetworkOptions NetworkOptionsOf(const StreamOptions& options) {
  NetworkOptions network;
  network.geometry = GeometryOf(options);
  network.kvRatio = options.settings.kvRatio;
  network.maxSourceWidth = options.sourceWidth;
  network.maxSourceHeight = options.sourceHeight;
  network.outputFormat = options.outputFormat;
  network.decoder = options.decoder;
  return network;
}

}  // namespace flashvsr
