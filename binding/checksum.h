// XXH64, the 64-bit checksum of the xxHash family (its specification, version 0.1.1), of bytes that lie together: about
// as fast as memory, and no single flipped bit or cleared page goes unseen. Words are read in the machine's byte order.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace torchgraft {

namespace checksum_detail {

inline constexpr uint64_t p1 = 0x9E3779B185EBCA87ULL;
inline constexpr uint64_t p2 = 0xC2B2AE3D27D4EB4FULL;
inline constexpr uint64_t p3 = 0x165667B19E3779F9ULL;
inline constexpr uint64_t p4 = 0x85EBCA77C2B2AE63ULL;
inline constexpr uint64_t p5 = 0x27D4EB2F165667C5ULL;

template <typename Word>
Word load(const uint8_t* at) {
  Word word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

inline uint64_t absorb(uint64_t lane, uint64_t word) { return std::rotl(lane + word * p2, 31) * p1; }

inline uint64_t merge(uint64_t hash, uint64_t lane) { return (hash ^ absorb(0, lane)) * p1 + p4; }

// The four lanes over all whole blocks of 32 bytes, of which there is at least one; moves `at` behind them.
inline uint64_t absorbBlocks(const uint8_t*& at, const uint8_t* end, uint64_t seed) {
  uint64_t a = seed + p1 + p2, b = seed + p2, c = seed, d = seed - p1;
  for (; end - at >= 32; at += 32) {
    a = absorb(a, load<uint64_t>(at));
    b = absorb(b, load<uint64_t>(at + 8));
    c = absorb(c, load<uint64_t>(at + 16));
    d = absorb(d, load<uint64_t>(at + 24));
  }
  const uint64_t hash = std::rotl(a, 1) + std::rotl(b, 7) + std::rotl(c, 12) + std::rotl(d, 18);
  return merge(merge(merge(merge(hash, a), b), c), d);
}

}  // namespace checksum_detail

inline uint64_t checksum64(const void* data, size_t length, uint64_t seed) {
  using namespace checksum_detail;
  const uint8_t* at = static_cast<const uint8_t*>(data);
  const uint8_t* const end = at + length;
  uint64_t hash = (length >= 32 ? absorbBlocks(at, end, seed) : seed + p5) + length;
  for (; end - at >= 8; at += 8) hash = std::rotl(hash ^ absorb(0, load<uint64_t>(at)), 27) * p1 + p4;
  for (; end - at >= 4; at += 4) hash = std::rotl(hash ^ (load<uint32_t>(at) * p1), 23) * p2 + p3;
  for (; at < end; ++at) hash = std::rotl(hash ^ (*at * p5), 11) * p1;
  hash = (hash ^ (hash >> 33)) * p2;
  hash = (hash ^ (hash >> 29)) * p3;
  return hash ^ (hash >> 32);
}

}  // namespace torchgraft
