// Rows of one size in memory, up to a budget. They lie in big chunks: one allocation a row would cost the allocator's
// overhead a million times, and one for all would take the whole budget for a small data set.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

namespace torchgraft {

class RowMemory {
 public:
  // Both in bytes; rowBytes is at least 1.
  RowMemory(int64_t rowBytes, int64_t budget)
      : rowBytes_(rowBytes), capacity_(budget / rowBytes), chunkRows_(std::max<int64_t>(1, chunkBytes / rowBytes)) {}

  // A place for one more row, numbered from 0; -1 where the budget or the machine's memory is used up.
  int64_t take() {
    if (used_ == allocated_ && !grow()) return -1;
    return used_++;
  }

  uint8_t* at(int64_t slot) { return chunks_[slot / chunkRows_].get() + (slot % chunkRows_) * rowBytes_; }

  // Bytes allocated; never more than the budget.
  int64_t bytes() const { return allocated_ * rowBytes_; }

 private:
  static constexpr int64_t chunkBytes = 8 << 20;

  bool grow() {
    const int64_t rows = std::min(chunkRows_, capacity_ - allocated_);
    if (rows <= 0) return false;
    try {
      chunks_.emplace_back(new uint8_t[static_cast<size_t>(rows * rowBytes_)]);
    } catch (const std::bad_alloc&) {
      capacity_ = allocated_;
      return false;
    }
    allocated_ += rows;
    return true;
  }

  int64_t rowBytes_;
  int64_t capacity_;
  int64_t chunkRows_;
  int64_t allocated_ = 0;
  int64_t used_ = 0;
  std::vector<std::unique_ptr<uint8_t[]>> chunks_;
};

}  // namespace torchgraft
