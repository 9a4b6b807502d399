// flashvsr_cuda_hang_test: a kernel that never returns takes the whole card while a stream has a chunk at work. The
// engine must say so with one error of scope Engine, end every stream, close, and the process must be able to leave
// while the kernel still runs: by _Exit, as the server does (exit() runs CUDA's clean-up, which waits for the kernel).
// Run it under `timeout -s KILL`: a failure may be a hang.
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <vector>

#include "backend/cuda/test/spin.h"
#include "engine/engine.h"
#include "engine/synthetic_weights.h"

namespace {

using namespace flashvsr;

class Listener final : public StreamListener {
 public:
  void onFrame(OutputFrame frame) override {
    const std::lock_guard lock(mutex);
    frames.push_back(std::move(frame));
    changed.notify_all();
  }
  void onFlushed(std::uint64_t) override {}
  void onError(const Error& failure) override {
    const std::lock_guard lock(mutex);
    error = failure;
  }
  void onClosed() override {
    const std::lock_guard lock(mutex);
    closed = true;
    changed.notify_all();
  }
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<OutputFrame> frames;
  std::optional<Error> error;
  bool closed = false;
};

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IONBF, 0);  // the output must be there when this is killed
  try {
    Threads threads;
    EngineOptions options;
    options.device = "cuda";
    if (argc > 1) options.cudaLibraryPath = argv[1];
    options.hangMs = 1500;
    auto engine = Engine::Open(MakeSyntheticWeights(MicroDims(), 3, threads), options);
    StreamOptions streamOptions;
    streamOptions.sourceWidth = streamOptions.sourceHeight = 64;
    streamOptions.gatherDeadlineMs = 0;
    streamOptions.settings.topkRatio = 1.2;
    const auto listener = std::make_shared<Listener>();
    auto stream = engine->createStream(streamOptions, listener);
    std::vector<std::uint8_t> picture(64 * 64 * 3 / 2, 100);
    FrameView view;
    view.width = view.height = 64;
    view.planes = {picture.data(), picture.data() + 64 * 64, picture.data() + 64 * 64 * 5 / 4};
    view.strides = {64, 32, 32};
    for (int i = 0; i < 5; ++i) stream->push(view, i);
    {
      std::unique_lock lock(listener->mutex);
      listener->changed.wait(lock, [&] { return !listener->frames.empty() || listener->closed; });
    }
    int* stop = nullptr;
    cudaStream_t other = nullptr;
    if (cudaHostAlloc(reinterpret_cast<void**>(&stop), sizeof(int), cudaHostAllocMapped) != cudaSuccess ||
        cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking) != cudaSuccess)
      return std::printf("FAIL no memory\n"), 1;
    *stop = 0;
    if (kernels::LaunchSpin(stop, other) != cudaSuccess) return std::printf("FAIL the kernel did not start\n"), 1;
    for (int i = 5; i < 13; ++i) stream->push(view, i);
    {
      std::unique_lock lock(listener->mutex);
      listener->changed.wait(lock, [&] { return listener->closed; });
      const bool ok = listener->error && listener->error->scope() == ErrorScope::Engine &&
                      listener->error->message().find("hangs") != std::string::npos;
      std::printf("%s the engine reports: %s\n", ok ? "ok  " : "FAIL",
                  listener->error ? listener->error->message().c_str() : "nothing");
      listener->frames.clear();
      if (!ok) return 1;
    }
    stream.reset();
    engine->close();
    engine.reset();
    std::printf("ok   closed; leaving while the kernel runs\n");
    std::fflush(stdout);
    std::_Exit(0);  // exit() would wait for the kernel, without end
  } catch (const std::exception& error) {
    std::printf("FAIL %s\n", error.what());
    return 1;
  }
}
