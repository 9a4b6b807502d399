// libFuzzer: any bytes through the torch.save reader. Checksums are off: they would stop every mutation at the door.
#include <cstdint>

#include "common/error.h"
#include "weights/torch_checkpoint.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace flashvsr;
  try {
    const auto file =
        TorchCheckpoint::Parse({reinterpret_cast<const std::byte*>(data), size}, "fuzz", {.checkCrc = false});
    volatile unsigned sink = 0;
    for (const std::string_view name : file->names()) {
      const TensorView& view = *file->find(name);
      for (const std::byte byte : view.data) sink = sink + static_cast<unsigned>(byte);
      if (view.data.size() != static_cast<std::size_t>(view.elements()) * DTypeSize(view.dtype)) __builtin_trap();
    }
  } catch (const Error&) {
  }
  return 0;
}
