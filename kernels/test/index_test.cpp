// The index arithmetic that host and device share, on the CPU.
#include <set>

#include "backend/backend.h"
#include "kernels/attention.h"
#include "kernels/convolution.h"
#include "kernels/test/device_arrays.h"
#include "kernels/window_order.h"

namespace flashvsr::kernels::test {

void IndexTests() {
  Test("window order: same as the engine's TokenIndex, and invertible", [](const std::string& name) {
    bool ok = true;
    for (const auto& [rows, columns] : std::initializer_list<std::pair<int, int>>{{8, 8}, {16, 24}, {48, 88}}) {
      const std::int64_t windows = (rows / 8) * (columns / 8);
      std::set<std::int64_t> seen;
      for (int frame = 0; frame < 6; ++frame)
        for (int row = 0; row < rows; ++row)
          for (int column = 0; column < columns; ++column) {
            const std::int64_t token = TokenOfPosition(rows, columns, frame, row, column);
            const TokenPosition back = PositionOfToken(rows, columns, token);
            ok = ok && token == TokenIndex(columns, windows, frame, row, column) && back.frame == frame &&
                 back.row == row && back.column == column;
            seen.insert(token);
          }
      ok = ok && static_cast<std::int64_t>(seen.size()) == 6LL * rows * columns &&
           *seen.rbegin() == 6LL * rows * columns - 1;
    }
    Report(name, ok, "");
  });
  Test("packed convolution axis: every (tap, channel) has its own place inside", [](const std::string& name) {
    bool ok = true;
    for (const auto& [c0, c1] :
         std::initializer_list<std::pair<int, int>>{{24, 24}, {784, 0}, {16, 16}, {128, 128}, {13, 5}}) {
      std::set<std::int64_t> seen;
      const std::int64_t depth = PackedConvolutionDepth(9, c0, c1);
      for (int tap = 0; tap < 9; ++tap)
        for (int channel = 0; channel < c0 + c1; ++channel) {
          const std::int64_t at = PackedConvolutionIndex(tap, channel, c0, c1);
          ok = ok && at >= 0 && at < depth;
          seen.insert(at);
        }
      ok = ok && static_cast<int>(seen.size()) == 9 * (c0 + c1) && depth % 32 == 0;
    }
    Report(name, ok, "");
  });
  Test("key window entries: group and window come back", [](const std::string& name) {
    bool ok = true;
    for (std::uint32_t group = 0; group < kMaxKeyGroups; ++group)
      for (const std::uint32_t window : {0U, 1U, 65U, 959U, (1U << 20) - 1}) {
        const std::uint32_t entry = KeyWindowEntry(group, window);
        ok = ok && entry >> 20 == group && (entry & 0xFFFFFU) == window;
      }
    Report(name, ok, "");
  });
}

}  // namespace flashvsr::kernels::test
