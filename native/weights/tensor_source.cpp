#include "weights/tensor_source.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "common/error.h"
#include "weights/fail.h"

namespace flashvsr {

static_assert(std::endian::native == std::endian::little, "weight files are little-endian and mapped, not converted");

std::string_view DTypeName(DType dtype) {
  switch (dtype) {
    case DType::F32:
      return "F32";
    case DType::F16:
      return "F16";
    case DType::BF16:
      return "BF16";
    case DType::U8:
      return "U8";
  }
  return "?";
}

std::optional<std::uint64_t> CheckedBytes(DType dtype, std::span<const std::int64_t> shape) {
  std::uint64_t total = DTypeSize(dtype);
  bool zero = false;
  for (const std::int64_t extent : shape) {
    if (extent < 0) return std::nullopt;
    if (extent == 0) {
      zero = true;
      continue;
    }
    if (__builtin_mul_overflow(total, static_cast<std::uint64_t>(extent), &total)) return std::nullopt;
  }
  if (total > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return std::nullopt;
  return zero ? 0 : total;
}

std::int64_t ElementsOf(std::span<const std::int64_t> shape) {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) count *= extent;
  return count;
}

std::string ShapeText(std::span<const std::int64_t> shape) {
  std::string text = "(";
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    if (axis > 0) text += ", ";
    text += std::to_string(shape[axis]);
  }
  if (shape.size() == 1) text += ',';
  return text + ")";
}

float BFloat16ToFloat(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

std::uint16_t FloatToBFloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>((bits >> 16) | 0x0040u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

float Float16ToFloat(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1fu;
  const std::uint32_t mantissa = bits & 0x3ffu;
  if (exponent == 0x1fu) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112u) << 23) | (mantissa << 13));
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;  // subnormal: exact in fp32
  return sign ? -magnitude : magnitude;
}

std::uint16_t FloatToFloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);  // rounds to 65536 or more
  if (magnitude < 0x38800000u) {
    // Below the smallest normal: the scale 2^24 makes one unit one subnormal step, and the addition rounds to even.
    const float scaled = std::bit_cast<float>(magnitude) * 0x1p24f;
    return static_cast<std::uint16_t>(sign | static_cast<std::uint16_t>(std::nearbyintf(scaled)));
  }
  const std::uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

namespace {

template <typename T>
T LoadAt(const std::byte* data, std::int64_t index) {
  T value;
  std::memcpy(&value, data + static_cast<std::size_t>(index) * sizeof(T), sizeof(T));
  return value;
}

float ElementAt(DType dtype, const std::byte* data, std::int64_t index) {
  switch (dtype) {
    case DType::F32:
      return LoadAt<float>(data, index);
    case DType::F16:
      return Float16ToFloat(LoadAt<std::uint16_t>(data, index));
    case DType::BF16:
      return BFloat16ToFloat(LoadAt<std::uint16_t>(data, index));
    case DType::U8:
      return static_cast<float>(LoadAt<std::uint8_t>(data, index));
  }
  return 0;
}

}  // namespace

float ReadElement(const TensorView& view, std::int64_t index) { return ElementAt(view.dtype, view.data.data(), index); }

void ReadFloats(const TensorView& view, std::span<float> out) {
  if (static_cast<std::int64_t>(out.size()) != view.elements()) {
    FailWeights("", "tensor " + Quoted(view.name) + " " + ShapeText(view.shape) + " does not fill a buffer of " +
                        std::to_string(out.size()) + " values");
  }
  if (view.dtype == DType::F32) {
    if (!out.empty()) std::memcpy(out.data(), view.data.data(), view.data.size());
    return;
  }
  for (std::size_t index = 0; index < out.size(); ++index) {
    out[index] = ElementAt(view.dtype, view.data.data(), static_cast<std::int64_t>(index));
  }
}

std::vector<float> ReadFloats(const TensorView& view) {
  std::vector<float> values(static_cast<std::size_t>(view.elements()));
  ReadFloats(view, values);
  return values;
}

const TensorView& TensorSource::checked(std::string_view name) const {
  const TensorView* found = find(name);
  if (found == nullptr) FailInternal("checked weights lack the tensor " + std::string(name));
  return *found;
}

std::string_view TensorSource::unusable(std::string_view) const { return {}; }

void MemoryTensorSource::Add(std::string name, DType dtype, std::vector<std::int64_t> shape,
                             std::vector<std::byte> data) {
  const auto bytes = CheckedBytes(dtype, shape);
  if (!bytes || *bytes != data.size()) {
    FailWeights("", "tensor " + Quoted(name) + " " + ShapeText(shape) + " of type " + std::string(DTypeName(dtype)) +
                        " was given " + std::to_string(data.size()) + " bytes");
  }
  const auto [place, added] = entries_.try_emplace(std::move(name));
  if (!added) FailWeights("", "tensor " + Quoted(place->first) + " was added twice");
  Entry& entry = place->second;
  entry.bytes = std::move(data);
  entry.view = {place->first, dtype, std::move(shape), entry.bytes};
}

void MemoryTensorSource::AddFloats(std::string name, DType dtype, std::vector<std::int64_t> shape,
                                   std::span<const float> values) {
  std::vector<std::byte> data(values.size() * DTypeSize(dtype));
  for (std::size_t index = 0; index < values.size(); ++index) {
    std::byte* place = data.data() + index * DTypeSize(dtype);
    if (dtype == DType::F32) {
      std::memcpy(place, &values[index], sizeof(float));
    } else if (dtype == DType::U8) {
      const auto level = static_cast<std::uint8_t>(values[index]);
      std::memcpy(place, &level, sizeof(level));
    } else {
      const std::uint16_t bits = dtype == DType::F16 ? FloatToFloat16(values[index]) : FloatToBFloat16(values[index]);
      std::memcpy(place, &bits, sizeof(bits));
    }
  }
  Add(std::move(name), dtype, std::move(shape), std::move(data));
}

const TensorView* MemoryTensorSource::find(std::string_view name) const {
  const auto place = entries_.find(name);
  return place == entries_.end() ? nullptr : &place->second.view;
}

std::vector<std::string_view> MemoryTensorSource::names() const {
  std::vector<std::string_view> names;
  names.reserve(entries_.size());
  for (const auto& entry : entries_) names.push_back(entry.first);
  return names;
}

}  // namespace flashvsr
