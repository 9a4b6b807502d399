// flashvsr_cuda_stream_tests [--chunks N]: life of streams on the CUDA backend, with a small synthetic model.
//   determinism           the same frames and settings give the same bytes, in a fresh stream and after reset()
//   independence          two streams interleaved chunk by chunk give what each gives alone
//   endurance             N chunks (1000) leave the device's free memory where it was
//   memory                a stream that cannot fit is refused with numbers, and the device stays usable
//   failure               a broken kernel ends as one error of scope Engine, again and again (last: the device is lost)
#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>

#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/support.h"
#include "engine/constants.h"
#include "engine/network.h"
#include "engine/synthetic_weights.h"
#include "kernels/patch.h"
#include "test/harness.h"

namespace {

using namespace flashvsr;

using test::Report;

NetworkOptions OptionsOf(int height, int width) {
  NetworkOptions options;
  options.geometry = {(height + 127) / 128 * 128, (width + 127) / 128 * 128, height, width};
  options.maxSourceWidth = width / 4;
  options.maxSourceHeight = height / 4;
  return options;
}

StreamSettings SettingsOf(std::uint64_t seed, ColourMatch match) {
  StreamSettings settings;
  settings.topkRatio = 1.2;
  settings.localRange = 3;
  settings.seed = seed;
  settings.colourMatch = match;
  return settings;
}

// Chunk `chunk` of a moving random picture that depends on `which`.
ChunkRequest RequestOf(Network& network, std::int64_t chunk, const StreamSettings& settings, std::uint32_t which) {
  const int height = network.options().maxSourceHeight, width = network.options().maxSourceWidth;
  ChunkRequest request;
  request.settings = settings;
  request.position = chunk == 0 ? 0 : 2 * chunk + 4;
  const int frames = chunk == 0 ? kFirstChunkFrames : kChunkFrames;
  const std::int64_t first = chunk == 0 ? 0 : 8 * chunk + 17;
  for (int i = 0; i < frames; ++i) {
    const std::size_t bytes = static_cast<std::size_t>(TightPictureBytes(PixelFormat::I420, width, height));
    std::shared_ptr<std::uint8_t[]> data = network.executor().allocateHost(bytes);
    std::uint32_t state = which * 2654435761U + static_cast<std::uint32_t>(first + i) * 40503U + 1U;
    for (std::size_t p = 0; p < bytes; ++p) {
      state = state * 1664525U + 1013904223U;
      data[p] = static_cast<std::uint8_t>(60 + p / 7 % 100 + (state >> 27));
    }
    request.pictures.push_back(std::make_shared<SourcePicture>(SourcePicture{PictureFormat{}, width, height, data}));
  }
  const Geometry& g = network.options().geometry;
  for (int i = 0; i < (chunk == 0 ? kFirstChunkOutputs : kChunkFrames); ++i)
    request.outputs.push_back(network.executor().allocateHost(
        static_cast<std::size_t>(TightPictureBytes(PixelFormat::I420, g.contentWidth, g.contentHeight))));
  return request;
}

// FNV-1a of a finished chunk's output bytes.
std::uint64_t HashOf(ChunkInFlight& flight, const Geometry& geometry) {
  flight.fence->wait();
  const std::size_t bytes =
      static_cast<std::size_t>(TightPictureBytes(PixelFormat::I420, geometry.contentWidth, geometry.contentHeight));
  std::uint64_t hash = 1469598103934665603ULL;
  for (const auto& output : flight.request.outputs)
    for (std::size_t i = 0; i < bytes; ++i) hash = (hash ^ output[i]) * 1099511628211ULL;
  return hash;
}

std::vector<std::uint64_t> RunAlone(Network& network, int chunks, const StreamSettings& settings, std::uint32_t which) {
  std::vector<std::uint64_t> hashes;
  for (int chunk = 0; chunk < chunks; ++chunk) {
    ChunkInFlight flight = network.run(RequestOf(network, chunk, settings, which));
    hashes.push_back(HashOf(flight, network.options().geometry));
  }
  return hashes;
}

std::size_t FreeBytes() {
  std::size_t free = 0, total = 0;
  cudaDeviceSynchronize();
  cudaMemGetInfo(&free, &total);
  return free;
}

int Main(int argc, char** argv) {
  int chunks = 1000;
  for (int i = 1; i + 1 < argc; i += 2)
    if (std::strcmp(argv[i], "--chunks") == 0) chunks = std::atoi(argv[i + 1]);
  char reason[256] = "";
  const std::unique_ptr<Backend> backend(cuda::CreateBackend(kBackendAbiVersion, 0, reason, sizeof reason));
  if (!backend) return std::printf("no CUDA backend: %s\n", reason), 2;
  std::printf("%s\n", backend->info().deviceName.c_str());
  Threads threads;
  const auto weights = MakeSyntheticWeights(MicroDims(), 3, threads);
  const std::shared_ptr<PreparedModel> model =
      backend->prepare(*weights, ComputeModelConstants(*weights, threads), Precision::Bf16, {});

  // A picture that needs padding, and one that does not.
  const NetworkOptions options = OptionsOf(200, 372), other = OptionsOf(256, 256);
  const StreamSettings adain = SettingsOf(1, ColourMatch::Adain), wavelet = SettingsOf(2, ColourMatch::Wavelet);
  Network first(*backend, model, Precision::Bf16, options), second(*backend, model, Precision::Bf16, other);
  const std::vector<std::uint64_t> firstAlone = RunAlone(first, 5, adain, 1),
                                   secondAlone = RunAlone(second, 5, wavelet, 2);
  {
    Network again(*backend, model, Precision::Bf16, options);
    first.reset();
    Report("determinism", RunAlone(again, 5, adain, 1) == firstAlone && RunAlone(first, 5, adain, 1) == firstAlone,
           "5 chunks, a fresh stream and a reset one");
    second.reset();
    Report("settings", RunAlone(second, 1, adain, 2)[0] != secondAlone[0],
           "another seed and colour match give other bytes");
  }
  {
    first.reset();
    second.reset();
    std::vector<std::uint64_t> a, b;
    for (int chunk = 0; chunk < 5; ++chunk) {
      ChunkInFlight one = first.run(RequestOf(first, chunk, adain, 1));
      ChunkInFlight two = second.run(RequestOf(second, chunk, wavelet, 2));
      b.push_back(HashOf(two, other.geometry));
      a.push_back(HashOf(one, options.geometry));
    }
    Report("independence", a == firstAlone && b == secondAlone, "two streams in flight at once, 5 chunks each");
  }
  {
    second.reset();
    std::size_t before = 0;
    ChunkRequest request = RequestOf(second, 0, adain, 2);
    for (int chunk = 0; chunk < chunks; ++chunk) {
      ChunkRequest next = chunk == 0 ? std::move(request) : ChunkRequest{};
      if (chunk == 1) request = RequestOf(second, 1, adain, 2);
      if (chunk > 0) {
        next = request;
        next.position = 2 * chunk + 4;
      }
      second.run(std::move(next)).fence->wait();
      if (chunk == 10) before = FreeBytes();
    }
    const std::size_t after = FreeBytes();
    Report("endurance", after >= before,
           std::to_string(chunks) + " chunks, free memory " + std::to_string(before >> 20) + " -> " +
               std::to_string(after >> 20) + " MiB");
  }
  {
    bool refused = false;
    std::string message;
    try {
      const ExecutorLimits limits{3, 4, 64, 64};
      model->createExecutor(options.geometry, limits, std::int64_t{1} << 43);
    } catch (const Error& error) {
      refused = error.code() == "engine.memory" && error.scope() == ErrorScope::Stream;
      message = error.message();
    }
    second.reset();
    Report("memory", refused && RunAlone(second, 1, wavelet, 2)[0] == secondAlone[0], message);
  }
  {
    kernels::NoiseParams wild;
    wild.out = reinterpret_cast<float*>(16);
    wild.channels = wild.frames = 1;
    wild.height = wild.width = 16;
    kernels::LaunchNoise(wild, nullptr);
    int thrown = 0;
    std::string message;
    for (int attempt = 0; attempt < 2; ++attempt) {
      try {
        first.reset();
        first.run(RequestOf(first, 0, adain, 1)).fence->wait();
      } catch (const Error& error) {
        if (error.code() == "engine.failed" && error.scope() == ErrorScope::Engine) ++thrown;
        message = error.message();
      }
    }
    Report("failure", thrown == 2, message);
  }
  const int code = test::Finish();
  std::fflush(stdout);
  // The context is dead: leave without the destructors' calls into it.
  std::_Exit(code);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "flashvsr_cuda_stream_tests: %s\n", error.what());
    return 1;
  }
}
