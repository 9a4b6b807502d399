#include "weights/part_source.h"

namespace flashvsr {

void PartSource::add(const std::string& name, TensorView view) {
  const auto [place, added] = views_.try_emplace(name, std::move(view));
  if (added) place->second.name = place->first;
}

const TensorView* PartSource::find(std::string_view name) const {
  const auto place = views_.find(name);
  return place == views_.end() ? nullptr : &place->second;
}

std::vector<std::string_view> PartSource::names() const {
  std::vector<std::string_view> names;
  names.reserve(views_.size());
  for (const auto& view : views_) names.push_back(view.first);
  return names;
}

std::string_view PartSource::unusable(std::string_view name) const {
  return owner_->unusable(prefix_ + std::string(name));
}

std::shared_ptr<const PartSource> SelectPrefix(std::shared_ptr<const TensorSource> source, const std::string& prefix) {
  auto part = std::make_shared<PartSource>(source, prefix);
  for (const std::string_view name : source->names()) {
    if (name.starts_with(prefix)) part->add(std::string(name.substr(prefix.size())), *source->find(name));
  }
  return part;
}

}  // namespace flashvsr
