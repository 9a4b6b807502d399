#include "tools/golden_file.h"

#include <cmath>
#include <cstdlib>
#include <cstring>

#include "common/error.h"
#include "weights/json.h"
#include "weights/tensor_source.h"

namespace flashvsr::tools {
namespace {

[[noreturn]] void Fail(const std::filesystem::path& path, const std::string& why) {
  throw Error("golden.invalid", ErrorScope::Engine, path.string() + ": " + why);
}

std::int64_t SizeOf(const std::string& dtype) {
  static const std::map<std::string, std::int64_t> sizes{{"U8", 1},  {"I8", 1},  {"F16", 2}, {"BF16", 2},
                                                         {"F32", 4}, {"I32", 4}, {"F64", 8}, {"I64", 8}};
  const auto found = sizes.find(dtype);
  return found == sizes.end() ? 0 : found->second;
}

template <typename T>
T Load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

}  // namespace

std::int64_t GoldenTensor::elements() const { return ElementsOf(shape); }

std::vector<float> GoldenTensor::floats() const {
  std::vector<float> out(static_cast<std::size_t>(elements()));
  const std::byte* from = data.data();
  for (float& value : out) {
    if (dtype == "F32") value = Load<float>(from);
    if (dtype == "F16") value = Float16ToFloat(Load<std::uint16_t>(from));
    if (dtype == "BF16") value = BFloat16ToFloat(Load<std::uint16_t>(from));
    if (dtype == "F64") value = static_cast<float>(Load<double>(from));
    if (dtype == "U8") value = Load<std::uint8_t>(from);
    if (dtype == "I8") value = Load<std::int8_t>(from);
    if (dtype == "I32") value = static_cast<float>(Load<std::int32_t>(from));
    if (dtype == "I64") value = static_cast<float>(Load<std::int64_t>(from));
    from += SizeOf(dtype);
  }
  return out;
}

std::vector<std::uint8_t> GoldenTensor::bytes() const {
  std::vector<std::uint8_t> out(data.size());
  std::memcpy(out.data(), data.data(), data.size());
  return out;
}

GoldenFile::GoldenFile(const std::filesystem::path& path) : file_(path) {
  const std::span<const std::byte> all = file_.bytes();
  if (all.size() < 8) Fail(path, "shorter than a safetensors header");
  const std::uint64_t length = Load<std::uint64_t>(all.data());
  if (length > all.size() - 8) Fail(path, "the header is longer than the file");
  const std::string label = path.string();
  JsonReader json({reinterpret_cast<const char*>(all.data()) + 8, length}, label);
  const std::span<const std::byte> body = all.subspan(8 + length);
  json.expect('{');
  if (!json.accept('}')) do {
      const std::string name = json.string();
      json.expect(':');
      json.expect('{');
      if (name == "__metadata__") {
        if (json.accept('}')) continue;
        do {
          const std::string key = json.string();
          json.expect(':');
          metadata_[key] = json.string();
        } while (json.accept(','));
        json.expect('}');
        continue;
      }
      GoldenTensor tensor;
      std::int64_t begin = 0, end = -1;
      do {
        const std::string key = json.string();
        json.expect(':');
        if (key == "dtype") {
          tensor.dtype = json.string();
        } else if (key == "shape") {
          json.expect('[');
          if (!json.accept(']')) {
            do tensor.shape.push_back(json.unsignedInteger());
            while (json.accept(','));
            json.expect(']');
          }
        } else if (key == "data_offsets") {
          json.expect('[');
          begin = json.unsignedInteger();
          json.expect(',');
          end = json.unsignedInteger();
          json.expect(']');
        } else {
          json.fail("unknown key " + key);
        }
      } while (json.accept(','));
      json.expect('}');
      const std::int64_t size = SizeOf(tensor.dtype);
      if (size == 0) Fail(path, "tensor " + name + " has the unknown type " + tensor.dtype);
      if (begin > end || end > static_cast<std::int64_t>(body.size()) || end - begin != tensor.elements() * size)
        Fail(path, "tensor " + name + " does not lie inside the file");
      tensor.data = body.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
      tensors_[name] = tensor;
    } while (json.accept(','));
}

const GoldenTensor* GoldenFile::find(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

const std::string& GoldenFile::text(const std::string& key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) Fail(file_.path(), "the header's __metadata__ lacks \"" + key + "\"");
  return found->second;
}

double GoldenFile::number(const std::string& key) const {
  const std::string& value = text(key);
  char* end = nullptr;
  const double number = std::strtod(value.c_str(), &end);
  if (value.empty() || *end != 0) Fail(file_.path(), "metadata \"" + key + "\" is not a number: " + value);
  return number;
}

std::int64_t GoldenFile::integer(const std::string& key) const {
  const double value = number(key);
  if (value != std::floor(value)) Fail(file_.path(), "metadata \"" + key + "\" is not an integer: " + text(key));
  return static_cast<std::int64_t>(value);
}

std::vector<std::int64_t> GoldenFile::list(const std::string& key) const {
  std::vector<std::int64_t> out;
  const std::string& value = text(key);
  for (std::size_t i = 0; i < value.size();) {
    if (value[i] < '0' || value[i] > '9') {
      ++i;
      continue;
    }
    std::int64_t number = 0;
    for (; i < value.size() && value[i] >= '0' && value[i] <= '9'; ++i) number = number * 10 + (value[i] - '0');
    out.push_back(number);
  }
  return out;
}

}  // namespace flashvsr::tools
