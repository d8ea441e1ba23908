// The directory of a zip archive, read before libtorch's reader (miniz) sees it. That one trusts every number in it.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "byte_source.h"

namespace torchgraft::archive {

struct Record {
  std::string name;
  bool isDeflated = false;
  uint32_t crc = 0;
  // Bytes in the file, and once inflated.
  uint64_t stored = 0;
  uint64_t size = 0;
  uint64_t header = 0;
  uint64_t data = 0;
};

class Directory {
 public:
  // Throws Unfit where the archive is damaged, or of a kind that PyTorch does not write: records that overlap, are
  // encrypted, appear twice, or whose two headers disagree.
  static Directory read(const ByteSource& bytes);

  // In the order of the directory.
  const std::vector<Record>& records() const { return records_; }
  // Null where there is none. `name` is without the archive's own folder.
  const Record* find(const std::string& name) const;
  // The folder that everything of PyTorch's lies in, with a slash at its end; empty where the first record has none.
  const std::string& root() const { return root_; }

 private:
  std::vector<Record> records_;
  std::unordered_map<std::string, size_t> byName_;
  std::string root_;
};

// Begins as a zip archive does.
bool beginsAsZip(const std::string& start);

}  // namespace torchgraft::archive
