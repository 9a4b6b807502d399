#include "backend/cuda/cublaslt.h"

#include <dlfcn.h>

#include <cstdlib>

namespace flashvsr::cuda {
namespace {

// Values of cuBLAS's enumerations.
constexpr int kCompute32F = 68, kReal32F = 0, kRealBf16 = 14, kRealE4m3 = 28, kTranspose = 1;
constexpr int kDescTransposeA = 3, kDescEpilogue = 7, kDescBiasPointer = 8, kDescScalePointerD = 20,
              kDescFastAccumulate = 25, kDescBiasType = 26;
constexpr int kInvalidValue = 7, kNotSupported = 15;  // cublasStatus_t
constexpr unsigned kEpilogueBias = 4, kEpilogueGeluBias = 36;
constexpr int kPreferenceWorkspace = 1, kPreferenceReduction = 3;
constexpr unsigned kReductionsInWorkspace = 2 | 4;  // not the in-place scheme, whose order is not fixed

struct Algorithm {
  std::uint64_t data[8];
};
struct HeuristicResult {
  Algorithm algorithm;
  std::size_t workspaceBytes;
  int state;
  float waves;
  int reserved[4];
};

}  // namespace

struct CublasLt::Api {
  void* library = nullptr;
  void* handle = nullptr;
  int (*create)(void**) = nullptr;
  int (*destroy)(void*) = nullptr;
  int (*descCreate)(void**, int, int) = nullptr;
  int (*descDestroy)(void*) = nullptr;
  int (*descSet)(void*, int, const void*, std::size_t) = nullptr;
  int (*layoutCreate)(void**, int, std::uint64_t, std::uint64_t, std::int64_t) = nullptr;
  int (*layoutDestroy)(void*) = nullptr;
  int (*preferenceCreate)(void**) = nullptr;
  int (*preferenceDestroy)(void*) = nullptr;
  int (*preferenceSet)(void*, int, const void*, std::size_t) = nullptr;
  int (*heuristic)(void*, void*, void*, void*, void*, void*, void*, int, HeuristicResult*, int*) = nullptr;
  int (*matmul)(void*, void*, const void*, const void*, void*, const void*, void*, const void*, const void*, void*,
                void*, void*, const Algorithm*, void*, std::size_t, cudaStream_t) = nullptr;
};

struct CublasLt::Plan {
  const Api* api = nullptr;
  void* desc = nullptr;
  void *weight = nullptr, *input = nullptr, *output = nullptr, *addend = nullptr;
  Algorithm algorithm{};
  bool usable = false;
  ~Plan() {
    if (desc != nullptr) api->descDestroy(desc);
    for (void* layout : {weight, input, output, addend})
      if (layout != nullptr) api->layoutDestroy(layout);
  }
  void* addendOr() const { return addend != nullptr ? addend : output; }
};

CublasLt::CublasLt(std::unique_ptr<Api> api) : api_(std::move(api)) {}

CublasLt::~CublasLt() {
  plans_.clear();
  api_->destroy(api_->handle);
}

std::shared_ptr<CublasLt> CublasLt::Open(std::string& reason) {
  auto api = std::make_unique<Api>();
  const char* chosen = std::getenv("FLASHVSR_CUBLASLT");
  if (chosen != nullptr && *chosen != '\0') {
    api->library = dlopen(chosen, RTLD_NOW | RTLD_LOCAL);
  } else {
    // The loader's path first, then where CUDA's own installer puts it.
    for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so",
                             "/usr/local/cuda/lib64/libcublasLt.so.13", "/usr/local/cuda/lib64/libcublasLt.so.12"}) {
      api->library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
      if (api->library != nullptr) break;
    }
  }
  if (api->library == nullptr) {
    const char* error = dlerror();
    reason = error != nullptr ? error : "libcublasLt.so was not found";
    return nullptr;
  }
  bool complete = true;
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(api->library, name));
    complete = complete && function != nullptr;
  };
  find(api->create, "cublasLtCreate");
  find(api->destroy, "cublasLtDestroy");
  find(api->descCreate, "cublasLtMatmulDescCreate");
  find(api->descDestroy, "cublasLtMatmulDescDestroy");
  find(api->descSet, "cublasLtMatmulDescSetAttribute");
  find(api->layoutCreate, "cublasLtMatrixLayoutCreate");
  find(api->layoutDestroy, "cublasLtMatrixLayoutDestroy");
  find(api->preferenceCreate, "cublasLtMatmulPreferenceCreate");
  find(api->preferenceDestroy, "cublasLtMatmulPreferenceDestroy");
  find(api->preferenceSet, "cublasLtMatmulPreferenceSetAttribute");
  find(api->heuristic, "cublasLtMatmulAlgoGetHeuristic");
  find(api->matmul, "cublasLtMatmul");
  if (!complete) {
    reason = "libcublasLt lacks a function that is needed";
    return nullptr;
  }
  if (const int status = api->create(&api->handle); status != 0) {
    reason = "cublasLtCreate failed with status " + std::to_string(status);
    return nullptr;
  }
  return std::shared_ptr<CublasLt>(new CublasLt(std::move(api)));
}

// cuBLAS counts columns first: our (m, n) rows are its n x m columns, D' = W A' with W transposed.
CublasLt::Plan* CublasLt::planOf(const LinearCall& call, std::int64_t workspaceBytes) {
  const DeviceLinear& w = *call.weight;
  const Key key{call.rows,
                w.n,
                w.k,
                call.lda,
                call.ldd,
                static_cast<int>(call.activation),
                call.residual != nullptr,
                call.floatOut,
                w.float8(),
                w.float8Out};
  const std::lock_guard lock(mutex_);
  std::unique_ptr<Plan>& plan = plans_[key];
  if (plan) return plan.get();
  plan = std::make_unique<Plan>();
  plan->api = api_.get();
  const int outType = call.floatOut ? kReal32F
                      : w.float8Out ? kRealE4m3
                                    : kRealBf16,
            biasType = call.floatOut ? kReal32F : kRealBf16;
  const int inType = w.float8() ? kRealE4m3 : kRealBf16;
  // Sums of e4m3 stay in the tensor cores' own registers (14 bits below the largest term): measured against e4m3's own
  // rounding they add nothing, and moving them to fp32 every few steps costs time (kernels/LOG.md).
  const std::int8_t fastAccumulate = w.float8() ? 1 : 0;
  const unsigned epilogue = call.activation == kernels::Activation::kGeluTanh ? kEpilogueGeluBias : kEpilogueBias;
  const void* bias = call.floatOut ? static_cast<const void*>(w.bias) : w.biasStored;
  void* preference = nullptr;
  const unsigned reductions = kReductionsInWorkspace;
  const std::uint64_t limit = static_cast<std::uint64_t>(workspaceBytes);
  HeuristicResult result{};
  int found = 0;
  const auto n = static_cast<std::uint64_t>(w.n), k = static_cast<std::uint64_t>(w.k),
             m = static_cast<std::uint64_t>(call.rows);
  plan->usable =
      api_->descCreate(&plan->desc, kCompute32F, kReal32F) == 0 &&
      api_->descSet(plan->desc, kDescTransposeA, &kTranspose, sizeof kTranspose) == 0 &&
      api_->descSet(plan->desc, kDescEpilogue, &epilogue, sizeof epilogue) == 0 &&
      api_->descSet(plan->desc, kDescBiasType, &biasType, sizeof biasType) == 0 &&
      api_->descSet(plan->desc, kDescBiasPointer, &bias, sizeof bias) == 0 &&
      (!w.float8() || api_->descSet(plan->desc, kDescFastAccumulate, &fastAccumulate, sizeof fastAccumulate) == 0) &&
      (!w.float8Out ||
       api_->descSet(plan->desc, kDescScalePointerD, &w.outputScaleStored, sizeof w.outputScaleStored) == 0) &&
      api_->layoutCreate(&plan->weight, inType, k, n, w.k) == 0 &&
      api_->layoutCreate(&plan->input, inType, k, m, call.lda) == 0 &&
      api_->layoutCreate(&plan->output, outType, n, m, call.ldd) == 0 &&
      // An e4m3 output has no e4m3 addend: C is named in bf16 and, beta being 0, not read.
      (!w.float8Out || api_->layoutCreate(&plan->addend, kRealBf16, n, m, call.ldd) == 0) &&
      api_->preferenceCreate(&preference) == 0 &&
      api_->preferenceSet(preference, kPreferenceWorkspace, &limit, sizeof limit) == 0 &&
      api_->preferenceSet(preference, kPreferenceReduction, &reductions, sizeof reductions) == 0 &&
      api_->heuristic(api_->handle, plan->desc, plan->weight, plan->input, plan->addendOr(), plan->output, preference,
                      1, &result, &found) == 0 &&
      found == 1 && result.state == 0;
  plan->algorithm = result.algorithm;
  if (preference != nullptr) api_->preferenceDestroy(preference);
  return plan.get();
}

bool CublasLt::run(const LinearCall& call, void* workspace, std::int64_t workspaceBytes, cudaStream_t stream) {
  const DeviceLinear& w = *call.weight;
  if (!VendorSuits(call)) return false;
  Plan* plan = planOf(call, workspaceBytes);
  if (!plan->usable) return false;
  const float beta = call.residual != nullptr ? 1.0F : 0.0F;
  const void* bias = call.floatOut ? static_cast<const void*>(w.bias) : w.biasStored;
  int status = 0;
  {
    // The bias pointer lives in the shared descriptor; it is read when the call enqueues.
    const std::lock_guard lock(mutex_);
    status = api_->descSet(plan->desc, kDescBiasPointer, &bias, sizeof bias);
    if (status == 0 && w.float8Out)
      status = api_->descSet(plan->desc, kDescScalePointerD, &w.outputScaleStored, sizeof w.outputScaleStored);
    if (status == 0)
      status = api_->matmul(api_->handle, plan->desc, &w.scale, w.weight, plan->weight, call.a, plan->input, &beta,
                            call.residual != nullptr ? call.residual
                            : w.float8Out            ? nullptr
                                                     : call.out,
                            plan->addendOr(), call.out, plan->output, &plan->algorithm, workspace,
                            static_cast<std::size_t>(workspaceBytes), stream);
    // The heuristic named an algorithm that the product then refuses: nothing was enqueued, and our own product takes
    // this shape from now on.
    if (status == kInvalidValue || status == kNotSupported) {
      plan->usable = false;
      return false;
    }
  }
  if (status != 0)
    throw Error("engine.failed", ErrorScope::Engine,
                "cublasLtMatmul failed with status " + std::to_string(status) + ".",
                "Set FLASHVSR_CUDA_PATH=portable to run without cuBLAS.");
  return true;
}

}  // namespace flashvsr::cuda
