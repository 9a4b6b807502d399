// What every weight file looks like to the rest of the engine: named, typed, row-major, contiguous tensors that lie
// somewhere in memory (usually in a mapped file). No reader-specific type crosses this line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace flashvsr {

// Element types of FlashVSR checkpoints; a model with any other is refused. U8 occurs in test data only (pictures,
// masks).
enum class DType : std::uint8_t { F32, F16, BF16, U8 };

// Bytes of one element.
constexpr std::size_t DTypeSize(DType dtype) { return dtype == DType::F32 ? 4 : dtype == DType::U8 ? 1 : 2; }
// "F32", "F16", "BF16" or "U8": the spelling of safetensors headers.
std::string_view DTypeName(DType dtype);
// Bytes of a contiguous tensor; nothing for a negative extent or a product beyond 2^63.
std::optional<std::uint64_t> CheckedBytes(DType dtype, std::span<const std::int64_t> shape);

// Elements of a shape that has been checked; 1 for a scalar.
std::int64_t ElementsOf(std::span<const std::int64_t> shape);

// A contiguous row-major little-endian tensor. `name` and `data` belong to the source that handed the view out.
// `data` has exactly elements() * DTypeSize(dtype) bytes and need not be aligned beyond one byte.
struct TensorView {
  std::string_view name;
  DType dtype = DType::F32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> data;

  std::int64_t elements() const { return ElementsOf(shape); }
};

// "(16, 768, 4, 3, 3)": for messages.
std::string ShapeText(std::span<const std::int64_t> shape);

// One element / the whole tensor as fp32 (exact for all three types).
float ReadElement(const TensorView& view, std::int64_t index);
void ReadFloats(const TensorView& view, std::span<float> out);
std::vector<float> ReadFloats(const TensorView& view);

// Round to nearest even; NaN stays NaN. For writers of synthetic or converted weights.
std::uint16_t FloatToBFloat16(float value);
std::uint16_t FloatToFloat16(float value);
float BFloat16ToFloat(std::uint16_t bits);
float Float16ToFloat(std::uint16_t bits);

// A set of named tensors. Immutable once built, so any number of threads may read it at the same time.
class TensorSource {
 public:
  virtual ~TensorSource() = default;
  // nullptr when there is no such tensor. The pointer lives as long as the source.
  virtual const TensorView* find(std::string_view name) const = 0;
  // For sources that were checked against the model's inventory: throws "internal" where a tensor is missing all the
  // same.
  const TensorView& checked(std::string_view name) const;
  // Sorted.
  virtual std::vector<std::string_view> names() const = 0;
  // Why a tensor that is in the file cannot be handed out ("has type I64"); empty when there is no such tensor or
  // nothing is wrong with it. A file may carry such tensors as long as the model does not need them.
  virtual std::string_view unusable(std::string_view name) const;
};

// Tensors that own their bytes: synthetic models, tests, non-contiguous checkpoint views that had to be copied.
class MemoryTensorSource : public TensorSource {
 public:
  // Takes over `data`. Throws flashvsr::Error when the byte count does not fit the shape or the name is taken.
  void Add(std::string name, DType dtype, std::vector<std::int64_t> shape, std::vector<std::byte> data);
  // Converts `values` to `dtype`.
  void AddFloats(std::string name, DType dtype, std::vector<std::int64_t> shape, std::span<const float> values);

  const TensorView* find(std::string_view name) const override;
  std::vector<std::string_view> names() const override;

 private:
  struct Entry {
    std::vector<std::byte> bytes;
    TensorView view;
  };
  std::map<std::string, Entry, std::less<>> entries_;
};

}  // namespace flashvsr
