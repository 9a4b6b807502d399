#include "weights/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "weights/fail.h"

namespace flashvsr {

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) FailSystem(path, "cannot open", errno);
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) {
    const int error = errno;
    ::close(descriptor);
    FailSystem(path, "cannot read the size", error);
  }
  if (!S_ISREG(status.st_mode)) {
    ::close(descriptor);
    FailWeights(path.string(), "is not a regular file");
  }
  if (status.st_size == 0) {
    ::close(descriptor);
    FailWeights(path.string(), "is empty");
  }
  const auto size = static_cast<std::size_t>(status.st_size);
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  const int error = errno;
  ::close(descriptor);
  if (address == MAP_FAILED) FailSystem(path, "cannot map into memory", error);
  // Weights are read front to back, once, at loading; read-ahead is what makes that run at the disk's speed.
  ::madvise(address, size, MADV_WILLNEED);
  bytes_ = {static_cast<const std::byte*>(address), size};
}

MappedFile::~MappedFile() { ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size()); }

}  // namespace flashvsr
