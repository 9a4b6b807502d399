// Lays tensors out in an executor's arena. The same code runs twice: once without a base to count bytes (the plan),
// once with it, so a plan is never wrong.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "backend/backend.h"

namespace flashvsr {

class ArenaLayout {
 public:
  // `base` may be nullptr: tensors then have addresses that must not be used.
  ArenaLayout(std::byte* base, const Backend& backend, Precision precision)
      : base_(base),
        backend_(backend),
        precision_(precision) {}

  // Up to four sizes, the last one fastest.
  Tensor take(Storage storage, std::initializer_list<std::int64_t> shape) {
    Tensor tensor;
    tensor.storage = storage;
    std::copy(shape.begin(), shape.end(), tensor.shape.end() - static_cast<std::ptrdiff_t>(shape.size()));
    // Never nullptr, so that an empty tensor means "absent" in a plan too.
    tensor.data = (base_ != nullptr ? base_ : reinterpret_cast<std::byte*>(kAlignment)) + at_;
    at_ += (tensor.elements() * backend_.elementBytes(storage, precision_) + kAlignment - 1) / kAlignment * kAlignment;
    high_ = std::max(high_, at_);
    return tensor;
  }
  // What is taken between two rewinds to one place shares that place: work that never lives at the same time.
  std::int64_t position() const { return at_; }
  void rewind(std::int64_t position) { at_ = position; }
  void skipToHighest() { at_ = high_; }
  std::int64_t highest() const { return high_; }

  // Rows begin .. begin + count - 1 of a (rows, width) tensor.
  Tensor rows(const Tensor& tensor, std::int64_t begin, std::int64_t count) const {
    Tensor part = tensor;
    part.data = static_cast<std::byte*>(tensor.data) +
                begin * tensor.shape[3] * backend_.elementBytes(tensor.storage, precision_);
    part.shape[2] = count;
    return part;
  }

 private:
  static constexpr std::int64_t kAlignment = 256;

  std::byte* base_;
  const Backend& backend_;
  Precision precision_;
  std::int64_t at_ = 0, high_ = 0;
};

}  // namespace flashvsr
