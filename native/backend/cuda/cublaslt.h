// cuBLASLt, found at run time or not at all. Own declarations of the few calls that are used (the ABI of cuBLAS 12 and
// 13), so that everything compiles where the library is not installed.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <tuple>

#include "backend/cuda/linear_runner.h"

namespace flashvsr::cuda {

// Thread-safe. One plan (descriptors and algorithm) per shape, chosen once and kept, so that results repeat.
class CublasLt {
 public:
  // nullptr when the library is not there or is not usable; `reason` then says why.
  static std::shared_ptr<CublasLt> Open(std::string& reason);
  ~CublasLt();
  CublasLt(const CublasLt&) = delete;
  CublasLt& operator=(const CublasLt&) = delete;

  // False when this call is better or only done by the portable product (VendorSuits says no, or cuBLASLt does):
  // nothing was enqueued.
  bool run(const LinearCall& call, void* workspace, std::int64_t workspaceBytes, cudaStream_t stream);

 private:
  struct Api;
  struct Plan;
  using Key = std::tuple<std::int64_t, int, int, std::int64_t, std::int64_t, int, bool, bool, bool, bool>;

  explicit CublasLt(std::unique_ptr<Api> api);
  Plan* planOf(const LinearCall& call, std::int64_t workspaceBytes);

  std::unique_ptr<Api> api_;
  std::mutex mutex_;
  std::map<Key, std::unique_ptr<Plan>> plans_;
};

}  // namespace flashvsr::cuda
