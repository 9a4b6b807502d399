// A small pool for data-parallel loops on the CPU. Which thread does which piece never changes a result: pieces write
// to disjoint places, each with a fixed order of sums.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace flashvsr {

class Threads {
 public:
  // 0 = as many as the machine has. One means: everything on the caller's thread.
  explicit Threads(int count = 0);
  ~Threads();
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

  int count() const { return static_cast<int>(workers_.size()) + 1; }
  // Calls body(i) for every i in 0..pieces-1, on the caller's thread too; returns when all are done and rethrows the
  // first exception. Not reentrant; one caller at a time (a second one waits).
  void run(std::int64_t pieces, const std::function<void(std::int64_t)>& body);
  // The same in runs of consecutive indices: body(begin, end). `grain` is the least worth of one run.
  void runRanges(std::int64_t count, std::int64_t grain, const std::function<void(std::int64_t, std::int64_t)>& body);

 private:
  void work();
  void takePieces();

  std::vector<std::thread> workers_;
  std::mutex callers_;
  std::mutex mutex_;
  std::condition_variable wake_, idle_;
  const std::function<void(std::int64_t)>* body_ = nullptr;
  std::int64_t next_ = 0, pieces_ = 0, generation_ = 0;
  int busy_ = 0;
  bool stop_ = false;
  std::exception_ptr failure_;
};

}  // namespace flashvsr
