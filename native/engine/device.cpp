#include "engine/device.h"

#include <dlfcn.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "engine/engine.h"

namespace flashvsr {
namespace {

constexpr const char* kLibraryName = "libflashvsr_cuda.so";

// Where the CUDA library may lie: the path given, beside the module this code is in, where the loader looks.
std::vector<std::string> LibraryCandidates(const std::string& given) {
  if (!given.empty()) return {given};
  std::vector<std::string> candidates;
  Dl_info self{};
  if (dladdr(reinterpret_cast<const void*>(&LibraryCandidates), &self) != 0 && self.dli_fname != nullptr) {
    const std::filesystem::path folder = std::filesystem::absolute(self.dli_fname).parent_path();
    candidates.push_back((folder / kLibraryName).string());
    // The build tree: tools and tests lie in other folders.
    candidates.push_back((folder / ".." / kLibraryName).string());
    candidates.push_back((folder / ".." / "backend" / "cuda" / kLibraryName).string());
  }
  candidates.emplace_back(kLibraryName);
  return candidates;
}

// nullptr and the reason, or the library's handle. The library stays loaded: it owns a driver context.
void* OpenLibrary(const std::string& path, std::string& reason) {
  void* library = nullptr;
  for (const std::string& candidate : LibraryCandidates(path)) {
    if (candidate.find('/') != std::string::npos && !std::filesystem::exists(candidate)) continue;
    library = dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library != nullptr) break;
    const char* why = dlerror();
    reason = why != nullptr ? why : "cannot be opened";
  }
  if (library == nullptr && reason.empty())
    reason = std::string(kLibraryName) + " was not found; build it with -DFLASHVSR_CUDA=ON";
  return library;
}

// nullptr and the reason, or a backend.
std::unique_ptr<Backend> TryCuda(int deviceIndex, const std::string& path, std::string& reason) {
  void* library = OpenLibrary(path, reason);
  if (library == nullptr) return nullptr;
  const auto create = reinterpret_cast<CreateCudaBackendFunction>(dlsym(library, kCreateCudaBackendSymbol));
  if (create == nullptr) {
    reason = std::string("the CUDA library lacks ") + kCreateCudaBackendSymbol;
    return nullptr;
  }
  char text[512] = {};
  std::unique_ptr<Backend> backend(create(kBackendAbiVersion, deviceIndex, text, sizeof text));
  if (!backend) reason = text[0] != 0 ? text : "the CUDA library gave no reason";
  return backend;
}

// 0 when there is no library, no driver or no GPU.
int CountCuda(const std::string& path) {
  std::string reason;
  void* library = OpenLibrary(path, reason);
  if (library == nullptr) return 0;
  const auto count = reinterpret_cast<CountCudaDevicesFunction>(dlsym(library, kCountCudaDevicesSymbol));
  return count == nullptr ? 0 : count();
}

}  // namespace

std::unique_ptr<Backend> OpenBackend(const std::string& device, int deviceIndex, int threads,
                                     const std::string& cudaLibraryPath) {
  if (device == "reference") return CreateReferenceBackend(threads);
  if (device != "cuda" && device != "auto")
    throw Error("engine.device", ErrorScope::Engine, "Unknown device \"" + device + "\".",
                "Use reference, cuda or auto.");
  std::string reason;
  std::unique_ptr<Backend> cuda = TryCuda(deviceIndex, cudaLibraryPath, reason);
  if (cuda) return cuda;
  if (device == "cuda") throw Error("engine.device", ErrorScope::Engine, "CUDA cannot be used: " + reason + ".");
  return CreateReferenceBackend(threads);
}

Precision DefaultPrecision(const std::string& device) { return device == "cuda" ? Precision::Bf16 : Precision::Fp32; }

std::string_view PrecisionName(Precision precision) {
  switch (precision) {
    case Precision::Fp32:
      return "fp32";
    case Precision::Bf16:
      return "bf16";
    case Precision::Fp8:
      return "fp8";
    case Precision::Int8:
      return "int8";
  }
  FailInternal("a precision without a name");
}

Precision ParsePrecision(std::string_view name) {
  if (name == "fp32") return Precision::Fp32;
  if (name == "bf16") return Precision::Bf16;
  if (name == "fp8") return Precision::Fp8;
  if (name == "int8") return Precision::Int8;
  throw Error("engine.settings", ErrorScope::Engine, "Unknown precision \"" + std::string(name) + "\".",
              "Use fp32, bf16, fp8 or int8.");
}

std::vector<DeviceReport> ListDevices(const std::string& cudaLibraryPath) {
  std::vector<DeviceReport> reports;
  const auto add = [&](const Backend& backend, int index) {
    const BackendInfo info = backend.info();
    reports.push_back({info.device, info.deviceName, index, true, "", info.totalBytes, info.freeBytes});
  };
  // Without any GPU the first one's line says why.
  const int gpus = std::max(1, CountCuda(cudaLibraryPath));
  for (int index = 0; index < gpus; ++index) {
    std::string reason;
    try {
      if (const auto cuda = TryCuda(index, cudaLibraryPath, reason)) {
        add(*cuda, index);
        continue;
      }
    } catch (const std::exception& error) {
      reason = error.what();
    }
    reports.push_back({"cuda", "", index, false, reason, 0, 0});
  }
  add(*CreateReferenceBackend(0), 0);
  return reports;
}

}  // namespace flashvsr
