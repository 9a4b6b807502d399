#include "weights/zip_archive.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "weights/fail.h"

namespace flashvsr {

namespace {

constexpr std::uint32_t kEndSignature = 0x06054b50;
constexpr std::uint32_t kEnd64LocatorSignature = 0x07064b50;
constexpr std::uint32_t kEnd64Signature = 0x06064b50;
constexpr std::uint32_t kDirectorySignature = 0x02014b50;
constexpr std::uint32_t kLocalSignature = 0x04034b50;
constexpr std::size_t kEndBytes = 22;
constexpr std::size_t kEnd64LocatorBytes = 20;
constexpr std::size_t kEnd64Bytes = 56;
constexpr std::size_t kDirectoryEntryBytes = 46;
constexpr std::size_t kLocalHeaderBytes = 30;
constexpr std::size_t kMaxCommentBytes = 65535;
constexpr std::uint16_t kZip64ExtraId = 1;
constexpr std::uint16_t kFlagEncrypted = 1;

// Reads little-endian fields inside one span; every read is checked.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, std::uint64_t at, std::string_view label, std::string_view what)
      : bytes_(bytes),
        at_(at),
        label_(label),
        what_(what) {
    if (at > bytes.size()) truncated();
  }
  template <typename T>
  T take() {
    T value;
    std::memcpy(&value, range(sizeof(T)).data(), sizeof(T));
    return value;
  }
  std::span<const std::byte> range(std::uint64_t length) {
    if (length > bytes_.size() - at_) truncated();
    const auto part = bytes_.subspan(at_, length);
    at_ += length;
    return part;
  }
  void skip(std::uint64_t length) { range(length); }
  std::uint64_t at() const { return at_; }

 private:
  [[noreturn]] void truncated() const { FailWeights(label_, "is truncated or damaged: " + std::string(what_)); }

  std::span<const std::byte> bytes_;
  std::uint64_t at_;
  std::string_view label_;
  std::string_view what_;
};

struct DirectoryPlace {
  std::uint64_t members = 0;
  std::uint64_t bytes = 0;
  std::uint64_t offset = 0;
};

// The end record is the last thing in the file but for a comment of at most 64 KiB.
std::size_t FindEnd(std::span<const std::byte> bytes, std::string_view label) {
  if (bytes.size() >= kEndBytes) {
    const std::size_t last = bytes.size() - kEndBytes;
    const std::size_t first = last > kMaxCommentBytes ? last - kMaxCommentBytes : 0;
    for (std::size_t at = last + 1; at-- > first;) {
      Cursor cursor(bytes, at, label, "end record");
      if (cursor.take<std::uint32_t>() != kEndSignature) continue;
      cursor.skip(16);
      if (cursor.take<std::uint16_t>() == bytes.size() - at - kEndBytes) return at;
    }
  }
  FailWeights(label, "has no zip directory at its end: truncated, or not a torch.save file");
}

DirectoryPlace FindDirectory(std::span<const std::byte> bytes, std::string_view label) {
  const std::size_t end = FindEnd(bytes, label);
  Cursor cursor(bytes, end + 4, label, "end record");
  const auto disk = cursor.take<std::uint16_t>();
  const auto directoryDisk = cursor.take<std::uint16_t>();
  const auto diskMembers = cursor.take<std::uint16_t>();
  DirectoryPlace place;
  place.members = cursor.take<std::uint16_t>();
  place.bytes = cursor.take<std::uint32_t>();
  place.offset = cursor.take<std::uint32_t>();
  std::uint64_t limit = end;

  const bool wants64 = place.members == 0xffff || place.bytes == 0xffffffff || place.offset == 0xffffffff;
  bool has64 = false;
  if (end >= kEnd64LocatorBytes) {
    Cursor locator(bytes, end - kEnd64LocatorBytes, label, "Zip64 locator");
    if (locator.take<std::uint32_t>() == kEnd64LocatorSignature) {
      has64 = true;
      if (locator.take<std::uint32_t>() != 0) FailWeights(label, "is one part of a divided zip archive");
      const auto end64 = locator.take<std::uint64_t>();
      limit = end - kEnd64LocatorBytes;
      if (end64 > limit || limit - end64 < kEnd64Bytes) FailWeights(label, "has a Zip64 end record out of place");
      Cursor record(bytes, end64, label, "Zip64 end record");
      if (record.take<std::uint32_t>() != kEnd64Signature) FailWeights(label, "has no Zip64 end record");
      record.skip(8 + 2 + 2);
      if (record.take<std::uint32_t>() != 0 || record.take<std::uint32_t>() != 0) {
        FailWeights(label, "is one part of a divided zip archive");
      }
      const auto diskMembers64 = record.take<std::uint64_t>();
      place.members = record.take<std::uint64_t>();
      place.bytes = record.take<std::uint64_t>();
      place.offset = record.take<std::uint64_t>();
      if (diskMembers64 != place.members) FailWeights(label, "is one part of a divided zip archive");
      limit = end64;
    }
  }
  if (wants64 && !has64) FailWeights(label, "needs a Zip64 end record and has none");
  if (!has64 && (disk != 0 || directoryDisk != 0 || diskMembers != place.members)) {
    FailWeights(label, "is one part of a divided zip archive");
  }
  if (place.members > ZipArchive::kMaxMembers) {
    FailWeights(label, "claims " + std::to_string(place.members) + " members; at most " +
                           std::to_string(ZipArchive::kMaxMembers) + " are read");
  }
  if (place.offset > limit || place.bytes > limit - place.offset) {
    FailWeights(label, "has a zip directory that lies outside the file");
  }
  return place;
}

struct DirectoryEntry {
  std::string name;
  std::uint16_t flags = 0;
  std::uint16_t method = 0;
  std::uint32_t crc32 = 0;
  std::uint64_t storedBytes = 0;
  std::uint64_t bytes = 0;
  std::uint64_t localOffset = 0;
};

// APPNOTE 4.5.3: the 64-bit fields are present in this order, each only where the 32-bit one is saturated.
void ReadZip64(std::span<const std::byte> extra, DirectoryEntry& entry, std::string_view label) {
  if (entry.bytes != 0xffffffff && entry.storedBytes != 0xffffffff && entry.localOffset != 0xffffffff) return;
  Cursor cursor(extra, 0, label, "extra field");
  while (cursor.at() + 4 <= extra.size()) {
    const auto id = cursor.take<std::uint16_t>();
    const auto field = cursor.range(cursor.take<std::uint16_t>());
    if (id != kZip64ExtraId) continue;
    Cursor wide(field, 0, label, "Zip64 extra field");
    if (entry.bytes == 0xffffffff) entry.bytes = wide.take<std::uint64_t>();
    if (entry.storedBytes == 0xffffffff) entry.storedBytes = wide.take<std::uint64_t>();
    if (entry.localOffset == 0xffffffff) entry.localOffset = wide.take<std::uint64_t>();
    return;
  }
  FailWeights(label, "member " + Quoted(entry.name) + " needs a Zip64 extra field and has none");
}

std::string_view Text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

DirectoryEntry ReadDirectoryEntry(Cursor& cursor, std::string_view label) {
  if (cursor.take<std::uint32_t>() != kDirectorySignature) FailWeights(label, "has a damaged zip directory");
  DirectoryEntry entry;
  cursor.skip(4);  // versions
  entry.flags = cursor.take<std::uint16_t>();
  entry.method = cursor.take<std::uint16_t>();
  cursor.skip(4);  // time and date
  entry.crc32 = cursor.take<std::uint32_t>();
  entry.storedBytes = cursor.take<std::uint32_t>();
  entry.bytes = cursor.take<std::uint32_t>();
  const auto nameBytes = cursor.take<std::uint16_t>();
  const auto extraBytes = cursor.take<std::uint16_t>();
  const auto commentBytes = cursor.take<std::uint16_t>();
  cursor.skip(2 + 2 + 4);  // disk, attributes
  entry.localOffset = cursor.take<std::uint32_t>();
  if (nameBytes == 0 || nameBytes > ZipArchive::kMaxNameBytes) {
    FailWeights(label, "has a zip member with a name of " + std::to_string(nameBytes) + " bytes");
  }
  entry.name = Text(cursor.range(nameBytes));
  ReadZip64(cursor.range(extraBytes), entry, label);
  cursor.skip(commentBytes);
  return entry;
}

}  // namespace

ZipArchive::ZipArchive(std::span<const std::byte> bytes, std::string_view label) {
  const DirectoryPlace place = FindDirectory(bytes, label);
  const auto directory = bytes.subspan(place.offset, place.bytes);
  struct Extent {
    std::uint64_t begin, end;
  };
  std::vector<Extent> extents;
  Cursor cursor(directory, 0, label, "zip directory");
  for (std::uint64_t index = 0; index < place.members; ++index) {
    DirectoryEntry entry = ReadDirectoryEntry(cursor, label);
    const std::string who = "member " + Quoted(entry.name);
    if (entry.flags & kFlagEncrypted) FailWeights(label, who + " is encrypted");
    if (entry.method != 0) {
      FailWeights(label, who + " is compressed (method " + std::to_string(entry.method) +
                             "); torch.save stores without compression, and nothing is inflated here");
    }
    if (entry.bytes != entry.storedBytes) FailWeights(label, who + " is stored but claims two different sizes");
    if (entry.localOffset > place.offset) FailWeights(label, who + " lies outside the file");

    Cursor local(bytes.first(place.offset), entry.localOffset, label, "local header or data of a zip member");
    if (local.take<std::uint32_t>() != kLocalSignature) FailWeights(label, who + " has no local header");
    local.skip(4);
    if (local.take<std::uint16_t>() != 0) FailWeights(label, who + " is compressed according to its local header");
    local.skip(16);
    const auto nameBytes = local.take<std::uint16_t>();
    const auto extraBytes = local.take<std::uint16_t>();
    if (Text(local.range(nameBytes)) != entry.name) FailWeights(label, who + " has another name in its local header");
    local.skip(extraBytes);
    const ZipMember member{local.range(entry.bytes), entry.crc32};
    extents.push_back({entry.localOffset, local.at()});
    const auto [where, added] = members_.emplace(std::move(entry.name), member);
    if (!added) FailWeights(label, "member " + Quoted(where->first) + " occurs twice");
  }
  if (cursor.at() != directory.size()) FailWeights(label, "has a zip directory longer than its members");
  std::sort(extents.begin(), extents.end(),
            [](const Extent& left, const Extent& right) { return left.begin < right.begin; });
  for (std::size_t index = 1; index < extents.size(); ++index) {
    if (extents[index].begin < extents[index - 1].end) FailWeights(label, "has overlapping zip members");
  }
}

const ZipMember* ZipArchive::find(std::string_view name) const {
  const auto place = members_.find(name);
  return place == members_.end() ? nullptr : &place->second;
}

std::uint32_t Crc32(std::span<const std::byte> bytes) {
  // Eight tables: eight bytes a step, over 1 GB/s, so that checking does not slow loading down.
  using Tables = std::array<std::array<std::uint32_t, 256>, 8>;
  static const Tables tables = [] {
    Tables made{};
    for (std::uint32_t value = 0; value < 256; ++value) {
      std::uint32_t crc = value;
      for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? 0xedb88320u : 0u);
      made[0][value] = crc;
    }
    for (std::size_t table = 1; table < 8; ++table) {
      for (std::size_t value = 0; value < 256; ++value) {
        const std::uint32_t before = made[table - 1][value];
        made[table][value] = (before >> 8) ^ made[0][before & 0xff];
      }
    }
    return made;
  }();
  std::uint32_t crc = 0xffffffffu;
  std::size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) {
    std::uint32_t low = 0, high = 0;
    std::memcpy(&low, bytes.data() + at, 4);
    std::memcpy(&high, bytes.data() + at + 4, 4);
    low ^= crc;
    crc = tables[7][low & 0xff] ^ tables[6][(low >> 8) & 0xff] ^ tables[5][(low >> 16) & 0xff] ^ tables[4][low >> 24] ^
          tables[3][high & 0xff] ^ tables[2][(high >> 8) & 0xff] ^ tables[1][(high >> 16) & 0xff] ^
          tables[0][high >> 24];
  }
  for (; at < bytes.size(); ++at) crc = (crc >> 8) ^ tables[0][(crc ^ static_cast<std::uint32_t>(bytes[at])) & 0xff];
  return ~crc;
}

}  // namespace flashvsr
