// The safetensors container (github.com/huggingface/safetensors, "Format"): 8 bytes little-endian header length, a JSON
// header name -> {dtype, shape, data_offsets}, then the tensors' bytes without gaps.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "weights/mapped_file.h"
#include "weights/tensor_source.h"

namespace flashvsr {

// A safetensors file mapped into memory. Everything the header claims is checked when it is opened: header length,
// types, shape x type against the offsets, offsets against the file, no overlap, no gap, no name twice.
class SafetensorsFile : public TensorSource {
 public:
  // The format's own limit.
  static constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;

  // Throws flashvsr::Error.
  static std::shared_ptr<const SafetensorsFile> Open(const std::filesystem::path& path);
  // The same from memory that outlives the result; `label` stands for the path in errors.
  static std::shared_ptr<const SafetensorsFile> Parse(std::span<const std::byte> bytes, std::string label);

  const TensorView* find(std::string_view name) const override;
  std::vector<std::string_view> names() const override;
  std::string_view unusable(std::string_view name) const override;

  // The header's "__metadata__": text to text.
  const std::map<std::string, std::string, std::less<>>& metadata() const { return metadata_; }
  // A metadata value; nothing when it is not there.
  std::optional<std::string> metadata(std::string_view key) const;
  const std::string& label() const { return label_; }

 private:
  SafetensorsFile() = default;
  void parse(std::span<const std::byte> bytes);

  std::string label_;
  std::unique_ptr<MappedFile> file_;
  std::map<std::string, TensorView, std::less<>> tensors_;
  std::map<std::string, std::string, std::less<>> unusable_;
  std::map<std::string, std::string, std::less<>> metadata_;
};

// Header (with the 8 length bytes and padding to a multiple of 64, so that mapped tensors are aligned) of a file whose
// tensors follow in the given order. Throws flashvsr::Error for a name twice.
struct SafetensorsEntry {
  std::string name;
  DType dtype = DType::F32;
  std::vector<std::int64_t> shape;
};
std::string SafetensorsHeader(std::span<const SafetensorsEntry> entries,
                              const std::map<std::string, std::string>& metadata);

}  // namespace flashvsr
