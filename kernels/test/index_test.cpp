// The index arithmetic that host and device share, on the CPU.
#include <set>

#include "kernels/attention.h"
#include "backend/backend.h"
#include "backend/cuda/linear_runner.h"
#include "kernels/convolution.h"
#include "kernels/test/kernel_harness.h"
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
            ok = ok && token == TokenIndex(columns, windows, frame, row, column) && back.frame == frame && back.row == row && back.column == column;
            seen.insert(token);
          }
      ok = ok && static_cast<std::int64_t>(seen.size()) == 6LL * rows * columns && *seen.rbegin() == 6LL * rows * columns - 1;
    }
    Report(name, ok, "");
  });
  Test("packed convolution axis: every (tap, channel) has its own place inside", [](const std::string& name) {
    bool ok = true;
    for (const auto& [c0, c1] : std::initializer_list<std::pair<int, int>>{{24, 24}, {784, 0}, {16, 16}, {128, 128}, {13, 5}}) {
      std::set<std::int64_t> seen;
      const std::int64_t depth = PackedConvDepth(9, c0, c1);
      for (int tap = 0; tap < 9; ++tap)
        for (int channel = 0; channel < c0 + c1; ++channel) {
          const std::int64_t at = PackedConvIndex(tap, channel, c0, c1);
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
  Test("linear layers: which shapes the vendor product is asked for", [](const std::string& name) {
    const auto suits = [](DataType type, std::int64_t rows, int n, int k, Activation activation, bool residual, bool floatOut, bool float8Out, int pad) {
      flashvsr::cuda::DeviceLinear weight;
      weight.type = type, weight.n = n, weight.k = k, weight.float8Out = float8Out;
      flashvsr::cuda::LinearCall call;
      call.weight = &weight, call.rows = rows, call.lda = k + pad, call.ldd = n, call.activation = activation, call.floatOut = floatOut;
      call.residual = residual ? &weight : nullptr;
      return flashvsr::cuda::VendorSuits(call);
    };
    constexpr DataType k8 = DataType::kFloat8, k16 = DataType::kBfloat16;
    constexpr Activation none = Activation::kNone, gelu = Activation::kGeluTanh;
    bool ok = suits(k8, 8448, 3072, 1536, none, false, false, false, 0) && suits(k8, 8448, 8960, 1536, gelu, false, false, true, 0) &&
              suits(k8, 64, 16, 16, none, true, false, false, 16) && suits(k16, 65, 24, 40, none, true, true, false, 8);
    ok = ok && !suits(k8, 72, 16, 16, none, false, false, false, 0) && !suits(k8, 64, 24, 16, none, false, false, false, 0) &&
         !suits(k8, 64, 16, 40, none, false, false, false, 0) && !suits(k8, 64, 16, 16, none, false, false, false, 8) &&
         !suits(k8, 64, 16, 16, none, false, true, false, 0) && !suits(k8, 64, 16, 16, none, true, false, true, 0);
    ok = ok && !suits(k16, 63, 24, 40, none, false, false, false, 0) && !suits(k16, 64, 24, 42, none, false, false, false, 0) &&
         !suits(k16, 64, 24, 40, Activation::kSilu, false, false, false, 0) && !suits(k16, 64, 24, 40, gelu, true, false, false, 0) &&
         !suits(DataType::kFloat32, 64, 24, 40, none, false, false, false, 0);
    Report(name, ok, "");
  });
}

}  // namespace flashvsr::kernels::test
