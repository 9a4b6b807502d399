// flashvsr_parity DIR [--device reference|cuda] [--precision bf16|fp32|fp8|int8] [--case NAME] [--threads N] [--library
// PATH]
#include <cstdio>
#include <cstring>

#include "engine/device.h"
#include "tools/parity.h"

int main(int argc, char** argv) {
  using namespace flashvsr;
  tools::ParityOptions options;
  bool precisionGiven = false;
  try {
    for (int i = 1; i < argc; ++i) {
      const std::string word = argv[i];
      const auto value = [&]() -> std::string {
        if (i + 1 >= argc) throw Error("arguments", ErrorScope::Engine, word + " needs a value");
        return argv[++i];
      };
      if (word == "--device") {
        options.device = value();
      } else if (word == "--precision") {
        options.precision = ParsePrecision(value());
        precisionGiven = true;
      } else if (word == "--case") {
        options.onlyCase = value();
      } else if (word == "--threads") {
        options.threads = std::stoi(value());
      } else if (word == "--library") {
        options.cudaLibraryPath = value();
      } else if (word.starts_with("-") || !options.folder.empty()) {
        throw Error("arguments", ErrorScope::Engine, "unknown argument " + word);
      } else {
        options.folder = word;
      }
    }
    if (options.folder.empty())
      throw Error("arguments", ErrorScope::Engine,
                  "usage: flashvsr_parity DIR [--device reference|cuda] [--precision bf16|fp32|fp8|int8] [--case NAME] "
                  "[--threads N] [--library PATH]");
    if (!precisionGiven) options.precision = DefaultPrecision(options.device);
    options.print = [](const std::string& line) {
      std::puts(line.c_str());
      std::fflush(stdout);
    };
    const tools::ParityResult result = tools::RunParity(options);
    std::printf("%d cases, %d comparisons, %d failed: %s\n", result.cases, result.lines, result.failures,
                result.cases == 0 ? "FAIL (no cases in the folder)"
                : result.passed() ? "ok"
                                  : "FAIL");
    return result.passed() ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "flashvsr_parity: %s\n", error.what());
    return 1;
  }
}
