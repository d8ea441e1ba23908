// Counter-based random numbers: every draw is a pure function of (seed, epoch, index, slot), with no state that threads
// or batches could share. A key is folded from seed, epoch and index; a draw mixes the key with the slot's number.
// The mixing is SplitMix64's finaliser (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
#pragma once

#include <cstdint>

namespace torchgraft {

class Random {
 public:
  Random(uint64_t seed, uint64_t epoch, uint64_t index) : key_(mix(mix(mix(seed) + epoch) + index)) {}

  /// Uniform in [0, 1), in steps of 2^-53. The same slot gives the same number, in whatever order slots are asked for.
  double uniform(uint64_t slot) const {
    return static_cast<double>(mix(key_ + (slot + 1) * golden) >> 11) * 0x1.0p-53;
  }

  /// Uniform in [low, high).
  double between(uint64_t slot, double low, double high) const { return low + (high - low) * uniform(slot); }

 private:
  static constexpr uint64_t golden = 0x9E3779B97F4A7C15ULL;

  static uint64_t mix(uint64_t z) {
    z += golden;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }

  uint64_t key_;
};

}  // namespace torchgraft
