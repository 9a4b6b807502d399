// A Node addon whose fail(device) breaks that GPU's context in this process: a kernel writes to an address that is nobody's.
// Built by hand, for bench/gpus alone:
//   nvcc -shared -Xcompiler -fPIC -I node_modules/node-api-headers/include -o fault.node bench/gpus/fault.cu
#include <node_api.h>

#include <cstdint>
#include <cstdio>

namespace {

__global__ void WriteNowhere(std::uintptr_t address) { *reinterpret_cast<volatile int*>(address) = 1; }

napi_value Fail(napi_env env, napi_callback_info info) {
  std::size_t count = 1;
  napi_value argument = nullptr;
  std::int32_t device = 0;
  napi_get_cb_info(env, info, &count, &argument, nullptr, nullptr);
  napi_get_value_int32(env, argument, &device);
  cudaSetDevice(device);
  WriteNowhere<<<1, 1>>>(16);
  const cudaError_t error = cudaDeviceSynchronize();
  std::fprintf(stderr, "GPU %d: %s\n", device, cudaGetErrorString(error));
  return nullptr;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  napi_value fail = nullptr;
  napi_create_function(env, "fail", NAPI_AUTO_LENGTH, Fail, nullptr, &fail);
  napi_set_named_property(env, exports, "fail", fail);
  return exports;
}
