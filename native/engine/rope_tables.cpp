#include "engine/rope_tables.h"

#include <cmath>

namespace flashvsr {

std::vector<float> RopeTable(std::int64_t first, std::int64_t count, int pairs) {
  constexpr double kTurn = 6.283185307179586476925286766559;
  std::vector<float> table;
  table.reserve(static_cast<std::size_t>(count * pairs * 2));
  for (std::int64_t p = first; p < first + count; ++p) {
    const double position = static_cast<double>(p);
    for (int i = 0; i < pairs; ++i) {
      const double frequency = std::pow(10000.0, -static_cast<double>(i) / pairs);
      const double product = position * frequency;
      const double rest = std::fma(position, frequency, -product);
      const double angle = std::fmod(product, kTurn) + rest;
      table.push_back(static_cast<float>(std::cos(angle)));
      table.push_back(static_cast<float>(std::sin(angle)));
    }
  }
  return table;
}

}  // namespace flashvsr
