// What a steady chunk costs at the least: the prediction beside the measurement.
#pragma once

#include <array>

#include "engine/engine.h"

namespace flashvsr::bench {

// By stage: project, denoise, reveal, match. Operations count 2 a multiply-add, attention at the windows it keeps,
// TGrow and the nearest x2 folded. Bytes: every weight, cached key and value and full picture read or written once.
struct Work {
  std::array<double, 4> operations{}, bytes{};
  // The longer of the two times, milliseconds.
  double floorMs(std::size_t stage, double teraflops, double terabytes) const;
};

Work WorkOf(const ModelDims& dims, const StreamOptions& options);

}  // namespace flashvsr::bench
