// Reads the pickle inside a torch.save archive (protocols 2 to 5 of CPython's pickle) as data. A pickle is a program;
// this one can do exactly what a state dict needs: build dicts, lists, tuples, numbers and text, and describe tensors.
// The only globals are collections.OrderedDict, torch._utils._rebuild_tensor_v2 and torch's storage types; none of them
// is ever called: they are recognised. Every other global, and every opcode not needed, is refused by name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "weights/tensor_source.h"

namespace flashvsr {

// A tensor as the pickle describes it: a strided window into a named storage. Nothing is checked against the archive
// yet; sizes, strides and offset are non-negative.
struct PickledTensor {
  std::string storageType;     // "BFloat16Storage"
  std::optional<DType> dtype;  // nothing for storage types a model cannot use
  std::int64_t elementBytes = 0;
  std::string storageKey;  // the archive's member is <prefix>/data/<storageKey>
  std::int64_t storageElements = 0;
  std::int64_t offset = 0;  // in elements
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;  // in elements
};

struct PickledState {
  bool singleTensor = false;  // the top level is a tensor and not a dict; its name is empty
  std::vector<std::pair<std::string, PickledTensor>> tensors;
  std::vector<std::string> others;  // keys whose values are not tensors
};

// Throws flashvsr::Error. `label` names the file in errors.
PickledState Unpickle(std::span<const std::byte> pickle, std::string_view label);

inline constexpr std::size_t kMaxPickleBytes = 16u << 20;  // the official decoder's is 7 KB

}  // namespace flashvsr
