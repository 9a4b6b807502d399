// CUDA calls as flashvsr::Error, and owners of device and pinned memory.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "common/error.h"

namespace flashvsr::cuda {

// Throws the one error of a broken device: scope Engine, code "engine.failed". `what` names the operation.
void Check(cudaError_t error, const char* what);

// Bytes as "1.5 GiB" or "300 MiB".
std::string SizeText(std::int64_t bytes);

// One allocation. Throws Error "engine.memory" (scope Stream) with the numbers when the card cannot hold it.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  DeviceMemory(std::int64_t bytes, const char* purpose);
  ~DeviceMemory();
  DeviceMemory(DeviceMemory&& other) noexcept;
  DeviceMemory& operator=(DeviceMemory&& other) noexcept;

  std::byte* data() const { return data_; }
  std::int64_t bytes() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  std::int64_t bytes_ = 0;
};

// Divides one allocation into parts, each aligned to 256 bytes. With a null base it only counts.
class Bump {
 public:
  explicit Bump(std::byte* base) : base_(base) {}
  void* bytes(std::int64_t count) {
    void* const at = base_ != nullptr ? base_ + used_ : nullptr;
    used_ += (count + 255) / 256 * 256;
    return at;
  }
  float* floats(std::int64_t count) { return static_cast<float*>(bytes(count * 4)); }
  std::int64_t used() const { return used_; }

 private:
  std::byte* base_;
  std::int64_t used_ = 0;
};

}  // namespace flashvsr::cuda
