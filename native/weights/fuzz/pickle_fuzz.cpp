// libFuzzer: any bytes through the unpickler alone, without the zip around it that mutations break first.
#include <cstdint>

#include "common/error.h"
#include "weights/unpickler.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace flashvsr;
  try {
    Unpickle({reinterpret_cast<const std::byte*>(data), size}, "fuzz");
  } catch (const Error&) {
  }
  return 0;
}
