#include "crc32.h"

#include <array>
#include <cstring>

#if defined(__x86_64__) && defined(__GNUC__)
#define TORCHGRAFT_FOLDS_CRC
#include <immintrin.h>
#endif

namespace torchgraft::archive {

namespace {

constexpr uint32_t kPolynomial = 0xEDB88320;

using Tables = std::array<std::array<uint32_t, 256>, 8>;

// tables[k][b]: the checksum of byte b with k zero bytes behind it.
constexpr Tables makeTables() {
  Tables tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) value = (value & 1) ? (value >> 1) ^ kPolynomial : value >> 1;
    tables[0][byte] = value;
  }
  for (size_t k = 1; k < tables.size(); ++k) {
    for (size_t byte = 0; byte < 256; ++byte) {
      const uint32_t before = tables[k - 1][byte];
      tables[k][byte] = (before >> 8) ^ tables[0][before & 255];
    }
  }
  return tables;
}

constexpr Tables kTables = makeTables();

// Eight bytes at a time ("slicing by 8", Kounavis and Berry 2005). `state` is the checksum with all bits inverted.
uint32_t byTables(const uint8_t* at, size_t length, uint32_t state) {
  for (; length >= 8; at += 8, length -= 8) {
    const uint32_t low = state ^ (uint32_t{at[0]} | uint32_t{at[1]} << 8 | uint32_t{at[2]} << 16 | uint32_t{at[3]} << 24);
    state = kTables[7][low & 255] ^ kTables[6][low >> 8 & 255] ^ kTables[5][low >> 16 & 255] ^ kTables[4][low >> 24] ^
            kTables[3][at[4]] ^ kTables[2][at[5]] ^ kTables[1][at[6]] ^ kTables[0][at[7]];
  }
  for (; length > 0; ++at, --length) state = (state >> 8) ^ kTables[0][(state ^ *at) & 255];
  return state;
}

#ifdef TORCHGRAFT_FOLDS_CRC

// Carry-less multiplication folds 64 bytes at a time (Gopal et al. 2009, "Fast CRC computation using PCLMULQDQ"). The
// numbers are x^k mod P, reflected, for the distances that are folded over; `length` is a multiple of 16, and 64 at least.
__attribute__((target("pclmul,sse4.1"))) uint32_t byFolding(const uint8_t* at, size_t length, uint32_t state) {
  const auto load = [](const uint8_t* from) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)); };
  const __m128i by64 = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4);
  const __m128i by16 = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
  __m128i lane[4] = {load(at), load(at + 16), load(at + 32), load(at + 48)};
  lane[0] = _mm_xor_si128(lane[0], _mm_cvtsi32_si128(static_cast<int>(state)));
  at += 64;
  length -= 64;
  for (; length >= 64; at += 64, length -= 64) {
    for (int i = 0; i < 4; ++i) {
      const __m128i low = _mm_clmulepi64_si128(lane[i], by64, 0x00);
      const __m128i high = _mm_clmulepi64_si128(lane[i], by64, 0x11);
      lane[i] = _mm_xor_si128(_mm_xor_si128(low, high), load(at + 16 * i));
    }
  }
  __m128i sum = lane[0];
  for (int i = 1; i < 4; ++i) {
    const __m128i low = _mm_clmulepi64_si128(sum, by16, 0x00);
    const __m128i high = _mm_clmulepi64_si128(sum, by16, 0x11);
    sum = _mm_xor_si128(_mm_xor_si128(low, high), lane[i]);
  }
  for (; length >= 16; at += 16, length -= 16) {
    const __m128i low = _mm_clmulepi64_si128(sum, by16, 0x00);
    const __m128i high = _mm_clmulepi64_si128(sum, by16, 0x11);
    sum = _mm_xor_si128(_mm_xor_si128(low, high), load(at));
  }
  // What is left are 16 bytes whose own checksum, begun at 0, is the result.
  alignas(16) uint8_t rest[16];
  _mm_store_si128(reinterpret_cast<__m128i*>(rest), sum);
  return byTables(rest, sizeof rest, 0);
}

bool canFold() {
  static const bool can = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
  return can;
}

#endif

}  // namespace

uint32_t crc32(const void* data, size_t length, uint32_t before) {
  const auto* at = static_cast<const uint8_t*>(data);
  uint32_t state = ~before;
#ifdef TORCHGRAFT_FOLDS_CRC
  const size_t folded = length & ~size_t{15};
  if (folded >= 64 && canFold()) {
    state = byFolding(at, folded, state);
    at += folded;
    length -= folded;
  }
#endif
  return ~byTables(at, length, state);
}

}  // namespace torchgraft::archive
