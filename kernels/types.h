// Shared vocabulary of the kernel headers. Plain C++: includable by code that nvcc does not compile.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace flashvsr::kernels {

/// Element type of activations and weights. Sums, norms and softmax are fp32 whatever the type.
/// kFloat8 is e4m3 without infinities: 448 is its largest number, 2^-6 its smallest normal one. kInt8 (-127 to 127) is
/// for the operands of linear layers alone; their scales lie beside them.
enum class DataType : int { kFloat32 = 0, kBfloat16 = 1, kFloat8 = 2, kInt8 = 3 };

/// What a product's epilogue applies to (sum + bias), before the residual.
enum class Activation : int { kNone = 0, kGeluTanh = 1, kSilu = 2, kRelu = 3 };

/// kPortable keeps to instructions of sm_80; kAuto takes the fastest kernel built for the device at hand.
enum class Path : int { kPortable = 0, kAuto = 1 };

/// Bytes of one element.
constexpr int64_t SizeOf(DataType type) { return type == DataType::kFloat32 ? 4 : type == DataType::kBfloat16 ? 2 : 1; }

/// Smallest multiple of `unit` that is >= `value`.
constexpr int64_t RoundUp(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

/// Number of `unit`s that cover `value`.
constexpr int64_t CeilDiv(int64_t value, int64_t unit) { return (value + unit - 1) / unit; }

}  // namespace flashvsr::kernels
