#include "backend/cuda/fence.h"

#include "backend/cuda/support.h"

namespace flashvsr::cuda {

EventPool::~EventPool() {
  cudaSetDevice(device_);
  for (cudaEvent_t event : free_) cudaEventDestroy(event);
}

cudaEvent_t EventPool::take() {
  {
    const std::lock_guard lock(mutex_);
    if (!free_.empty()) {
      cudaEvent_t event = free_.back();
      free_.pop_back();
      return event;
    }
  }
  cudaEvent_t event = nullptr;
  // Waiting threads sleep instead of spinning: the CPU has encoders to run.
  Check(cudaEventCreateWithFlags(&event, cudaEventBlockingSync), "cudaEventCreate");
  return event;
}

void EventPool::give(cudaEvent_t event) {
  const std::lock_guard lock(mutex_);
  free_.push_back(event);
}

CudaFence::~CudaFence() {
  pool_->give(end_);
  pool_->give(copied_);
  for (const StageMark& mark : marks_) pool_->give(mark.event);
}

// An error counts as done: wait() throws it.
bool CudaFence::done() const {
  cudaSetDevice(device_);
  return cudaEventQuery(copied_) != cudaErrorNotReady;
}

void CudaFence::wait() {
  Check(cudaSetDevice(device_), "choosing the device");
  Check(cudaEventSynchronize(copied_), "a chunk's work");
}

std::array<double, kStages> CudaFence::stageMs() const {
  std::array<double, kStages> ms{};
  cudaSetDevice(device_);
  for (std::size_t i = 0; i < marks_.size(); ++i) {
    float span = 0;
    if (cudaEventElapsedTime(&span, marks_[i].event, i + 1 < marks_.size() ? marks_[i + 1].event : end_) == cudaSuccess)
      ms[static_cast<std::size_t>(marks_[i].stage)] += span;
  }
  return ms;
}

}  // namespace flashvsr::cuda
