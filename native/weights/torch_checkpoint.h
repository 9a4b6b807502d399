// A file written by torch.save (PyTorch 1.6 and newer): a zip of stored members, `<prefix>/data.pkl` and the storages
// `<prefix>/data/<key>`, raw and little-endian.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "weights/mapped_file.h"
#include "weights/tensor_source.h"

namespace flashvsr {

struct TorchOptions {
  bool checkCrc = true;  // of every storage a tensor uses; off for fuzzing, where no input would get past it
};

// A state dict, or a single tensor under the name "". Contiguous tensors stay in the mapped file; strided ones (a
// transposed weight, say) are copied once into row-major order, at most as many bytes in all as the file has; views
// that repeat elements (stride 0) are refused.
class TorchCheckpoint : public TensorSource {
 public:
  // Throws flashvsr::Error.
  static std::shared_ptr<const TorchCheckpoint> Open(const std::filesystem::path& path, TorchOptions options = {});
  // The same from memory that outlives the result; `label` stands for the path in errors.
  static std::shared_ptr<const TorchCheckpoint> Parse(std::span<const std::byte> bytes, std::string label,
                                                      TorchOptions options = {});

  const TensorView* find(std::string_view name) const override;
  std::vector<std::string_view> names() const override;
  std::string_view unusable(std::string_view name) const override;

  bool singleTensor() const { return singleTensor_; }
  const std::string& label() const { return label_; }

 private:
  TorchCheckpoint() = default;
  void parse(std::span<const std::byte> bytes, TorchOptions options);

  std::string label_;
  std::unique_ptr<MappedFile> file_;
  bool singleTensor_ = false;
  std::map<std::string, TensorView, std::less<>> tensors_;
  std::map<std::string, std::string, std::less<>> unusable_;
  std::vector<std::vector<std::byte>> copies_;
};

}  // namespace flashvsr
