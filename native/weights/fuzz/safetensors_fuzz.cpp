// libFuzzer: any bytes through the safetensors reader, then through the model check; every byte of every tensor that it
// returns is touched, so that a view outside the file is seen by AddressSanitizer.
#include <cstdint>

#include "common/error.h"
#include "weights/model_weights.h"
#include "weights/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace flashvsr;
  try {
    const auto file = SafetensorsFile::Parse({reinterpret_cast<const std::byte*>(data), size}, "fuzz");
    volatile unsigned sink = 0;
    for (const std::string_view name : file->names()) {
      const TensorView& view = *file->find(name);
      for (const std::byte byte : view.data) sink = sink + static_cast<unsigned>(byte);
      if (view.data.size() != static_cast<std::size_t>(view.elements()) * DTypeSize(view.dtype)) __builtin_trap();
    }
    ModelWeights::FromPrefixedSource(file);
  } catch (const Error&) {
  }
  return 0;
}
