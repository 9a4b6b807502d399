// Account of which implementation computed each operation that has more than one: portable kernel, Hopper kernel,
// vendor product. FLASHVSR_CUDA_PATH=sm90 makes a portable one in that place an error.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "backend/cuda/support.h"
#include "kernels/launched.h"

namespace flashvsr::cuda {

// What FLASHVSR_CUDA_PATH asks for. Auto: the best there is for each shape. Portable: no sm90 kernel, no vendor
// product. Sm90: as Auto, but a chunk in which an operation of the table in paths.cpp fell back ends with an error that
// lists all of them.
enum class PathWish { Auto, Portable, Sm90 };
// Throws Error "engine.device" for another word.
PathWish WishedPath();

enum class Operation {
  Linear,
  ProjectorConvolution,
  DecoderConvolution,
  DecoderGrow,
  SparseAttention,
  CrossAttention,
  WanConvolution
};
inline constexpr int kOperations = 7;

// One per executor.
class PathAccount {
 public:
  explicit PathAccount(PathWish wish) : wish_(wish) {}
  // Checks the error of a launch of `operation` and notes what it took.
  void ran(kernels::Launched launched, Operation operation, std::int64_t rows, std::int64_t outputs,
           std::int64_t depth);
  // Throws Error "engine.device" (scope Engine) naming every operation and shape that fell back since the last call,
  // when the wish is Sm90.
  void requireWish();

 private:
  PathWish wish_;
  std::map<std::string, int> fallbacks_;  // "linear layer 8448x1536x1536" -> how often
};

}  // namespace flashvsr::cuda
