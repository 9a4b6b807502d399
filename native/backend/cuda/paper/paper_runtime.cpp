#include "backend/cuda/paper/paper_runtime.h"

#include <cuda_runtime_api.h>
#include <sys/mman.h>

#include <cctype>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <utility>

namespace flashvsr::paper {
namespace {

constexpr std::size_t kSharedBytesWithoutOptIn = 48 << 10;
constexpr unsigned kThreadsPerBlock = 1024, kRegistersPerBlock = 65536, kRegisterUnit = 256;
constexpr int kRegistersPerThread = 255;

struct Function {
  std::string name;
  std::size_t dynamicLimit = kSharedBytesWithoutOptIn;  // of static and dynamic together, until the attribute is set
  bool optedIn = false;
};

struct Configuration {
  dim3 grid, block;
  std::size_t sharedBytes = 0;
  cudaStream_t stream = nullptr;
};

// Function-local, because kernels register before main and in no fixed order.
struct State {
  std::mutex mutex;
  Card card;
  std::map<std::string, Resources> resources;
  std::map<const void*, Function> functions;
  std::map<void*, std::size_t> allocations;
  std::int64_t allocated = 0;
  std::function<void(const Launch&)> observer;
};
State& TheState() {
  static State state;
  return state;
}

thread_local cudaError_t lastError = cudaSuccess;
thread_local std::vector<Configuration> configurations;

cudaError_t Answer(cudaError_t error) {
  if (error != cudaSuccess) lastError = error;
  return error;
}

Resources ResourcesOf(const State& state, const std::string& name) {
  const auto found = state.resources.find(name);
  return found != state.resources.end() ? found->second : Resources{};
}

std::string ProblemOf(const Card& card, const Function& function, const Launch& launch, dim3 grid) {
  const std::size_t shared = launch.dynamicSharedBytes + launch.staticSharedBytes;
  const auto exceeds = [](const char* what, std::uint64_t need, std::uint64_t limit) {
    return std::string(what) + " " + std::to_string(need) + " of " + std::to_string(limit);
  };
  if (launch.threads == 0 || launch.threads > kThreadsPerBlock)
    return exceeds("threads", launch.threads, kThreadsPerBlock);
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffU || grid.y > 65535 || grid.z > 65535)
    return "a grid of " + std::to_string(grid.x) + "x" + std::to_string(grid.y) + "x" + std::to_string(grid.z);
  if (shared > card.sharedBytesPerBlock) return exceeds("shared bytes", shared, card.sharedBytesPerBlock);
  if (function.optedIn ? launch.dynamicSharedBytes > function.dynamicLimit : shared > function.dynamicLimit)
    return exceeds("shared bytes without opt-in", function.optedIn ? launch.dynamicSharedBytes : shared,
                   function.dynamicLimit);
  if (launch.registers > kRegistersPerThread)
    return exceeds("registers a thread", static_cast<std::uint64_t>(launch.registers), kRegistersPerThread);
  // A warp takes registers in units of 256.
  const unsigned warps = (launch.threads + 31) / 32;
  const unsigned perWarp =
      (static_cast<unsigned>(launch.registers) * 32 + kRegisterUnit - 1) / kRegisterUnit * kRegisterUnit;
  if (warps * perWarp > kRegistersPerBlock) return exceeds("registers a block", warps * perWarp, kRegistersPerBlock);
  return {};
}

cudaError_t RunLaunch(const void* function, dim3 grid, dim3 block, std::size_t sharedBytes, void** arguments) {
  State& state = TheState();
  Launch launch;
  std::function<void(const Launch&)> observer;
  {
    const std::lock_guard lock(state.mutex);
    const auto found = state.functions.find(function);
    if (found == state.functions.end()) return Answer(cudaErrorInvalidDeviceFunction);
    const Resources resources = ResourcesOf(state, found->second.name);
    launch.kernel = found->second.name;
    launch.blocks = grid.x * grid.y * grid.z;
    launch.threads = block.x * block.y * block.z;
    launch.dynamicSharedBytes = sharedBytes;
    launch.staticSharedBytes = resources.staticSharedBytes;
    launch.registers = resources.registers;
    launch.arguments = arguments;
    launch.problem = ProblemOf(state.card, found->second, launch, grid);
    observer = state.observer;
  }
  if (observer) observer(launch);
  return Answer(launch.problem.empty() ? cudaSuccess : cudaErrorInvalidConfiguration);
}

// cuTensorMapEncodeTiled of the driver: the map is never read.
int EncodeNothing(...) { return 0; }

}  // namespace

std::string Normalised(const std::string& mangled) {
  // The mangling writes the length before the name: "50_GLOBAL__N__3f4a9f59_12_attention_cu_0d2cfd2a".
  const std::size_t at = mangled.find("_GLOBAL__N_");
  if (at == std::string::npos) return mangled;
  std::size_t digits = at;
  while (digits > 0 && std::isdigit(static_cast<unsigned char>(mangled[digits - 1])) != 0) --digits;
  if (digits == at) return mangled;
  const std::size_t length = std::stoul(mangled.substr(digits, at - digits));
  if (at + length > mangled.size()) return mangled;
  return mangled.substr(0, digits) + "12_GLOBAL__N_1" + mangled.substr(at + length);
}

void UseCard(const Card& card, std::map<std::string, Resources> resources) {
  State& state = TheState();
  const std::lock_guard lock(state.mutex);
  state.card = card;
  state.resources = std::move(resources);
  for (auto& [address, function] : state.functions) {
    function.dynamicLimit = kSharedBytesWithoutOptIn;
    function.optedIn = false;
  }
}

void Observe(std::function<void(const Launch&)> observer) {
  const std::lock_guard lock(TheState().mutex);
  TheState().observer = std::move(observer);
}

std::int64_t AllocatedBytes() {
  const std::lock_guard lock(TheState().mutex);
  return TheState().allocated;
}

}  // namespace flashvsr::paper

using flashvsr::paper::Answer;
using flashvsr::paper::RunLaunch;
using flashvsr::paper::TheState;

extern "C" {

// Kernels: registration (by code that nvcc makes), configuration, launch

void** __cudaRegisterFatBinary(void* binary) { return static_cast<void**>(binary); }
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterFunction(void**, const char* function, char*, const char* name, int, uint3*, uint3*, dim3*, dim3*,
                            int*) {
  flashvsr::paper::Function entry;
  entry.name = flashvsr::paper::Normalised(name);
  TheState().functions[function] = entry;
}
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t sharedBytes, cudaStream_t stream) {
  flashvsr::paper::configurations.push_back({grid, block, sharedBytes, stream});
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* sharedBytes, void* stream) {
  const flashvsr::paper::Configuration top = flashvsr::paper::configurations.back();
  flashvsr::paper::configurations.pop_back();
  *grid = top.grid;
  *block = top.block;
  *sharedBytes = top.sharedBytes;
  *static_cast<cudaStream_t*>(stream) = top.stream;
  return cudaSuccess;
}
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
  *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void*>(function));
  return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, size_t sharedBytes,
                               cudaStream_t) {
  return RunLaunch(kernel, grid, block, sharedBytes, arguments);
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function, void** arguments) {
  return RunLaunch(function, config->gridDim, config->blockDim, config->dynamicSmemBytes, arguments);
}
cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  flashvsr::paper::State& state = TheState();
  const std::lock_guard lock(state.mutex);
  const auto found = state.functions.find(function);
  if (found == state.functions.end() || value < 0) return Answer(cudaErrorInvalidDeviceFunction);
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  const std::size_t fixed = flashvsr::paper::ResourcesOf(state, found->second.name).staticSharedBytes;
  if (static_cast<std::size_t>(value) + fixed > state.card.sharedBytesPerBlock) {
    flashvsr::paper::Launch refused;
    refused.kernel = found->second.name;
    refused.dynamicSharedBytes = static_cast<std::size_t>(value);
    refused.staticSharedBytes = fixed;
    refused.problem = "shared bytes " + std::to_string(static_cast<std::size_t>(value) + fixed) + " of " +
                      std::to_string(state.card.sharedBytesPerBlock);
    if (state.observer) state.observer(refused);
    return Answer(cudaErrorInvalidValue);
  }
  found->second.dynamicLimit = static_cast<std::size_t>(value);
  found->second.optedIn = true;
  return cudaSuccess;
}

// The card

cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
cudaError_t cudaSetDevice(int device) { return Answer(device == 0 ? cudaSuccess : cudaErrorInvalidDevice); }
cudaError_t cudaGetDeviceCount(int* count) { return *count = 1, cudaSuccess; }
cudaError_t cudaDriverGetVersion(int* version) { return *version = CUDART_VERSION, cudaSuccess; }
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  const flashvsr::paper::Card& card = TheState().card;
  switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor:
      return *value = card.major, cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      return *value = card.minor, cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      return *value = 132, cudaSuccess;  // Hopper's kernels size their grids by it
    default:
      return Answer(cudaErrorNotSupported);
  }
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  const flashvsr::paper::Card& card = TheState().card;
  *properties = {};
  std::strncpy(properties->name, card.name.c_str(), sizeof properties->name - 1);
  properties->major = card.major;
  properties->minor = card.minor;
  properties->totalGlobalMem = static_cast<std::size_t>(card.memoryBytes);
  return cudaSuccess;
}
cudaError_t cudaGetDriverEntryPointByVersion(const char*, void** function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* result) {
  *function = reinterpret_cast<void*>(&flashvsr::paper::EncodeNothing);
  if (result != nullptr) *result = cudaDriverEntryPointSuccess;
  return cudaSuccess;
}

// Memory: address space without pages

cudaError_t cudaMalloc(void** data, size_t bytes) {
  flashvsr::paper::State& state = TheState();
  const std::lock_guard lock(state.mutex);
  if (state.allocated + static_cast<std::int64_t>(bytes) > state.card.memoryBytes)
    return Answer(cudaErrorMemoryAllocation);
  void* const reserved = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return Answer(cudaErrorMemoryAllocation);
  state.allocations[reserved] = bytes;
  state.allocated += static_cast<std::int64_t>(bytes);
  *data = reserved;
  return cudaSuccess;
}
cudaError_t cudaFree(void* data) {
  flashvsr::paper::State& state = TheState();
  const std::lock_guard lock(state.mutex);
  const auto found = state.allocations.find(data);
  if (found == state.allocations.end()) return data == nullptr ? cudaSuccess : Answer(cudaErrorInvalidValue);
  munmap(data, found->second);
  state.allocated -= static_cast<std::int64_t>(found->second);
  state.allocations.erase(found);
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *total = static_cast<std::size_t>(TheState().card.memoryBytes);
  *free = *total - static_cast<std::size_t>(flashvsr::paper::AllocatedBytes());
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** data, size_t bytes, unsigned) {
  *data = std::calloc(bytes, 1);
  return Answer(*data != nullptr ? cudaSuccess : cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void* data) { return std::free(data), cudaSuccess; }
cudaError_t cudaMemcpy(void* to, const void*, size_t bytes, cudaMemcpyKind kind) {
  if (kind == cudaMemcpyDeviceToHost) std::memset(to, 0, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
  return cudaMemcpy(to, from, bytes, kind);
}
cudaError_t cudaMemset(void*, int, size_t) { return cudaSuccess; }
cudaError_t cudaMemsetAsync(void*, int, size_t, cudaStream_t) { return cudaSuccess; }

// Queues and events: all work is done at once

cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = reinterpret_cast<cudaStream_t>(std::malloc(1));
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) { return std::free(stream), cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = reinterpret_cast<cudaEvent_t>(std::malloc(1));
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) { return std::free(event), cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaEventQuery(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t, cudaEvent_t) { return *ms = 0, cudaSuccess; }

// Errors

cudaError_t cudaGetLastError() { return std::exchange(flashvsr::paper::lastError, cudaSuccess); }
const char* cudaGetErrorName(cudaError_t) { return "paper"; }
const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorInvalidConfiguration ? "the launch exceeds the card's limits"
         : error == cudaErrorInvalidValue       ? "invalid value"
                                                : "failed on paper";
}

}  // extern "C"
