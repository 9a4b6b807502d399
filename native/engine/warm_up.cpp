#include "engine/warm_up.h"

#include <chrono>
#include <cstring>

#include "engine/stream_plan.h"

namespace flashvsr {

std::unique_ptr<Network> WarmUp(const Backend& backend, const std::shared_ptr<PreparedModel>& model,
                                Precision precision, const StreamOptions& options, double& chunkMs) {
  CheckOptions(options);
  RequireDecoder(options.decoder, *model, backend.info().device);
  const NetworkOptions wanted = NetworkOptionsOf(options);
  if (!Network::Plan(backend, *model, precision, wanted).fits) return nullptr;
  auto network = std::make_unique<Network>(backend, model, precision, wanted);
  const std::size_t bytes =
      static_cast<std::size_t>(TightPictureBytes(PixelFormat::I420, options.sourceWidth, options.sourceHeight));
  const std::size_t outputBytes = static_cast<std::size_t>(
      TightPictureBytes(wanted.outputFormat.pixels, wanted.geometry.contentWidth, wanted.geometry.contentHeight));
  // The stream's own way to match colours last; the other one may be asked for later.
  for (const ColourMatch match :
       {options.settings.colourMatch == ColourMatch::Wavelet ? ColourMatch::Adain : ColourMatch::Wavelet,
        options.settings.colourMatch}) {
    const bool first = network->first();
    ChunkRequest request;
    request.settings = options.settings;
    request.settings.colourMatch = match;
    request.position = first ? 0 : kFirstChunkLatents;
    for (int i = 0; i < (first ? kFirstChunkFrames : kChunkFrames); ++i) {
      const std::shared_ptr<std::uint8_t[]> data = network->executor().allocateHost(bytes);
      std::memset(data.get(), 128, bytes);
      request.pictures.push_back(std::make_shared<SourcePicture>(
          SourcePicture{PictureFormat{}, options.sourceWidth, options.sourceHeight, data}));
    }
    // Full resolution has one shape: one picture has been everywhere.
    request.outputs.resize(first ? kFirstChunkOutputs : kChunkFrames);
    request.outputs.back() = network->executor().allocateHost(outputBytes);
    const auto start = std::chrono::steady_clock::now();
    network->run(std::move(request)).fence->wait();
    chunkMs = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  }
  network->reset();
  return network;
}

}  // namespace flashvsr
