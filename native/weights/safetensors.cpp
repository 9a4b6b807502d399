#include "weights/safetensors.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "weights/fail.h"
#include "weights/json.h"

namespace flashvsr {

namespace {

constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kMaxRank = 16;
constexpr std::size_t kAlignment = 64;

// Every type the format knows, with its bits: those without a DType are checked for size all the same, so that the
// reason given for a bad file is the true one.
struct FormatType {
  std::string_view name;
  std::uint64_t bits;
  std::optional<DType> dtype;
};
constexpr FormatType kFormatTypes[] = {
    {"F32", 32, DType::F32}, {"F16", 16, DType::F16}, {"BF16", 16, DType::BF16}, {"U8", 8, DType::U8},
    {"F64", 64, {}},         {"I64", 64, {}},         {"U64", 64, {}},           {"I32", 32, {}},
    {"U32", 32, {}},         {"I16", 16, {}},         {"U16", 16, {}},           {"I8", 8, {}},
    {"BOOL", 8, {}},         {"F8_E4M3", 8, {}},      {"F8_E5M2", 8, {}},        {"C64", 64, {}},
};

struct HeaderEntry {
  std::string name;
  const FormatType* type = nullptr;
  std::vector<std::int64_t> shape;
  std::int64_t begin = -1;
  std::int64_t end = -1;
};

std::vector<std::int64_t> ReadIntegers(JsonReader& json, std::size_t limit) {
  std::vector<std::int64_t> values;
  json.expect('[');
  if (json.accept(']')) return values;
  do {
    if (values.size() == limit) json.fail("list with more than " + std::to_string(limit) + " numbers");
    values.push_back(json.unsignedInteger());
  } while (json.accept(','));
  json.expect(']');
  return values;
}

HeaderEntry ReadEntry(JsonReader& json, std::string name) {
  HeaderEntry entry;
  entry.name = std::move(name);
  bool hasShape = false;
  json.expect('{');
  do {
    const std::string key = json.string();
    json.expect(':');
    if (key == "dtype" && entry.type == nullptr) {
      const std::string type = json.string();
      const auto* known = std::find_if(std::begin(kFormatTypes), std::end(kFormatTypes),
                                       [&](const FormatType& candidate) { return candidate.name == type; });
      if (known == std::end(kFormatTypes)) json.fail("unknown type " + Quoted(type) + " of " + Quoted(entry.name));
      entry.type = known;
    } else if (key == "shape" && !hasShape) {
      entry.shape = ReadIntegers(json, kMaxRank);
      hasShape = true;
    } else if (key == "data_offsets" && entry.begin < 0) {
      const auto offsets = ReadIntegers(json, 2);
      if (offsets.size() != 2) json.fail("data_offsets of " + Quoted(entry.name) + " are not two numbers");
      entry.begin = offsets[0];
      entry.end = offsets[1];
    } else {
      json.fail("unexpected or repeated key " + Quoted(key) + " of " + Quoted(entry.name));
    }
  } while (json.accept(','));
  json.expect('}');
  if (entry.type == nullptr || !hasShape || entry.begin < 0) {
    json.fail("tensor " + Quoted(entry.name) + " lacks dtype, shape or data_offsets");
  }
  return entry;
}

std::optional<std::uint64_t> EntryBytes(const HeaderEntry& entry) {
  const auto elements = CheckedBytes(DType::U8, entry.shape);
  std::uint64_t bits = 0;
  if (!elements || __builtin_mul_overflow(*elements, entry.type->bits, &bits)) return std::nullopt;
  return bits / 8;
}

}  // namespace

std::shared_ptr<const SafetensorsFile> SafetensorsFile::Open(const std::filesystem::path& path) {
  std::shared_ptr<SafetensorsFile> result(new SafetensorsFile());
  result->label_ = path.string();
  result->file_ = std::make_unique<MappedFile>(path);
  result->parse(result->file_->bytes());
  return result;
}

std::shared_ptr<const SafetensorsFile> SafetensorsFile::Parse(std::span<const std::byte> bytes, std::string label) {
  std::shared_ptr<SafetensorsFile> result(new SafetensorsFile());
  result->label_ = std::move(label);
  result->parse(bytes);
  return result;
}

void SafetensorsFile::parse(std::span<const std::byte> bytes) {
  if (bytes.size() < kLengthBytes + 2) FailWeights(label_, "is too short to be a safetensors file");
  std::uint64_t headerBytes = 0;
  std::memcpy(&headerBytes, bytes.data(), kLengthBytes);
  const std::string_view rest(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, bytes.size() - kLengthBytes);
  if (rest[0] != '{') FailWeights(label_, "is not a safetensors file: no header after the first 8 bytes");
  if (headerBytes > kMaxHeaderBytes) {
    FailWeights(label_, "claims a header of " + std::to_string(headerBytes) + " bytes; the format allows " +
                            std::to_string(kMaxHeaderBytes));
  }
  if (headerBytes > rest.size()) {
    FailWeights(label_, "is truncated: the header needs " + std::to_string(headerBytes) + " bytes, the file has " +
                            std::to_string(rest.size()));
  }

  JsonReader json(rest.substr(0, headerBytes), label_);
  std::vector<HeaderEntry> entries;
  std::set<std::string, std::less<>> seen;
  json.expect('{');
  if (!json.accept('}')) {
    do {
      std::string name = json.string();
      json.expect(':');
      if (!seen.insert(name).second) json.fail("name " + Quoted(name) + " occurs twice");
      if (name != "__metadata__") {
        entries.push_back(ReadEntry(json, std::move(name)));
        continue;
      }
      json.expect('{');
      if (json.accept('}')) continue;
      do {
        std::string key = json.string();
        json.expect(':');
        if (!metadata_.emplace(std::move(key), json.string()).second) json.fail("a metadata key occurs twice");
      } while (json.accept(','));
      json.expect('}');
    } while (json.accept(','));
    json.expect('}');
  }
  json.end();

  const std::span<const std::byte> data = bytes.subspan(kLengthBytes + headerBytes);
  std::sort(entries.begin(), entries.end(), [](const HeaderEntry& left, const HeaderEntry& right) {
    return std::pair(left.begin, left.end) < std::pair(right.begin, right.end);
  });
  std::int64_t covered = 0;
  for (HeaderEntry& entry : entries) {
    const std::string where = "tensor " + Quoted(entry.name) + " at bytes " + std::to_string(entry.begin) + " to " +
                              std::to_string(entry.end);
    const auto size = EntryBytes(entry);
    if (entry.end < entry.begin || !size || *size != static_cast<std::uint64_t>(entry.end - entry.begin)) {
      FailWeights(label_, where + " does not fit its shape " + ShapeText(entry.shape) + " of type " +
                              std::string(entry.type->name));
    }
    if (static_cast<std::uint64_t>(entry.end) > data.size()) {
      FailWeights(label_, where + " lies beyond the end of the file (" + std::to_string(data.size()) +
                              " bytes of data): truncated");
    }
    if (entry.begin < covered) FailWeights(label_, where + " overlaps another tensor");
    if (entry.begin > covered) FailWeights(label_, where + " leaves a gap after byte " + std::to_string(covered));
    covered = entry.end;
    if (!entry.type->dtype) {
      unusable_.emplace(std::move(entry.name), "has type " + std::string(entry.type->name));
      continue;
    }
    const auto begin = static_cast<std::size_t>(entry.begin);
    const auto [place, added] = tensors_.try_emplace(std::move(entry.name));
    (void)added;  // names were checked to be unique
    place->second = {place->first, *entry.type->dtype, std::move(entry.shape), data.subspan(begin, *size)};
  }
  if (static_cast<std::uint64_t>(covered) != data.size()) {
    FailWeights(label_, "has " + std::to_string(data.size() - static_cast<std::size_t>(covered)) +
                            " bytes after the last tensor");
  }
}

const TensorView* SafetensorsFile::find(std::string_view name) const {
  const auto place = tensors_.find(name);
  return place == tensors_.end() ? nullptr : &place->second;
}

std::vector<std::string_view> SafetensorsFile::names() const {
  std::vector<std::string_view> names;
  names.reserve(tensors_.size());
  for (const auto& tensor : tensors_) names.push_back(tensor.first);
  return names;
}

std::string_view SafetensorsFile::unusable(std::string_view name) const {
  const auto place = unusable_.find(name);
  return place == unusable_.end() ? std::string_view{} : std::string_view(place->second);
}

std::optional<std::string> SafetensorsFile::metadata(std::string_view key) const {
  const auto place = metadata_.find(key);
  if (place == metadata_.end()) return std::nullopt;
  return place->second;
}

std::string SafetensorsHeader(std::span<const SafetensorsEntry> entries,
                              const std::map<std::string, std::string>& metadata) {
  std::string json = "{\"__metadata__\":{";
  bool first = true;
  for (const auto& [key, value] : metadata) {
    if (!first) json += ',';
    first = false;
    json += JsonString(key) + ":" + JsonString(value);
  }
  json += '}';
  std::set<std::string_view> seen;
  std::uint64_t offset = 0;
  for (const SafetensorsEntry& entry : entries) {
    const auto bytes = CheckedBytes(entry.dtype, entry.shape);
    if (!bytes || entry.name == "__metadata__" || !seen.insert(entry.name).second) {
      FailWeights("", "tensor " + Quoted(entry.name) + " cannot be written: its name occurs twice or its shape is bad");
    }
    json += "," + JsonString(entry.name) + ":{\"dtype\":\"" + std::string(DTypeName(entry.dtype)) + "\",\"shape\":[";
    for (std::size_t axis = 0; axis < entry.shape.size(); ++axis) {
      if (axis > 0) json += ',';
      json += std::to_string(entry.shape[axis]);
    }
    json += "],\"data_offsets\":[" + std::to_string(offset) + "," + std::to_string(offset + *bytes) + "]}";
    offset += *bytes;
  }
  json += '}';
  json.append((kAlignment - (kLengthBytes + json.size()) % kAlignment) % kAlignment, ' ');
  const std::uint64_t length = json.size();
  std::string header(reinterpret_cast<const char*>(&length), kLengthBytes);
  return header + json;
}

}  // namespace flashvsr
