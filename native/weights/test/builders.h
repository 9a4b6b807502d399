// Weight files made in memory, good and bad: a zip writer that can lie in every field, a pickle assembler, and a
// safetensors writer that takes any header text.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "weights/tensor_source.h"
#include "weights/zip_archive.h"

namespace flashvsr::test {

inline std::span<const std::byte> Bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

template <typename T>
void PutNumber(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

// 8 length bytes, header, data. `headerBytes` >= 0 lies about the length.
inline std::string Safetensors(std::string_view header, std::string_view data, std::int64_t headerBytes = -1) {
  std::string file;
  PutNumber<std::uint64_t>(file, headerBytes < 0 ? header.size() : static_cast<std::uint64_t>(headerBytes));
  file += header;
  file += data;
  return file;
}

struct ZipItem {
  std::string name;
  std::string data;
  std::uint16_t method = 0;
  std::uint16_t flags = 0x0808;  // as torch writes: sizes in a data descriptor, UTF-8 names
  bool zip64 = false;            // directory entry with 64-bit fields
  std::int64_t claimedBytes = -1;
  std::int64_t claimedStoredBytes = -1;
  std::int64_t claimedOffset = -1;
  bool wrongCrc = false;
  std::string localName{};  // when not empty: another name in the local header
};

struct ZipForm {
  bool end64 = false;  // Zip64 end record and locator
  std::int64_t claimedMembers = -1;
  std::int64_t claimedDirectoryOffset = -1;
  std::string comment{};
};

inline std::string Zip(const std::vector<ZipItem>& items, const ZipForm& form = {}) {
  std::string file;
  std::string directory;
  for (const ZipItem& item : items) {
    const std::uint64_t offset = file.size();
    const std::string& localName = item.localName.empty() ? item.name : item.localName;
    const std::uint32_t crc = Crc32(Bytes(item.data)) ^ (item.wrongCrc ? 1u : 0u);
    PutNumber<std::uint32_t>(file, 0x04034b50);
    PutNumber<std::uint16_t>(file, 0);
    PutNumber<std::uint16_t>(file, item.flags);
    PutNumber<std::uint16_t>(file, item.method);
    PutNumber<std::uint32_t>(file, 0);
    PutNumber<std::uint32_t>(file, 0);
    PutNumber<std::uint64_t>(file, 0);
    PutNumber<std::uint16_t>(file, static_cast<std::uint16_t>(localName.size()));
    // torch pads with an extra field so that storages start at multiples of 64.
    const std::size_t start = file.size() + 2 + localName.size() + 4;
    const std::size_t padding = (64 - start % 64) % 64;
    PutNumber<std::uint16_t>(file, static_cast<std::uint16_t>(4 + padding));
    file += localName;
    file += "FB";
    PutNumber<std::uint16_t>(file, static_cast<std::uint16_t>(padding));
    file.append(padding, 'Z');
    file += item.data;

    const auto pick = [](std::int64_t claimed, std::uint64_t actual) {
      return claimed < 0 ? actual : static_cast<std::uint64_t>(claimed);
    };
    const std::uint64_t bytes = pick(item.claimedBytes, item.data.size());
    const std::uint64_t stored = pick(item.claimedStoredBytes, item.data.size());
    const std::uint64_t place = pick(item.claimedOffset, offset);
    PutNumber<std::uint32_t>(directory, 0x02014b50);
    PutNumber<std::uint32_t>(directory, 0);
    PutNumber<std::uint16_t>(directory, item.flags);
    PutNumber<std::uint16_t>(directory, item.method);
    PutNumber<std::uint32_t>(directory, 0);
    PutNumber<std::uint32_t>(directory, crc);
    PutNumber<std::uint32_t>(directory, item.zip64 ? 0xffffffffu : static_cast<std::uint32_t>(stored));
    PutNumber<std::uint32_t>(directory, item.zip64 ? 0xffffffffu : static_cast<std::uint32_t>(bytes));
    PutNumber<std::uint16_t>(directory, static_cast<std::uint16_t>(item.name.size()));
    PutNumber<std::uint16_t>(directory, item.zip64 ? 28 : 0);
    PutNumber<std::uint16_t>(directory, 0);
    PutNumber<std::uint64_t>(directory, 0);
    PutNumber<std::uint32_t>(directory, item.zip64 ? 0xffffffffu : static_cast<std::uint32_t>(place));
    directory += item.name;
    if (item.zip64) {
      PutNumber<std::uint16_t>(directory, 1);
      PutNumber<std::uint16_t>(directory, 24);
      PutNumber<std::uint64_t>(directory, bytes);
      PutNumber<std::uint64_t>(directory, stored);
      PutNumber<std::uint64_t>(directory, place);
    }
  }
  const std::uint64_t directoryOffset =
      form.claimedDirectoryOffset < 0 ? file.size() : static_cast<std::uint64_t>(form.claimedDirectoryOffset);
  const std::uint64_t members =
      form.claimedMembers < 0 ? items.size() : static_cast<std::uint64_t>(form.claimedMembers);
  file += directory;
  if (form.end64) {
    const std::uint64_t end64 = file.size();
    PutNumber<std::uint32_t>(file, 0x06064b50);
    PutNumber<std::uint64_t>(file, 44);
    PutNumber<std::uint32_t>(file, 0);
    PutNumber<std::uint64_t>(file, 0);
    PutNumber<std::uint64_t>(file, members);
    PutNumber<std::uint64_t>(file, members);
    PutNumber<std::uint64_t>(file, directory.size());
    PutNumber<std::uint64_t>(file, directoryOffset);
    PutNumber<std::uint32_t>(file, 0x07064b50);
    PutNumber<std::uint32_t>(file, 0);
    PutNumber<std::uint64_t>(file, end64);
    PutNumber<std::uint32_t>(file, 1);
  }
  PutNumber<std::uint32_t>(file, 0x06054b50);
  PutNumber<std::uint32_t>(file, 0);
  for (int disk = 0; disk < 2; ++disk) {
    PutNumber<std::uint16_t>(file, form.end64 ? 0xffff : static_cast<std::uint16_t>(members));
  }
  PutNumber<std::uint32_t>(file, form.end64 ? 0xffffffffu : static_cast<std::uint32_t>(directory.size()));
  PutNumber<std::uint32_t>(file, form.end64 ? 0xffffffffu : static_cast<std::uint32_t>(directoryOffset));
  PutNumber<std::uint16_t>(file, static_cast<std::uint16_t>(form.comment.size()));
  return file + form.comment;
}

// Pickle opcodes as torch.save (protocol 2) writes them.
class Pickle {
 public:
  Pickle() { raw(std::string_view("\x80\x02", 2)); }

  Pickle& raw(std::string_view bytes) {
    text_ += bytes;
    return *this;
  }
  Pickle& unicode(std::string_view value) {
    text_ += 'X';
    PutNumber<std::uint32_t>(text_, static_cast<std::uint32_t>(value.size()));
    return raw(value);
  }
  Pickle& integer(std::int64_t value) {
    if (value >= INT32_MIN && value <= INT32_MAX) {
      text_ += 'J';
      PutNumber<std::int32_t>(text_, static_cast<std::int32_t>(value));
    } else {
      text_ += "\x8a\x08";
      PutNumber<std::int64_t>(text_, value);
    }
    return *this;
  }
  Pickle& global(std::string_view module, std::string_view name) {
    return raw("c").raw(module).raw("\n").raw(name).raw("\n");
  }
  Pickle& integers(const std::vector<std::int64_t>& values) {
    raw("(");
    for (const std::int64_t value : values) integer(value);
    return raw("t");
  }
  Pickle& tensor(std::string_view storageType, std::string_view key, std::int64_t storageElements, std::int64_t offset,
                 const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& strides) {
    global("torch._utils", "_rebuild_tensor_v2").raw("((").unicode("storage").global("torch", storageType);
    unicode(key).unicode("cpu").integer(storageElements).raw("tQ").integer(offset).integers(shape).integers(strides);
    return raw("\x89").global("collections", "OrderedDict").raw(")RtR");
  }
  std::string end() { return text_ + "."; }

 private:
  std::string text_;
};

inline std::vector<std::int64_t> RowMajorStrides(const std::vector<std::int64_t>& shape) {
  std::vector<std::int64_t> strides(shape.size(), 1);
  for (std::size_t axis = shape.size(); axis-- > 1;) strides[axis - 1] = strides[axis] * shape[axis];
  return strides;
}

inline std::string_view StorageName(DType dtype) {
  return dtype == DType::F32 ? "FloatStorage" : dtype == DType::F16 ? "HalfStorage" : "BFloat16Storage";
}

inline std::string_view DataText(const TensorView& view) {
  return {reinterpret_cast<const char*>(view.data.data()), view.data.size()};
}

// A state dict the way torch.save writes a module's: an OrderedDict with its `_metadata` when `ordered`, else a plain
// dict.
inline std::string TorchFile(const TensorSource& source, bool ordered, const std::string& namePrefix = "",
                             const std::string& stem = "archive") {
  Pickle pickle;
  std::vector<ZipItem> items(1);
  if (ordered) {
    pickle.global("collections", "OrderedDict").raw(")R(");
  } else {
    pickle.raw("}(");
  }
  for (const std::string_view name : source.names()) {
    const TensorView& view = *source.find(name);
    const std::string key = std::to_string(items.size() - 1);
    pickle.unicode(namePrefix + std::string(name));
    pickle.tensor(StorageName(view.dtype), key, view.elements(), 0, view.shape, RowMajorStrides(view.shape));
    items.push_back({.name = stem + "/data/" + key, .data = std::string(DataText(view))});
  }
  pickle.raw("u");
  if (ordered) {
    pickle.raw("}").unicode("_metadata").global("collections", "OrderedDict").raw(")R");
    pickle.unicode("").raw("}").unicode("version").raw("K\x01sssb");
  }
  items[0] = {.name = stem + "/data.pkl", .data = pickle.end()};
  items.push_back({.name = stem + "/version", .data = "3\n"});
  return Zip(items);
}

inline std::string TorchTensorFile(const TensorView& view, const std::string& stem = "archive") {
  Pickle pickle;
  pickle.tensor(StorageName(view.dtype), "0", view.elements(), 0, view.shape, RowMajorStrides(view.shape));
  return Zip({{.name = stem + "/data.pkl", .data = pickle.end()},
              {.name = stem + "/data/0", .data = std::string(DataText(view))},
              {.name = stem + "/version", .data = "3\n"}});
}

}  // namespace flashvsr::test
