// A file mapped read-only into memory: 3.5 GB of weights are paged in as they are used, never copied.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace flashvsr {

// The mapping stays valid when the file is renamed or unlinked, not when it is truncated: a model folder is only ever
// replaced as a whole (models import renames), never written in place.
class MappedFile {
 public:
  // Throws flashvsr::Error when the file cannot be opened, is not a regular file or is empty.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::filesystem::path path_;
  std::span<const std::byte> bytes_;
};

}  // namespace flashvsr
