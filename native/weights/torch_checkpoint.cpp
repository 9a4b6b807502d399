#include "weights/torch_checkpoint.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "weights/fail.h"
#include "weights/unpickler.h"
#include "weights/zip_archive.h"

namespace flashvsr {

namespace {

constexpr std::string_view kPickleName = "data.pkl";

bool IsContiguous(const PickledTensor& tensor) {
  std::int64_t expected = 1;
  for (std::size_t axis = tensor.shape.size(); axis-- > 0;) {
    if (tensor.shape[axis] == 0) return true;
    if (tensor.shape[axis] != 1 && tensor.strides[axis] != expected) return false;
    expected *= tensor.shape[axis];
  }
  return true;
}

// Place of the last element, counted from the first, plus one; nothing on overflow.
std::optional<std::int64_t> SpanElements(const PickledTensor& tensor) {
  std::int64_t last = 0;
  for (std::size_t axis = 0; axis < tensor.shape.size(); ++axis) {
    if (tensor.shape[axis] == 0) return 0;
    std::int64_t reach = 0;
    if (__builtin_mul_overflow(tensor.shape[axis] - 1, tensor.strides[axis], &reach) ||
        __builtin_add_overflow(last, reach, &last)) {
      return std::nullopt;
    }
  }
  std::int64_t count = 0;
  if (__builtin_add_overflow(last, std::int64_t{1}, &count)) return std::nullopt;
  return count;
}

std::vector<std::byte> CopyRowMajor(const PickledTensor& tensor, std::span<const std::byte> storage,
                                    std::size_t bytes) {
  const auto width = static_cast<std::size_t>(tensor.elementBytes);
  std::vector<std::byte> copy(bytes);
  std::vector<std::int64_t> index(tensor.shape.size(), 0);
  // The stride of an axis of length 1 means nothing and may be any number, even one that overflows.
  std::vector<std::int64_t> strides(tensor.strides);
  for (std::size_t axis = 0; axis < strides.size(); ++axis) {
    if (tensor.shape[axis] == 1) strides[axis] = 0;
  }
  std::int64_t from = tensor.offset;
  for (std::size_t at = 0; at < bytes; at += width) {
    std::memcpy(copy.data() + at, storage.data() + static_cast<std::size_t>(from) * width, width);
    for (std::size_t axis = index.size(); axis-- > 0;) {
      from += strides[axis];
      if (++index[axis] < tensor.shape[axis]) break;
      from -= strides[axis] * tensor.shape[axis];
      index[axis] = 0;
    }
  }
  return copy;
}

// The folder inside the archive: everything before "/data.pkl", of which there must be exactly one.
std::string FindPrefix(const ZipArchive& archive, std::string_view label) {
  std::string prefix;
  int found = 0;
  for (const auto& entry : archive.members()) {
    const std::string_view name = entry.first;
    if (name != kPickleName && !name.ends_with("/" + std::string(kPickleName))) continue;
    prefix = name.substr(0, name.size() - kPickleName.size());
    ++found;
  }
  if (found == 0) FailWeights(label, "is a zip file but no torch.save file: it has no data.pkl");
  if (found > 1) FailWeights(label, "has more than one data.pkl");
  return prefix;
}

void RefuseOtherFormats(std::span<const std::byte> bytes, std::string_view label) {
  // The legacy format starts with a pickle of the integer 0x1950a86a20f9469cfc6c.
  constexpr unsigned char kLegacy[] = {0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};
  if (bytes.size() >= 2 + sizeof(kLegacy) && std::memcmp(bytes.data() + 2, kLegacy, sizeof(kLegacy)) == 0) {
    FailWeights(label, "is in torch.save's format from before PyTorch 1.6: load and save it again with a newer one");
  }
  if (bytes.size() < 4 || std::memcmp(bytes.data(), "PK", 2) != 0) {
    FailWeights(label, "is not a torch.save file: it does not start as a zip file");
  }
}

}  // namespace

std::shared_ptr<const TorchCheckpoint> TorchCheckpoint::Open(const std::filesystem::path& path, TorchOptions options) {
  std::shared_ptr<TorchCheckpoint> result(new TorchCheckpoint());
  result->label_ = path.string();
  result->file_ = std::make_unique<MappedFile>(path);
  result->parse(result->file_->bytes(), options);
  return result;
}

std::shared_ptr<const TorchCheckpoint> TorchCheckpoint::Parse(std::span<const std::byte> bytes, std::string label,
                                                              TorchOptions options) {
  std::shared_ptr<TorchCheckpoint> result(new TorchCheckpoint());
  result->label_ = std::move(label);
  result->parse(bytes, options);
  return result;
}

void TorchCheckpoint::parse(std::span<const std::byte> bytes, TorchOptions options) {
  RefuseOtherFormats(bytes, label_);
  const ZipArchive archive(bytes, label_);
  const std::string prefix = FindPrefix(archive, label_);
  const ZipMember* order = archive.find(prefix + "byteorder");
  if (order != nullptr &&
      std::string_view(reinterpret_cast<const char*>(order->data.data()), order->data.size()) != "little") {
    FailWeights(label_, "was written on a big-endian machine");
  }
  std::set<const ZipMember*> checked;
  const auto checkCrc = [&](const ZipMember& member, std::string_view name) {
    if (!options.checkCrc || !checked.insert(&member).second) return;
    if (Crc32(member.data) != member.crc32) {
      FailWeights(label_, "member " + Quoted(name) + " does not have the checksum the archive states: damaged");
    }
  };

  const std::string pickleName = prefix + std::string(kPickleName);
  const ZipMember& pickle = *archive.find(pickleName);
  checkCrc(pickle, pickleName);
  PickledState state = Unpickle(pickle.data, label_);
  singleTensor_ = state.singleTensor;
  for (const std::string& other : state.others) unusable_.emplace(other, "is not a tensor");

  std::uint64_t copiedBytes = 0;
  for (auto& [name, tensor] : state.tensors) {
    const std::string who = "tensor " + Quoted(name);
    const std::string storageName = prefix + "data/" + tensor.storageKey;
    const ZipMember* storage = archive.find(storageName);
    if (storage == nullptr)
      FailWeights(label_, who + " needs the storage " + Quoted(storageName) + ", which is missing");
    std::int64_t storageBytes = 0;
    if (__builtin_mul_overflow(tensor.storageElements, tensor.elementBytes, &storageBytes) ||
        static_cast<std::uint64_t>(storageBytes) != storage->data.size()) {
      FailWeights(label_, who + " needs a storage of " + std::to_string(tensor.storageElements) + " x " +
                              std::to_string(tensor.elementBytes) + " bytes; " + Quoted(storageName) + " has " +
                              std::to_string(storage->data.size()));
    }
    const auto elements = CheckedBytes(DType::U8, tensor.shape);
    const auto span = SpanElements(tensor);
    if (!elements || !span || tensor.offset > tensor.storageElements ||
        *span > tensor.storageElements - tensor.offset) {
      FailWeights(label_, who + " " + ShapeText(tensor.shape) + " reaches beyond its storage");
    }
    if (!tensor.dtype) {
      unusable_.emplace(name, "has type torch." + tensor.storageType);
      continue;
    }
    checkCrc(*storage, storageName);

    const auto size = static_cast<std::size_t>(*elements) * DTypeSize(*tensor.dtype);
    std::span<const std::byte> data;
    if (IsContiguous(tensor)) {
      data = storage->data.subspan(static_cast<std::size_t>(tensor.offset) * DTypeSize(*tensor.dtype), size);
    } else {
      // A permutation has no more elements than it spans; more means that elements repeat.
      if (*elements > static_cast<std::uint64_t>(*span)) FailWeights(label_, who + " repeats elements of its storage");
      copiedBytes += size;
      if (copiedBytes > bytes.size()) FailWeights(label_, "has more strided tensors than the file has bytes");
      copies_.push_back(CopyRowMajor(tensor, storage->data, size));
      data = copies_.back();
    }
    const auto [place, added] = tensors_.try_emplace(std::move(name));
    (void)added;  // the unpickler refuses a key that occurs twice
    place->second = {place->first, *tensor.dtype, std::move(tensor.shape), data};
  }
}

const TensorView* TorchCheckpoint::find(std::string_view name) const {
  const auto place = tensors_.find(name);
  return place == tensors_.end() ? nullptr : &place->second;
}

std::vector<std::string_view> TorchCheckpoint::names() const {
  std::vector<std::string_view> names;
  names.reserve(tensors_.size());
  for (const auto& tensor : tensors_) names.push_back(tensor.first);
  return names;
}

std::string_view TorchCheckpoint::unusable(std::string_view name) const {
  const auto place = unusable_.find(name);
  return place == unusable_.end() ? std::string_view{} : std::string_view(place->second);
}

}  // namespace flashvsr
