#include "backend/cuda/support.h"

#include <cstdio>
#include <utility>

namespace flashvsr::cuda {

void Check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  throw Error("engine.failed", ErrorScope::Engine,
              std::string("CUDA: ") + what + ": " + cudaGetErrorName(error) + " (" + cudaGetErrorString(error) + ").",
              "Restart the process; if it comes back, report it with the log and the driver's version.");
}

std::string SizeText(std::int64_t bytes) {
  char text[32];
  if (bytes >= int64_t{1} << 30) {
    std::snprintf(text, sizeof text, "%.2f GiB", static_cast<double>(bytes) / (1 << 30));
  } else {
    std::snprintf(text, sizeof text, "%.0f MiB", static_cast<double>(bytes) / (1 << 20));
  }
  return text;
}

DeviceMemory::DeviceMemory(std::int64_t bytes, const char* purpose) : bytes_(bytes) {
  if (bytes == 0) return;
  void* data = nullptr;
  const cudaError_t error = cudaMalloc(&data, static_cast<std::size_t>(bytes));
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // not sticky: the card is fine, only full
    std::size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    throw Error("engine.memory", ErrorScope::Stream,
                std::string(purpose) + " need " + SizeText(bytes) + " of GPU memory; " +
                    SizeText(static_cast<std::int64_t>(free)) + " of " + SizeText(static_cast<std::int64_t>(total)) +
                    " are free.",
                "Use a smaller output, fewer streams or a card with more memory.");
  }
  Check(error, "cudaMalloc");
  data_ = static_cast<std::byte*>(data);
}

DeviceMemory::~DeviceMemory() {
  if (data_ != nullptr) cudaFree(data_);
}

DeviceMemory::DeviceMemory(DeviceMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)) {}

DeviceMemory& DeviceMemory::operator=(DeviceMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

}  // namespace flashvsr::cuda
