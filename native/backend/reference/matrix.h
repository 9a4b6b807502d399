// The reference backend's matrix product: fp32, blocked, threaded, vectorised by the compiler's vector types with the
// instruction set chosen at run time. Everything heavy (linear layers, convolutions, attention) is built on it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "common/threads.h"

namespace flashvsr::reference {

// B of A * B^T: N rows of K, held as panels of 32 rows with K outermost inside a panel. Rows beyond N are zero.
class PackedMatrix {
 public:
  PackedMatrix() = default;
  // `rows`: (N, K) row-major. `threads` may be nullptr.
  PackedMatrix(std::span<const float> rows, std::int64_t n, std::int64_t k, Threads* threads = nullptr);
  // From a convolution's (N, channels, taps): K = (tap, channel), channel fastest.
  static PackedMatrix FromConvolution(std::span<const float> weight, std::int64_t n, std::int64_t channels,
                                      std::int64_t taps, Threads* threads = nullptr);

  static constexpr std::int64_t kPanel = 32;
  std::int64_t n() const { return n_; }
  std::int64_t k() const { return k_; }
  const float* panel(std::int64_t index) const { return data_.data() + index * kPanel * k_; }
  std::int64_t bytes() const { return static_cast<std::int64_t>(data_.size() * sizeof(float)); }

 private:
  std::int64_t n_ = 0, k_ = 0;
  std::vector<float> data_;
};

// A of A * B^T by pieces, so that convolutions need no unfolded copy: K is `segments` runs of `length` floats.
// locate(row, count, pointers, stride) writes, for `count` rows from `row` on, where each run of each row lies:
// pointers[segment * stride + i]; a tap outside the picture lies at ZeroRun().
struct RowSource {
  std::int64_t rows = 0;
  std::int64_t segments = 1;
  std::int64_t length = 0;
  std::function<void(std::int64_t row, std::int64_t count, const float** pointers, std::int64_t stride)> locate;
};
// Zeros, longer than any run.
inline constexpr std::int64_t kLongestRun = 16384;
const float* ZeroRun();
// Rows of a plain row-major matrix.
RowSource PlainRows(const float* x, std::int64_t rows, std::int64_t width);

// Called once per row and run of columns with finished sums; the place to add bias, apply an activation and store.
// `values` may be changed in place.
using RowSink = std::function<void(std::int64_t row, std::int64_t column, std::int64_t count, float* values)>;

// sink(A * B^T). Sums run over K in order, in fp32, in blocks of 384 that are added up; the same for any thread count.
void Multiply(Threads& threads, const RowSource& a, const PackedMatrix& b, const RowSink& sink);

// C (m, N; row stride ldc) = A (m, K; row stride lda) * B^T on the calling thread, for small m (attention tiles).
// scratch: at least m * K rounded up as SmallScratch says. accumulate adds to C.
std::int64_t SmallScratch(std::int64_t m, std::int64_t k);
// `b`: panels as in PackedMatrix: ceil(n/32) panels of 32 * k.
void MultiplySmall(const float* a, std::int64_t lda, std::int64_t m, const float* b, std::int64_t n, std::int64_t k,
                   float* c, std::int64_t ldc, bool accumulate, float* scratch);

// "avx512", "avx2" or "portable": what the product runs on here.
const char* MatrixInstructions();

}  // namespace flashvsr::reference
