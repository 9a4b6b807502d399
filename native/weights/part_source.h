// One part of a model, cut out of a larger source.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "weights/tensor_source.h"

namespace flashvsr {

// Views under other names; keeps the source they point into alive.
class PartSource : public TensorSource {
 public:
  // `prefix` is what this part's names lack in `owner`; only reasons (`unusable`) are looked up there.
  explicit PartSource(std::shared_ptr<const TensorSource> owner, std::string prefix = {})
      : owner_(std::move(owner)),
        prefix_(std::move(prefix)) {}

  // Replaces nothing: the first view of a name stays.
  void add(const std::string& name, TensorView view);

  const TensorView* find(std::string_view name) const override;
  std::vector<std::string_view> names() const override;
  std::string_view unusable(std::string_view name) const override;

 private:
  std::shared_ptr<const TensorSource> owner_;
  std::string prefix_;
  std::map<std::string, TensorView, std::less<>> views_;
};

// The tensors whose names start with `prefix`, without it.
std::shared_ptr<const PartSource> SelectPrefix(std::shared_ptr<const TensorSource> source, const std::string& prefix);

}  // namespace flashvsr
