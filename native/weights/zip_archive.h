// The directory of a zip file whose members are stored without compression: what torch.save writes (PKWARE
// APPNOTE 6.3.x, with Zip64, section 4.3.14). Nothing is ever inflated: a compressed member is refused, so no member
// can be larger than the file itself and a zip bomb has nothing to explode.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

namespace flashvsr {

struct ZipMember {
  std::span<const std::byte> data;
  std::uint32_t crc32 = 0;  // as the directory claims
};

// Checks the whole directory when constructed: every local header agrees with it, every member lies inside the file, no
// two overlap, no name occurs twice. Throws flashvsr::Error.
class ZipArchive {
 public:
  static constexpr std::uint64_t kMaxMembers = 200'000;
  static constexpr std::uint64_t kMaxNameBytes = 1024;

  // `bytes` must outlive the archive; `label` names the file in errors.
  ZipArchive(std::span<const std::byte> bytes, std::string_view label);

  // nullptr when there is none.
  const ZipMember* find(std::string_view name) const;
  const std::map<std::string, ZipMember, std::less<>>& members() const { return members_; }

 private:
  std::map<std::string, ZipMember, std::less<>> members_;
};

// CRC-32 (ISO 3309, as zip uses it).
std::uint32_t Crc32(std::span<const std::byte> bytes);

}  // namespace flashvsr
