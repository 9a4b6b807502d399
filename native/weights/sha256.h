// SHA-256 (FIPS 180-4), with the processor's SHA instructions where it has them: hashing 3.5 GB is part of every
// import.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace flashvsr {

class Sha256 {
 public:
  // `portable`: without the processor's SHA instructions, for tests.
  explicit Sha256(bool portable = false);
  void update(std::span<const std::byte> bytes);
  // 64 lower-case hexadecimal digits. The object is used up.
  std::string hex();

 private:
  bool portable_;
  std::array<std::uint32_t, 8> state_;
  std::array<std::byte, 64> block_{};
  std::size_t filled_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace flashvsr
