// Host buffers that are used again instead of being allocated for every frame (pinned memory is slow to get). A buffer
// goes back when its last owner lets go, on whatever thread that is, and also after the pool is gone.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace flashvsr {

class HostPool {
 public:
  using Allocate = std::function<std::shared_ptr<std::uint8_t[]>(std::size_t bytes)>;
  // `released` is called, without locks, whenever a buffer came back.
  explicit HostPool(std::function<void()> released = {}) : state_(std::make_shared<State>()) {
    state_->released = std::move(released);
  }

  std::shared_ptr<std::uint8_t[]> take(std::size_t bytes, const Allocate& allocate) {
    std::shared_ptr<std::uint8_t[]> buffer;
    {
      const std::lock_guard lock(state_->mutex);
      if (bytes != state_->bytes) {
        // Another picture size: the old buffers will not fit again.
        state_->bytes = bytes;
        state_->free.clear();
      }
      if (!state_->free.empty()) {
        buffer = std::move(state_->free.back());
        state_->free.pop_back();
      }
      ++state_->out;
    }
    if (!buffer) buffer = allocate(bytes);
    std::uint8_t* address = buffer.get();
    return std::shared_ptr<std::uint8_t[]>(
        address, [state = state_, bytes, buffer = std::move(buffer)](std::uint8_t*) mutable {
          std::function<void()> released;
          {
            const std::lock_guard lock(state->mutex);
            --state->out;
            if (state->abandoned || (bytes == state->bytes && state->free.size() < kMostFree))
              state->free.push_back(std::move(buffer));
            released = state->released;
          }
          if (released) released();
        });
  }
  // Makes buffers of `bytes` until `count` are free, so that the first pictures need not wait for pinned memory.
  void reserve(std::size_t bytes, std::size_t count, const Allocate& allocate) {
    for (count = std::min(count, kMostFree);;) {
      {
        const std::lock_guard lock(state_->mutex);
        if (bytes != state_->bytes) {
          state_->bytes = bytes;
          state_->free.clear();
        }
        if (state_->free.size() >= count) return;
      }
      std::shared_ptr<std::uint8_t[]> buffer = allocate(bytes);
      const std::lock_guard lock(state_->mutex);
      state_->free.push_back(std::move(buffer));
    }
  }
  // From here on nothing is freed: freeing host memory waits for the device, and the device hangs.
  void abandon() {
    const std::lock_guard lock(state_->mutex);
    state_->abandoned = true;
    new std::shared_ptr<State>(state_);
  }
  // Buffers in use.
  int out() const {
    const std::lock_guard lock(state_->mutex);
    return state_->out;
  }
  ~HostPool() {
    const std::lock_guard lock(state_->mutex);
    state_->released = {};
    if (state_->abandoned) return;
    state_->bytes = 0;
    state_->free.clear();
  }
  HostPool(const HostPool&) = delete;
  HostPool& operator=(const HostPool&) = delete;

 private:
  static constexpr std::size_t kMostFree = 64;
  struct State {
    std::mutex mutex;
    std::size_t bytes = 0;
    std::vector<std::shared_ptr<std::uint8_t[]>> free;
    int out = 0;
    bool abandoned = false;
    std::function<void()> released;
  };
  std::shared_ptr<State> state_;
};

}  // namespace flashvsr
