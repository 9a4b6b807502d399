#include "backend/cuda/cuda_backend.h"

#include <cstdio>

#include "backend/cuda/cublaslt.h"
#include "backend/cuda/model.h"
#include "backend/cuda/paths.h"
#include "kernels/rotate_round.h"

namespace flashvsr::cuda {
namespace {

class CudaBackend final : public Backend {
 public:
  CudaBackend(int device, std::string name, kernels::Path path, std::shared_ptr<CublasLt> lt)
      : device_(device),
        name_(std::move(name)),
        path_(path),
        lt_(std::move(lt)) {}

  BackendInfo info() const override {
    BackendInfo info;
    info.device = "cuda";
    info.deviceName = name_ + (path_ == kernels::Path::kPortable ? ", portable" : lt_ ? ", cuBLASLt" : ", no cuBLASLt");
    std::size_t free = 0, total = 0;
    Check(cudaSetDevice(device_), "choosing the device");
    Check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    info.totalBytes = static_cast<std::int64_t>(total);
    info.freeBytes = static_cast<std::int64_t>(free);
    info.asynchronous = true;
    info.partsAhead = 2;
    return info;
  }

  std::int64_t elementBytes(Storage storage, Precision precision) const override {
    switch (storage) {
      case Storage::Byte:
        return 1;
      case Storage::Float:
      case Storage::Picture:
        return 4;
      case Storage::Cache:
        return kernels::SizeOf(CacheTypeOf(precision, path_));
      default:
        return kernels::SizeOf(TypeOf(precision));
    }
  }

  std::int64_t preparedBytes(const ModelDims& dims, Precision precision) const override {
    return CudaModel::Bytes(dims, EightBitPlanOf(precision, path_), TypeOf(precision));
  }

  std::shared_ptr<PreparedModel> prepare(const ModelWeights& weights, const ModelConstants& constants,
                                         Precision precision, const LoadProgress& progress) override {
    if (precision == Precision::Int8) requireInt8(weights.dims());
    if (precision == Precision::Fp8) requireFloat8(weights.dims());
    return std::make_shared<CudaModel>(device_, path_, lt_, weights, constants, precision, progress);
  }

 private:
  static void requireInt8(const ModelDims& dims) {
    if (WishedPath() == PathWish::Sm90)
      throw Error("engine.device", ErrorScope::Engine,
                  "FLASHVSR_CUDA_PATH=sm90: int8 layers are computed by portable kernels only.",
                  "Choose FLASHVSR_CUDA_PATH=auto or precision fp8.");
    for (const std::int64_t width : {dims.dim, dims.ffn})
      if (width % 16 != 0 || width > kernels::kWidestRotateRound)
        throw Error("engine.device", ErrorScope::Engine,
                    "int8 needs widths that are multiples of 16 and at most " +
                        std::to_string(kernels::kWidestRotateRound) + "; the model has " + std::to_string(width) + ".",
                    "Choose precision bf16.");
  }

  void requireFloat8(const ModelDims& dims) const {
    Check(cudaSetDevice(device_), "choosing the device");
    if (!kernels::Float8Suits())
      throw Error(
          "engine.device", ErrorScope::Engine,
          name_ + " does not multiply 8-bit floating-point numbers (compute capability 8.9, Ada, or newer does).",
          "Choose precision bf16.");
    if (dims.dim % 16 != 0 || dims.ffn % 16 != 0)
      throw Error("engine.device", ErrorScope::Engine,
                  "fp8 needs widths that are multiples of 16; the model has " + std::to_string(dims.dim) + " and " +
                      std::to_string(dims.ffn) + ".",
                  "Choose precision bf16.");
  }

  int device_;
  std::string name_;
  kernels::Path path_;
  std::shared_ptr<CublasLt> lt_;
};

// Why the device cannot be used, or empty.
std::string Examine(int device, std::string& name) {
  int driver = 0, count = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) return "no NVIDIA driver was found";
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) return std::string("the NVIDIA driver cannot be used: ") + cudaGetErrorString(error);
  if (count == 0) return "the NVIDIA driver sees no GPU";
  if (device < 0 || device >= count)
    return "there is no GPU " + std::to_string(device) + "; this machine has " + std::to_string(count);
  cudaDeviceProp properties{};
  if (const cudaError_t failed = cudaGetDeviceProperties(&properties, device); failed != cudaSuccess)
    return std::string("the GPU does not answer: ") + cudaGetErrorString(failed);
  if (properties.major < 8)
    return std::string(properties.name) + " has compute capability " + std::to_string(properties.major) + "." +
           std::to_string(properties.minor) + "; 8.0 (Ampere) or newer is needed";
  name = properties.name;
  return {};
}

}  // namespace

Backend* CreateBackend(int abiVersion, int deviceIndex, char* reason, std::size_t reasonBytes) {
  const auto refuse = [&](const std::string& why) -> Backend* {
    if (reason != nullptr && reasonBytes > 0) std::snprintf(reason, reasonBytes, "%s", why.c_str());
    return nullptr;
  };
  if (abiVersion != kBackendAbiVersion)
    return refuse("libflashvsr_cuda has backend version " + std::to_string(kBackendAbiVersion) + ", the engine wants " +
                  std::to_string(abiVersion) + "; build both from one checkout");
  try {
    std::string name;
    if (const std::string why = Examine(deviceIndex, name); !why.empty()) return refuse(why);
    Check(cudaSetDevice(deviceIndex), "choosing the device");
    const PathWish wish = WishedPath();
    std::string missing;
    const std::shared_ptr<CublasLt> lt = wish == PathWish::Portable ? nullptr : CublasLt::Open(missing);
    if (wish == PathWish::Sm90 && !lt) return refuse("FLASHVSR_CUDA_PATH=sm90 wants cuBLASLt: " + missing);
    return new CudaBackend(deviceIndex, name,
                           wish == PathWish::Portable ? kernels::Path::kPortable : kernels::Path::kAuto, lt);
  } catch (const std::exception& error) {
    return refuse(error.what());
  }
}

int CountDevices() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

}  // namespace flashvsr::cuda
