// What the tests of sparse attention share, whatever the operands' type: the list of kept windows, and what is
// expected.
#pragma once

#include "backend/reference/ops.h"
#include "kernels/attention.h"
#include "kernels/select.h"
#include "kernels/test/device_arrays.h"

namespace flashvsr::kernels::test {

struct SparseShape {
  int heads, windows, groups, queryGroups;
  int queries() const { return queryGroups * windows; }
  int columns() const { return groups * windows; }
  int width() const { return heads * 128; }
  std::int64_t slot() const { return static_cast<std::int64_t>(windows) * 128 * width(); }
  std::int64_t queryElements() const { return static_cast<std::int64_t>(queries()) * 128 * width(); }
};

// One byte for each key window of each query window of each head. `keeps(head, row, column, random byte)`.
template <typename Keeps>
std::vector<std::uint8_t> MaskOf(const SparseShape& shape, const Keeps& keeps) {
  const auto queries = static_cast<std::size_t>(shape.queries()), columns = static_cast<std::size_t>(shape.columns());
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(shape.heads) * queries * columns);
  const std::vector<std::uint8_t> random = RandomBytes(static_cast<std::int64_t>(mask.size()), 7);
  for (std::size_t i = 0; i < mask.size(); ++i) {
    const std::size_t row = i / columns;
    mask[i] = keeps(static_cast<int>(row / queries), static_cast<int>(row % queries), static_cast<int>(i % columns),
                    random[i])
                  ? 1
                  : 0;
  }
  return mask;
}

// softmax(q * keys) * values over the kept windows, in fp32. Keys and values: one array a group.
inline std::vector<float> SparseExpected(const SparseShape& shape, const std::vector<float>& q,
                                         const std::vector<std::vector<float>>& keys,
                                         const std::vector<std::vector<float>>& values,
                                         const std::vector<std::uint8_t>& mask) {
  std::vector<const float*> keyPointers, valuePointers;
  for (const auto& group : keys) keyPointers.push_back(group.data());
  for (const auto& group : values) valuePointers.push_back(group.data());
  std::vector<float> expected(q.size());
  reference::SparseAttend(Pool(), shape.heads, shape.windows, shape.queries(), q.data(), keyPointers, valuePointers,
                          mask.data(), expected.data());
  return expected;
}

// The mask's lists on the device.
class KeptWindows {
 public:
  KeptWindows(const SparseShape& shape, const std::vector<std::uint8_t>& mask)
      : mask_(mask),
        entries_(static_cast<std::int64_t>(mask.size())),
        counts_(static_cast<std::int64_t>(shape.heads) * shape.queries()),
        columns_(shape.columns()) {
    params_.mask = mask_.as<std::uint8_t>();
    params_.rows = shape.heads * shape.queries();
    params_.columns = shape.columns();
    params_.windows = shape.windows;
    params_.entries = entries_.as<std::uint32_t>();
    params_.counts = counts_.as<int>();
  }
  bool launch(const std::string& name) const { return Succeeded(LaunchKeptWindows(params_, nullptr), name); }
  void setOn(AttentionParams& params) const {
    params.entries = params_.entries;
    params.counts = params_.counts;
    params.columns = columns_;
  }
  bool marginsIntact() const { return entries_.marginsIntact(); }

 private:
  Bytes mask_;
  Ints entries_, counts_;
  int columns_;
  KeptWindowsParams params_;
};

// Row 1 keeps nothing in every mask here.
inline void ReportEmptyRow(const std::string& name, const std::vector<float>& result, int width) {
  bool zeros = true;
  for (int i = 0; i < 128 * width; ++i) zeros = zeros && result[static_cast<std::size_t>(128 * width + i)] == 0.0F;
  Report(name + ": an empty row gives 0", zeros, "");
}

}  // namespace flashvsr::kernels::test
