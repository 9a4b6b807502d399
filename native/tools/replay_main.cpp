// flashvsr_replay RECORDING (--weights DIR [--variant v1.1] | --micro-synthetic) [--device reference|cuda] [--precision
// P] [--threads N] [--library PATH] Runs a recorded stream again and compares the hash of every frame. Exit 1 when one
// differs.
#include <cstdio>

#include "engine/constants.h"
#include "engine/device.h"
#include "engine/recording.h"
#include "engine/synthetic_weights.h"
#include "tools/arguments.h"

int main(int argc, char** argv) {
  using namespace flashvsr;
  try {
    const tools::Arguments arguments(argc, argv,
                                     {"--weights", "--variant", "--device", "--precision", "--threads", "--library"},
                                     {"--micro-synthetic"});
    if (arguments.bare.empty() || arguments.flag("--micro-synthetic") == arguments.has("--weights"))
      throw Error("arguments", ErrorScope::Engine,
                  "usage: flashvsr_replay RECORDING (--weights DIR | --micro-synthetic) [--device reference|cuda]");
    const int workers = arguments.number("--threads", 0);
    Threads threads(workers);
    const auto weights = arguments.has("--weights")
                             ? ModelWeights::OpenOfficialFolder(arguments.text("--weights", ""),
                                                                ParseVariant(arguments.text("--variant", "v1.1")))
                             : MakeSyntheticWeights(MicroDims(), 1, threads);
    const auto backend =
        OpenBackend(arguments.text("--device", "reference"), 0, workers, arguments.text("--library", ""));
    const Precision precision = arguments.has("--precision") ? ParsePrecision(arguments.text("--precision", ""))
                                                             : DefaultPrecision(backend->info().device);
    const auto model = backend->prepare(*weights, ComputeModelConstants(*weights, threads), precision, {});
    const ReplayReport report = ReplayRecording(arguments.bare, *backend, model, precision);
    std::printf("%lld chunks, %lld frames, %lld differ, %lld missing: %s\n", static_cast<long long>(report.chunks),
                static_cast<long long>(report.frames), static_cast<long long>(report.differing),
                static_cast<long long>(report.missing), report.same() ? "same" : "FAIL");
    return report.same() ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "flashvsr_replay: %s\n", error.what());
    return 1;
  }
}
