#include "common/threads.h"

#include <algorithm>

namespace flashvsr {

Threads::Threads(int count) {
  if (count <= 0) count = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  for (int i = 1; i < count; ++i) workers_.emplace_back([this] { work(); });
}

Threads::~Threads() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void Threads::takePieces() {
  for (;;) {
    std::int64_t piece = 0;
    const std::function<void(std::int64_t)>* body = nullptr;
    {
      const std::lock_guard lock(mutex_);
      if (next_ >= pieces_) return;
      piece = next_++;
      body = body_;
    }
    try {
      (*body)(piece);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
      next_ = pieces_;
    }
  }
}

void Threads::work() {
  std::int64_t seen = 0;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return stop_ || generation_ != seen; });
      if (stop_) return;
      seen = generation_;
      ++busy_;
    }
    takePieces();
    {
      const std::lock_guard lock(mutex_);
      --busy_;
    }
    idle_.notify_one();
  }
}

void Threads::run(std::int64_t pieces, const std::function<void(std::int64_t)>& body) {
  if (pieces <= 0) return;
  if (workers_.empty() || pieces == 1) {
    for (std::int64_t i = 0; i < pieces; ++i) body(i);
    return;
  }
  const std::lock_guard caller(callers_);
  {
    const std::lock_guard lock(mutex_);
    body_ = &body;
    next_ = 0;
    pieces_ = pieces;
    failure_ = nullptr;
    ++generation_;
  }
  wake_.notify_all();
  takePieces();
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [&] { return busy_ == 0; });
  body_ = nullptr;
  pieces_ = next_ = 0;
  if (failure_) std::rethrow_exception(failure_);
}

void Threads::runRanges(std::int64_t count, std::int64_t grain,
                        const std::function<void(std::int64_t, std::int64_t)>& body) {
  if (count <= 0) return;
  const std::int64_t step =
      std::max<std::int64_t>(std::max<std::int64_t>(grain, 1), (count + this->count() * 4 - 1) / (this->count() * 4));
  const std::int64_t pieces = (count + step - 1) / step;
  run(pieces, [&](std::int64_t i) { body(i * step, std::min(count, (i + 1) * step)); });
}

}  // namespace flashvsr
