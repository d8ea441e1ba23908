// The file of a feature store: a header that says whose rows these are, then records of one size, only ever appended.
//
//   header   magic 16 B, version u32, bytes of the identity u32, bytes of the label u32, bytes of a row i64,
//            identity, label, checksum u64 of all before it
//   record   key 32 B, checksum u64 of key and row, row
//
// Numbers are in the machine's byte order: the file does not leave the machine. Whoever writes, or replaces the file,
// holds flock(LOCK_EX) on it. Who reads takes no lock: a record is whole once the file's size covers it.
//
// Reading is by pread and not by mmap. Where another process truncates a mapped file, touching it ends this process
// with SIGBUS; pread says "short read", and the page cache makes both as fast. Nothing is flushed to the disk: what a
// power cut leaves behind does not fit its checksum and is computed anew.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace torchgraft {

using FeatureKey = std::array<uint8_t, 32>;

// An open file, closed at the end.
class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(other.number_) { other.number_ = -1; }
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor();
  bool isOpen() const { return number_ >= 0; }
  int number() const { return number_; }

 private:
  int number_;
};

class FeatureFile {
 public:
  static constexpr size_t maxIdentityBytes = 64 << 10;
  static constexpr size_t maxLabelBytes = 4 << 10;

  // What is compared with, or becomes, the file's header. Sizes in bytes; `label` is for listings and not compared.
  struct Header {
    std::string identity;
    std::string label;
    int64_t rowBytes;
  };

  // Opens or creates the file and marks it as used now. A file of another identity, or whose header is damaged, is
  // removed and begun anew. Never throws for what the file system says: see problem(). An empty path: no file.
  FeatureFile(std::string path, const Header& header, int64_t limitBytes);

  // Whole records in the file now, as far as they lie within the limit.
  int64_t records() const;
  // Bytes; 0 where there is no file.
  int64_t size() const;

  // False where the record cannot be read.
  bool readKey(int64_t record, FeatureKey& key) const;
  // False where the record is not wholly there, is another key's, or does not fit its checksum.
  bool readRow(int64_t record, const FeatureKey& key, uint8_t* row) const;

  // The right to append, until it is destroyed.
  class Lock {
   public:
    explicit Lock(int descriptor) : descriptor_(descriptor) {}
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
    ~Lock();
    explicit operator bool() const { return descriptor_ >= 0; }

   private:
    int descriptor_;
  };
  // False where the file cannot be written, or another process keeps the lock for seconds.
  Lock lock();

  struct NewRow {
    const FeatureKey* key;
    const uint8_t* row;
  };
  struct Appended {
    int64_t firstRecord;
    size_t count;
  };
  // Appends rows from the first on, as many as the limit and the disk let it. Only under lock(). A record that
  // a process left half written is overwritten: it is shorter than one.
  Appended append(const std::vector<NewRow>& rows);

  // What went wrong with the file, as a sentence for a person; empty where nothing did. The first thing counts.
  const std::string& problem() const { return problem_; }

 private:
  bool openOnce(const Header& wanted);
  bool openReadOnly(const Header& wanted);
  bool writeHeader(int descriptor, const Header& wanted);
  bool adoptHeader(int descriptor, const Header& wanted);
  void encodeRecords(const NewRow* rows, size_t count);
  void giveUpWriting(const std::string& what, int error);
  int64_t offsetOf(int64_t record) const;
  int64_t wholeRecords(int64_t fileBytes) const;
  uint64_t checksumOf(const FeatureKey& key, const uint8_t* row) const;

  std::string path_;
  int64_t rowBytes_;
  int64_t limit_;
  uint64_t seed_;
  std::string header_;
  Descriptor file_;
  bool isWritable_ = false;
  std::string problem_;
  std::vector<uint8_t> block_;
};

}  // namespace torchgraft
