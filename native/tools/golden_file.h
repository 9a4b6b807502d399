// A golden's safetensors file: like weights/safetensors.h, but of any element type the goldens use (U8, F16, F32, ...),
// and read as fp32.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "weights/mapped_file.h"

namespace flashvsr::tools {

struct GoldenTensor {
  std::string dtype;  // "U8", "F16", "BF16", "F32", "F64", "I64"
  std::vector<std::int64_t> shape;
  std::span<const std::byte> data;

  std::int64_t elements() const;
  std::vector<float> floats() const;
  std::vector<std::uint8_t> bytes() const;  // U8 only
};

class GoldenFile {
 public:
  // Throws flashvsr::Error when the file is not a whole safetensors file.
  explicit GoldenFile(const std::filesystem::path& path);

  const std::map<std::string, GoldenTensor>& tensors() const { return tensors_; }
  const GoldenTensor* find(const std::string& name) const;
  // The value of a metadata key; throws Error naming file and key when it is absent.
  const std::string& text(const std::string& key) const;
  bool has(const std::string& key) const { return metadata_.contains(key); }
  double number(const std::string& key) const;
  std::int64_t integer(const std::string& key) const;
  // "(16, 24)" or "[32, 24, 24, 16]".
  std::vector<std::int64_t> list(const std::string& key) const;

 private:
  MappedFile file_;
  std::map<std::string, GoldenTensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace flashvsr::tools
