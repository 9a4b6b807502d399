// Points in a CUDA stream, and the time between marks by events that are reused.
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "backend/backend.h"

namespace flashvsr::cuda {

// Events, created once and lent out. Thread-safe: fences may be dropped on any thread.
class EventPool {
 public:
  explicit EventPool(int device) : device_(device) {}
  ~EventPool();
  cudaEvent_t take();
  void give(cudaEvent_t event);

 private:
  int device_;
  std::mutex mutex_;
  std::vector<cudaEvent_t> free_;
};

struct StageMark {
  Stage stage;
  cudaEvent_t event;
};

class CudaFence final : public Fence {
 public:
  // Takes over the marks' events and two that have just been recorded: `end` behind the operations, `copied` behind the
  // operations and the copies to the host.
  CudaFence(int device, std::shared_ptr<EventPool> pool, std::vector<StageMark> marks, cudaEvent_t end,
            cudaEvent_t copied)
      : device_(device),
        pool_(std::move(pool)),
        marks_(std::move(marks)),
        end_(end),
        copied_(copied) {}
  ~CudaFence() override;
  bool done() const override;
  void wait() override;
  std::array<double, kStages> stageMs() const override;
  cudaEvent_t end() const { return end_; }

 private:
  int device_;
  std::shared_ptr<EventPool> pool_;
  std::vector<StageMark> marks_;
  cudaEvent_t end_, copied_;
};

}  // namespace flashvsr::cuda
