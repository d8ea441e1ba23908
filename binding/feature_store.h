// Where the outputs of a frozen network prefix are kept, one row an image: in memory up to a budget, and in a file that
// later epochs, runs and other processes share. No Node-API and no libtorch here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "feature_file.h"
#include "row_memory.h"

namespace torchgraft {

struct FeatureStoreOptions {
  // The store's own: a file there that is of another identity is removed. Empty: in memory only.
  std::string path;
  // What the rows depend on, at most 64 KiB: the prefix, the preprocessing, the layout of a row.
  std::string identity;
  // At most 4 KiB for people, kept in the file that is created and compared with nothing.
  std::string label;
  // Bytes of one row: all values that cross, of one image, one after the other. 1 to 2^40.
  int64_t rowBytes = 0;
  // Bytes of rows kept in memory, at most.
  int64_t memoryBytes = 0;
  // Bytes that the file grows to, at most. What lies beyond in a larger file is not looked at.
  int64_t fileBytes = 0;
};

// Rows are numbered from 0 in the order in which this store came to know them; a number stays good while the store
// lives. All methods may be called from any thread; each waits for the one before.
class FeatureStore {
 public:
  // Throws Failure("INVALID_VALUE") for options outside their bounds, and nothing for what the file system does.
  explicit FeatureStore(FeatureStoreOptions options);

  // Row numbers, -1 where a key is absent. Sees what other processes have appended until now.
  std::vector<int64_t> find(const FeatureKey* keys, size_t count);

  // Keeps rows ([count, rowBytes]) and returns their numbers. A key that is there already keeps its row. -1: neither
  // the file nor the memory has room for it.
  std::vector<int64_t> append(const FeatureKey* keys, const uint8_t* rows, size_t count);

  // Copies rows into out, [count, rowBytes]. Returns the positions whose rows are damaged or were never there: they
  // are cleared in `out` and forgotten, so that find() says -1 and append() takes them again.
  std::vector<size_t> read(const int64_t* rows, size_t count, uint8_t* out);

  // Rows that find() knows.
  int64_t rows() const;
  int64_t rowBytes() const { return options_.rowBytes; }
  // Bytes.
  int64_t fileSize() const;
  int64_t memorySize() const;
  // A sentence for a notice where features cannot be kept as was asked for; empty where all is well.
  std::string problem() const;

 private:
  struct Row {
    FeatureKey key;
    int64_t record;  // in the file, or -1
    int64_t slot;    // in memory, or -1
  };
  // Keys are digests: any eight bytes of them are as good as a hash.
  struct Digest {
    size_t operator()(const FeatureKey& key) const {
      size_t head;
      std::memcpy(&head, key.data(), sizeof head);
      return head;
    }
  };

  void catchUp();
  int64_t lookUp(const FeatureKey& key) const;
  std::vector<size_t> absent(const FeatureKey* keys, size_t count) const;
  void add(const FeatureKey& key, int64_t record);
  int64_t slotFor(bool isOnlyCopy);
  void fill(int64_t slot, int64_t row, const uint8_t* data);
  bool copyOut(int64_t row, uint8_t* out);
  void forget(int64_t row);
  void requireSpan(size_t count) const;

  FeatureStoreOptions options_;
  mutable std::mutex mutex_;
  FeatureFile file_;
  RowMemory memory_;
  std::vector<Row> rows_;
  std::unordered_map<FeatureKey, int64_t, Digest> index_;
  std::vector<int64_t> slotOwners_;
  size_t displaced_ = 0;
  int64_t scanned_ = 0;
  bool isFull_ = false;
};

}  // namespace torchgraft
