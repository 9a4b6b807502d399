#include "backend/cuda/paths.h"

#include <cstdlib>
#include <utility>

namespace flashvsr::cuda {
namespace {

using kernels::Taken;

// The table: what may compute an operation besides its portable kernel, and the smallest result (rows x outputs) and
// depth for which falling back is an error. Below them there are too few tiles to fill the card, or less than one tile
// of keys, and the portable kernel is the right choice.
struct Entry {
  const char* name;
  bool sm90, vendor;
  std::int64_t smallest, shallowest;
};
constexpr std::int64_t kTile = std::int64_t{256} * 128;
constexpr Entry kTable[kOperations] = {
    {"linear layer", true, true, 0, 0},
    {"projector convolution", true, false, 64 * kTile, 0},
    {"decoder convolution", true, false, 64 * kTile, 0},
    {"decoder growth", true, false, 64 * kTile, 0},
    {"sparse attention", true, false, 0, 128},
    {"cross attention", true, false, 0, 128},
    {"Wan decoder convolution", true, false, 64 * kTile, 0},
};

}  // namespace

PathWish WishedPath() {
  const char* text = std::getenv("FLASHVSR_CUDA_PATH");
  const std::string_view wish = text != nullptr ? text : "";
  if (wish.empty() || wish == "auto") return PathWish::Auto;
  if (wish == "portable") return PathWish::Portable;
  if (wish == "sm90") return PathWish::Sm90;
  throw Error("engine.device", ErrorScope::Engine,
              "FLASHVSR_CUDA_PATH is \"" + std::string(wish) + "\", it must be auto, portable or sm90.");
}

void PathAccount::ran(kernels::Launched launched, Operation operation, std::int64_t rows, std::int64_t outputs,
                      std::int64_t depth) {
  const Entry& entry = kTable[static_cast<int>(operation)];
  Check(launched.error, entry.name);
  const bool asWished = (launched.by == Taken::kSm90 && entry.sm90) || (launched.by == Taken::kVendor && entry.vendor);
  if (wish_ != PathWish::Sm90 || asWished || rows * outputs < entry.smallest || depth < entry.shallowest) return;
  ++fallbacks_[std::string(entry.name) + " " + std::to_string(rows) + "x" + std::to_string(outputs) + "x" +
               std::to_string(depth)];
}

void PathAccount::requireWish() {
  if (fallbacks_.empty()) return;
  std::string list;
  for (const auto& [what, times] : std::exchange(fallbacks_, {}))
    list += (list.empty() ? "" : ", ") + what + " (" + std::to_string(times) + " times)";
  throw Error(
      "engine.device", ErrorScope::Engine,
      "FLASHVSR_CUDA_PATH=sm90: these operations fell back to portable kernels (rows x outputs x depth): " + list + ".",
      "Build with compute capability 90, run on a Hopper card with cuBLASLt, or choose FLASHVSR_CUDA_PATH=auto.");
}

}  // namespace flashvsr::cuda
