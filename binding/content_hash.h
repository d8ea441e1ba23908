// A 128-bit hash of content, to recognise what was computed before. Not against somebody who wants a collision.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>

namespace torchgraft {

class ContentHash {
 public:
  void add(const void* data, size_t size) {
    const auto* bytes = static_cast<const unsigned char*>(data);
    mix(size);
    for (; size >= 8; bytes += 8, size -= 8) {
      uint64_t word;
      std::memcpy(&word, bytes, 8);
      mix(word);
    }
    uint64_t rest = 0;
    std::memcpy(&rest, bytes, size);
    mix(rest);
  }
  void add(const std::string& text) { add(text.data(), text.size()); }

  // 32 hexadecimal digits.
  std::string hex() const {
    static const char* digits = "0123456789abcdef";
    std::string text;
    for (uint64_t lane : {finish(a_ ^ (b_ >> 1)), finish(b_ + a_)}) {
      for (int shift = 60; shift >= 0; shift -= 4) text += digits[(lane >> shift) & 15];
    }
    return text;
  }

 private:
  // Two lanes with different odd constants (those of xxHash), each a multiplication and a rotation a word.
  void mix(uint64_t word) {
    a_ = rotate((a_ ^ word) * 0x9E3779B185EBCA87ULL, 29);
    b_ = rotate((b_ + word) * 0xC2B2AE3D27D4EB4FULL, 31) ^ word;
  }
  static uint64_t rotate(uint64_t value, int bits) { return (value << bits) | (value >> (64 - bits)); }
  // The finaliser of SplitMix64 (Steele et al., 2014).
  static uint64_t finish(uint64_t value) {
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9ULL;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBULL;
    return value ^ (value >> 31);
  }

  uint64_t a_ = 0x27D4EB2F165667C5ULL;
  uint64_t b_ = 0x165667B19E3779F9ULL;
};

}  // namespace torchgraft
