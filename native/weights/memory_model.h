// A whole model in memory, tensor by tensor: synthetic weights and tests.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "weights/model_weights.h"
#include "weights/tensor_source.h"

namespace flashvsr {

class MemoryModel {
 public:
  // "transformer", "projector", "decoder", "prompt" or "wan" (TensorSpec::part); std::out_of_range otherwise.
  MemoryTensorSource& part(const std::string& name) { return *parts_.at(name); }
  ModelSources sources() const {
    const auto& wan = parts_.at("wan");
    return {parts_.at("transformer"), parts_.at("projector"), parts_.at("decoder"), parts_.at("prompt"),
            wan->names().empty() ? nullptr : wan};
  }

 private:
  std::map<std::string, std::shared_ptr<MemoryTensorSource>> parts_{
      {"transformer", std::make_shared<MemoryTensorSource>()},
      {"projector", std::make_shared<MemoryTensorSource>()},
      {"decoder", std::make_shared<MemoryTensorSource>()},
      {"prompt", std::make_shared<MemoryTensorSource>()},
      {"wan", std::make_shared<MemoryTensorSource>()}};
};

}  // namespace flashvsr
