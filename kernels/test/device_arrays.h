// What the kernels' tests add to the harness: device arrays poisoned with NaN, fresh random inputs, and a comparison
// that says where the worst element lies.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <random>
#include <string>
#include <vector>

#include "backend/float8.h"
#include "common/threads.h"
#include "kernels/launched.h"
#include "kernels/types.h"
#include "test/harness.h"
#include "weights/tensor_source.h"

namespace flashvsr::kernels::test {

inline Threads& Pool() {
  static Threads pool;
  return pool;
}

using flashvsr::test::Report;

// What the run's command line and its two rounds set.
struct Settings {
  bool quick = false;           // small shapes only (compute-sanitizer)
  Path path = Path::kPortable;  // of the kernels under test
};
inline Settings& Run() {
  static Settings settings;
  return settings;
}

// Ends the program when a CUDA error is sticky: nothing after it would mean anything.
inline bool Succeeded(cudaError_t error, const std::string& name) {
  if (error == cudaSuccess) error = cudaDeviceSynchronize();
  if (error == cudaSuccess) return true;
  Report(name, false, cudaGetErrorString(error));
  cudaGetLastError();
  if (cudaDeviceSynchronize() != cudaSuccess) {
    std::printf("the device is lost; stopping\n");
    std::exit(2);
  }
  return false;
}

inline bool Succeeded(Launched launched, const std::string& name) { return Succeeded(launched.error, name); }

// Rows of `columns` values moved `ld` apart, NaN between them.
inline std::vector<float> Spaced(const std::vector<float>& rows, std::int64_t columns, std::int64_t ld) {
  std::vector<float> out(rows.size() / static_cast<std::size_t>(columns) * static_cast<std::size_t>(ld), NAN);
  for (std::size_t i = 0; i < rows.size(); ++i)
    out[i / static_cast<std::size_t>(columns) * static_cast<std::size_t>(ld) + i % static_cast<std::size_t>(columns)] =
        rows[i];
  return out;
}

// Random values, the same for the same seed.
inline std::vector<float> Normals(std::int64_t count, std::uint64_t seed, float scale = 1.0F) {
  std::mt19937_64 engine(seed * 0x9E3779B97F4A7C15ULL + 1);
  std::normal_distribution<float> normal(0.0F, scale);
  std::vector<float> out(static_cast<std::size_t>(count));
  for (float& v : out) v = normal(engine);
  return out;
}
inline std::vector<std::uint8_t> RandomBytes(std::int64_t count, std::uint64_t seed) {
  std::mt19937_64 engine(seed * 0x9E3779B97F4A7C15ULL + 2);
  std::vector<std::uint8_t> out(static_cast<std::size_t>(count));
  for (std::uint8_t& v : out) v = static_cast<std::uint8_t>(engine() >> 32);
  return out;
}
// The value of an e4m3 byte, and the byte of a value that e4m3 has.
inline float Float8Value(std::uint8_t bits) {
  const int exponent = bits >> 3 & 15, mantissa = bits & 7;
  if (exponent == 15 && mantissa == 7) return NAN;
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                                        : std::ldexp(8.0F + static_cast<float>(mantissa), exponent - 10);
  return bits & 128 ? -magnitude : magnitude;
}
inline std::uint8_t Float8Bits(float value) {
  static const std::vector<float> values = [] {
    std::vector<float> all;
    for (int bits = 0; bits < 127; ++bits) all.push_back(Float8Value(static_cast<std::uint8_t>(bits)));
    return all;
  }();
  const auto found = std::lower_bound(values.begin(), values.end(), std::fabs(value));
  if (found == values.end() || *found != std::fabs(value)) return 127;  // NaN: e4m3 does not have the value
  return static_cast<std::uint8_t>((found - values.begin()) | (std::signbit(value) ? 128 : 0));
}
// What the device will hold, so that the reference starts from the same numbers.
inline std::vector<float> Rounded(std::vector<float> values, DataType type) {
  if (type == DataType::kBfloat16)
    for (float& v : values) v = BFloat16ToFloat(FloatToBFloat16(v));
  if (type == DataType::kFloat8)
    for (float& v : values) v = float8::Round(v);
  return values;
}

// Device memory between two poisoned margins; check() proves that nothing was written outside.
class Device {
 public:
  explicit Device(std::int64_t bytes) : bytes_(bytes) {
    cudaMalloc(&base_, static_cast<std::size_t>(bytes + 2 * kMargin));
    cudaMemset(base_, 0xFF, static_cast<std::size_t>(bytes + 2 * kMargin));  // NaN in fp32, bf16 and double
  }
  Device(const Device&) = delete;
  ~Device() { cudaFree(base_); }
  void* data() const { return static_cast<std::uint8_t*>(base_) + kMargin; }
  template <typename T>
  T* as() const {
    return static_cast<T*>(data());
  }
  bool marginsIntact() const {
    std::vector<std::uint8_t> margin(2 * kMargin);
    cudaMemcpy(margin.data(), base_, kMargin, cudaMemcpyDeviceToHost);
    cudaMemcpy(margin.data() + kMargin, as<std::uint8_t>() + bytes_, kMargin, cudaMemcpyDeviceToHost);
    for (const std::uint8_t byte : margin)
      if (byte != 0xFF) return false;
    return true;
  }
  std::int64_t bytes() const { return bytes_; }

 private:
  static constexpr std::int64_t kMargin = 1024;
  void* base_ = nullptr;
  std::int64_t bytes_;
};

// An array of activations of `type`, or of floats.
class Array : public Device {
 public:
  Array(std::int64_t count, DataType type) : Device(count * SizeOf(type)), count_(count), type_(type) {}
  Array(const std::vector<float>& values, DataType type) : Array(static_cast<std::int64_t>(values.size()), type) {
    if (type == DataType::kFloat32) {
      cudaMemcpy(data(), values.data(), values.size() * 4, cudaMemcpyHostToDevice);
    } else if (type == DataType::kFloat8) {
      std::vector<std::uint8_t> bytes(values.size());
      for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = Float8Bits(values[i]);
      cudaMemcpy(data(), bytes.data(), bytes.size(), cudaMemcpyHostToDevice);
    } else {
      std::vector<std::uint16_t> bits(values.size());
      for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = FloatToBFloat16(values[i]);
      cudaMemcpy(data(), bits.data(), bits.size() * 2, cudaMemcpyHostToDevice);
    }
  }
  std::vector<float> read() const {
    std::vector<float> out(static_cast<std::size_t>(count_));
    if (type_ == DataType::kFloat32) {
      cudaMemcpy(out.data(), data(), out.size() * 4, cudaMemcpyDeviceToHost);
    } else if (type_ == DataType::kFloat8) {
      std::vector<std::uint8_t> bytes(out.size());
      cudaMemcpy(bytes.data(), data(), bytes.size(), cudaMemcpyDeviceToHost);
      for (std::size_t i = 0; i < out.size(); ++i) out[i] = Float8Value(bytes[i]);
    } else {
      std::vector<std::uint16_t> bits(out.size());
      cudaMemcpy(bits.data(), data(), bits.size() * 2, cudaMemcpyDeviceToHost);
      for (std::size_t i = 0; i < bits.size(); ++i) out[i] = BFloat16ToFloat(bits[i]);
    }
    return out;
  }

 private:
  std::int64_t count_;
  DataType type_;
};
class Bytes : public Device {
 public:
  explicit Bytes(std::int64_t count) : Device(count) {}
  explicit Bytes(const std::vector<std::uint8_t>& values) : Device(static_cast<std::int64_t>(values.size())) {
    cudaMemcpy(data(), values.data(), values.size(), cudaMemcpyHostToDevice);
  }
  std::vector<std::uint8_t> read() const {
    std::vector<std::uint8_t> out(static_cast<std::size_t>(bytes()));
    cudaMemcpy(out.data(), data(), out.size(), cudaMemcpyDeviceToHost);
    return out;
  }
};
class Ints : public Device {
 public:
  explicit Ints(std::int64_t count) : Device(count * 4) {}
  explicit Ints(const std::vector<std::int32_t>& values) : Ints(static_cast<std::int64_t>(values.size())) {
    cudaMemcpy(data(), values.data(), values.size() * 4, cudaMemcpyHostToDevice);
  }
};

// Relative error ||out - ref|| / ||ref|| and the largest single error; NaN never passes.
inline void Compare(const std::string& name, const std::vector<float>& out, const std::vector<float>& reference,
                    double tolerance, bool marginsIntact = true) {
  double difference = 0, norm = 0, dot = 0, own = 0, worst = -1;
  std::size_t worstAt = 0;
  bool finite = out.size() == reference.size();
  for (std::size_t i = 0; i < out.size() && finite; ++i) {
    const double d = static_cast<double>(out[i]) - reference[i];
    if (!std::isfinite(d)) {
      finite = false;
      worstAt = i;
      break;
    }
    difference += d * d;
    norm += static_cast<double>(reference[i]) * reference[i];
    own += static_cast<double>(out[i]) * out[i];
    dot += static_cast<double>(out[i]) * reference[i];
    if (std::abs(d) > worst) worst = std::abs(d), worstAt = i;
  }
  char text[200];
  if (!finite) {
    std::snprintf(text, sizeof text, "not finite at %zu of %zu (reference %zu)", worstAt, out.size(), reference.size());
    Report(name, false, text);
    return;
  }
  const double error = std::sqrt(difference / std::max(norm, 1e-30)),
               cosine = dot / std::sqrt(std::max(norm * own, 1e-60));
  std::snprintf(text, sizeof text, "error %.2e (limit %.0e) cosine %.7f worst %.3g at %zu: %.6g, reference %.6g%s",
                error, tolerance, cosine, worst, worstAt, static_cast<double>(out[worstAt]),
                static_cast<double>(reference[worstAt]), marginsIntact ? "" : " WROTE OUTSIDE");
  Report(name, error <= tolerance && marginsIntact, text);
}
inline void CompareBytes(const std::string& name, const std::vector<std::uint8_t>& out,
                         const std::vector<std::uint8_t>& reference, bool marginsIntact = true) {
  std::size_t wrong = out.size() == reference.size() ? 0 : 1, first = 0;
  for (std::size_t i = 0; i < std::min(out.size(), reference.size()); ++i)
    if (out[i] != reference[i] && wrong++ == 0) first = i;
  char text[160];
  std::snprintf(text, sizeof text, "%zu of %zu bytes differ, first at %zu%s", wrong, reference.size(), first,
                marginsIntact ? "" : " WROTE OUTSIDE");
  Report(name, wrong == 0 && marginsIntact, text);
}

// Limits follow from the type: outputs rounded to bf16 differ by about 1.2e-3 from the exact ones. An e4m3 output is
// compared with the expected number rounded too: they differ by a step of 1/16 where the two lie on different sides of
// a tie, which for a difference of 1e-3 before rounding is one element in sixty.
inline double Limit(DataType type) {
  return type == DataType::kBfloat16 ? 3e-3 : type == DataType::kFloat8 ? 1.2e-2 : 2e-5;
}
inline const char* Name(DataType type) {
  return type == DataType::kBfloat16 ? "bf16" : type == DataType::kFloat8 ? "e4m3" : "fp32";
}

inline void Test(const std::string& name, const std::function<void(const std::string&)>& body) {
  const std::string full = Run().path == Path::kAuto ? name + " (auto)" : name;
  if (flashvsr::test::Wanted(full)) body(full);
}

// "what bf16 3 4 5"
inline std::string Label(const char* what, DataType type, std::initializer_list<int> sizes) {
  std::string label = std::string(what) + " " + Name(type);
  for (const int size : sizes) label += " " + std::to_string(size);
  return label;
}

void IndexTests();  // needs no GPU
void LinearTests();
void ConvolutionTests();
void AttentionTests();
void Float8Tests();
void Int8Tests();
void WanTests();
void TokenTests();
void PictureTests();

}  // namespace flashvsr::kernels::test
