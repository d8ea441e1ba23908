#include "exif.h"

#include <cstring>

namespace torchgraft {

namespace {

// Reads past the end are 0, which no field means.
class Tiff {
 public:
  Tiff(const uint8_t* bytes, size_t length) : bytes_(bytes), length_(length), little_(length > 0 && bytes[0] == 'I') {}

  uint32_t number(size_t at, size_t size) const {
    if (at > length_ || length_ - at < size) return 0;
    uint32_t value = 0;
    for (size_t i = 0; i < size; ++i) value |= uint32_t{bytes_[at + i]} << 8 * (little_ ? i : size - 1 - i);
    return value;
  }

 private:
  const uint8_t* bytes_;
  size_t length_;
  bool little_;
};

constexpr char kName[] = "Exif\0";
constexpr uint32_t kOrientation = 0x0112;
constexpr uint32_t kShort = 3;

}  // namespace

int exifOrientation(const uint8_t* bytes, size_t length) {
  if (length < sizeof kName || std::memcmp(bytes, kName, sizeof kName) != 0) return 1;
  const Tiff tiff(bytes + sizeof kName, length - sizeof kName);
  const size_t directory = tiff.number(4, 4);
  const uint32_t entries = tiff.number(directory, 2);
  for (uint32_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + i * 12;
    if (tiff.number(entry, 2) != kOrientation || tiff.number(entry + 2, 2) != kShort) continue;
    const uint32_t orientation = tiff.number(entry + 8, 2);
    return orientation >= 1 && orientation <= 8 ? static_cast<int>(orientation) : 1;
  }
  return 1;
}

}  // namespace torchgraft
