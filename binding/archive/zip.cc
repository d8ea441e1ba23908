#include "zip.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "findings.h"
#include "limits.h"

namespace torchgraft::archive {

namespace {

constexpr uint32_t kLocalHeader = 0x04034b50;
constexpr uint32_t kEntry = 0x02014b50;
constexpr uint32_t kEnd = 0x06054b50;
constexpr uint32_t kEnd64 = 0x06064b50;
constexpr uint32_t kEnd64Locator = 0x07064b50;
constexpr size_t kEndBytes = 22;
constexpr size_t kEnd64Bytes = 56;
constexpr size_t kEnd64LocatorBytes = 20;
constexpr size_t kLocalHeaderBytes = 30;
constexpr size_t kEntryBytes = 46;
constexpr uint32_t kAbsent32 = 0xffffffff;

[[noreturn]] void refuseDamaged(const std::string& why) { throw Unfit("is damaged: " + why + " Copy or download it again."); }

// Numbers of a piece of the file, little endian, checked against its end.
class Fields {
 public:
  Fields(const char* at, size_t size) : at_(reinterpret_cast<const uint8_t*>(at)), size_(size) {}

  uint64_t number(size_t offset, size_t width) const {
    if (offset > size_ || width > size_ - offset) refuseDamaged("its directory ends within an entry.");
    uint64_t value = 0;
    for (size_t i = width; i-- > 0;) value = value << 8 | at_[offset + i];
    return value;
  }
  uint16_t u16(size_t offset) const { return static_cast<uint16_t>(number(offset, 2)); }
  uint32_t u32(size_t offset) const { return static_cast<uint32_t>(number(offset, 4)); }
  uint64_t u64(size_t offset) const { return number(offset, 8); }

  std::string text(size_t offset, size_t length) const {
    if (offset > size_ || length > size_ - offset) refuseDamaged("its directory ends within an entry.");
    return {reinterpret_cast<const char*>(at_) + offset, length};
  }

 private:
  const uint8_t* at_;
  size_t size_;
};

struct End {
  uint64_t entries = 0;
  uint64_t bytes = 0;
  uint64_t offset = 0;
  // Where the directory must have ended.
  uint64_t limit = 0;
};

// The last one in the file, as miniz looks for it.
std::optional<uint64_t> findEnd(const std::string& tail, uint64_t tailOffset) {
  if (tail.size() < kEndBytes) return std::nullopt;
  const Fields fields(tail.data(), tail.size());
  for (size_t at = tail.size() - kEndBytes + 1; at-- > 0;) {
    if (fields.u32(at) == kEnd) return tailOffset + at;
  }
  return std::nullopt;
}

End readEnd(const ByteSource& bytes) {
  const uint64_t size = bytes.size();
  const uint64_t tailBytes = std::min<uint64_t>(size, kEndBytes + 0xffff);
  const auto found = findEnd(bytes.readText(size - tailBytes, tailBytes), size - tailBytes);
  if (!found) refuseDamaged("its end is missing, where an archive has its directory.");
  const std::string record = bytes.readText(*found, kEndBytes);
  const Fields fields(record.data(), record.size());
  End end{fields.u16(10), fields.u32(12), fields.u32(16), *found};
  if (*found >= kEnd64LocatorBytes) {
    const std::string text = bytes.readText(*found - kEnd64LocatorBytes, kEnd64LocatorBytes);
    const Fields locator(text.data(), text.size());
    const uint64_t place = locator.u64(8);
    if (locator.u32(0) == kEnd64Locator && place <= size && size - place >= kEnd64Bytes) {
      const std::string wide = bytes.readText(place, kEnd64Bytes);
      const Fields end64(wide.data(), wide.size());
      if (end64.u32(0) == kEnd64) end = {end64.u64(32), end64.u64(40), end64.u64(48), place};
    }
  }
  if (end.bytes > end.limit || end.offset > end.limit - end.bytes) refuseDamaged("its directory is said to lie beyond its end.");
  if (end.entries > kMostRecords || end.bytes > kDirectoryBytes) {
    throw Unfit("has a directory of " + std::to_string(end.entries) + " records. No model has so many, and it is not opened.");
  }
  if (end.bytes < end.entries * kEntryBytes) refuseDamaged("its directory is shorter than its records need.");
  return end;
}

// Sizes and place of 8 bytes, in the extra field of an entry whose own are too small.
void widen(const Fields& extra, size_t length, Record& record) {
  for (size_t at = 0; at + 4 <= length;) {
    const size_t bytes = extra.u16(at + 2);
    if (extra.u16(at) == 1) {
      size_t field = at + 4;
      for (uint64_t* value : {&record.size, &record.stored, &record.header}) {
        if (*value != kAbsent32) continue;
        if (field + 8 > at + 4 + bytes) refuseDamaged("the size of its record " + record.name + " is missing.");
        *value = extra.u64(field);
        field += 8;
      }
      return;
    }
    at += 4 + bytes;
  }
}

// Reads the entry at `at` and moves behind it.
Record readEntry(const std::string& directory, size_t& at) {
  const Fields fields(directory.data() + at, directory.size() - at);
  if (fields.u32(0) != kEntry) refuseDamaged("its directory holds something else than records.");
  const size_t nameBytes = fields.u16(28), extraBytes = fields.u16(30), commentBytes = fields.u16(32);
  Record record;
  record.name = fields.text(kEntryBytes, nameBytes);
  if (record.name.empty() || record.name.find('\0') != std::string::npos) refuseDamaged("one of its records has no proper name.");
  if (fields.u16(8) & 1) throw Unfit("has an encrypted record, " + record.name + ". Models are not encrypted.");
  const uint16_t method = fields.u16(10);
  if (method != 0 && method != 8) {
    throw Unfit("has a record, " + record.name + ", that is compressed in a way (" + std::to_string(method) + ") that PyTorch does not use.");
  }
  record.isDeflated = method == 8;
  record.crc = fields.u32(16);
  record.stored = fields.u32(20);
  record.size = fields.u32(24);
  record.header = fields.u32(42);
  // Of what is marked as a folder, by a bit of DOS or a slash, miniz reads nothing and says that it has.
  const bool isFolder = (fields.u32(38) & 0x10) || record.name.back() == '/';
  if (isFolder && record.size > 0) refuseDamaged("its record " + record.name + " is marked as a folder.");
  const std::string extra = fields.text(kEntryBytes + nameBytes, extraBytes);
  widen(Fields(extra.data(), extra.size()), extra.size(), record);
  fields.text(kEntryBytes + nameBytes + extraBytes, commentBytes);
  at += kEntryBytes + nameBytes + extraBytes + commentBytes;
  return record;
}

// The header before a record's bytes must say the same as the directory: a name that changed in one of them would lose
// or exchange a tensor.
void locate(const ByteSource& bytes, const End& end, Record& record) {
  if (record.header > end.offset || end.offset - record.header < kLocalHeaderBytes) refuseDamaged("its record " + record.name + " is said to lie beyond its end.");
  const uint64_t room = end.offset - record.header;
  const size_t count = std::min<uint64_t>(room, kLocalHeaderBytes + record.name.size());
  const std::string text = bytes.readText(record.header, count);
  const Fields fields(text.data(), text.size());
  const bool isSame = fields.u32(0) == kLocalHeader && fields.u16(26) == record.name.size() &&
                      count == kLocalHeaderBytes + record.name.size() &&
                      text.compare(kLocalHeaderBytes, std::string::npos, record.name) == 0 &&
                      (fields.u16(8) == 8) == record.isDeflated;
  // Where sizes and checksum follow the bytes, the header has none.
  const bool followed = fields.u16(6) & 8;
  const bool isWide = fields.u32(18) == kAbsent32 || fields.u32(22) == kAbsent32;
  const bool fits = followed || (fields.u32(14) == record.crc && (isWide || (fields.u32(18) == record.stored && fields.u32(22) == record.size)));
  if (!isSame || !fits) refuseDamaged("the two headers of its record " + record.name + " disagree.");
  record.data = record.header + kLocalHeaderBytes + fields.u16(26) + fields.u16(28);
  if (record.data > end.offset || record.stored > end.offset - record.data) refuseDamaged("its record " + record.name + " is cut off.");
  if (!record.isDeflated && record.stored != record.size) refuseDamaged("its record " + record.name + " has two sizes.");
}

void refuseOverlaps(const std::vector<Record>& records) {
  std::vector<size_t> order(records.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return records[a].header < records[b].header; });
  for (size_t i = 1; i < order.size(); ++i) {
    const Record& before = records[order[i - 1]];
    if (records[order[i]].header < before.data + before.stored) {
      throw Unfit("has records that lie over each other, " + before.name + " and " + records[order[i]].name + ". No program writes such a model, and it is not opened.");
    }
  }
}

}  // namespace

bool beginsAsZip(const std::string& start) { return start.compare(0, 4, "PK\3\4") == 0 || start.compare(0, 4, "PK\5\6") == 0; }

Directory Directory::read(const ByteSource& bytes) {
  const End end = readEnd(bytes);
  const std::string text = bytes.readText(end.offset, end.bytes);
  Directory directory;
  directory.records_.reserve(end.entries);
  size_t at = 0;
  for (uint64_t i = 0; i < end.entries; ++i) directory.records_.push_back(readEntry(text, at));
  if (at != text.size()) refuseDamaged("its directory has other records than it says.");
  for (size_t i = 0; i < directory.records_.size(); ++i) {
    Record& record = directory.records_[i];
    locate(bytes, end, record);
    if (!directory.byName_.emplace(record.name, i).second) throw Unfit("has two records of one name, " + record.name + ". It is not opened.");
  }
  refuseOverlaps(directory.records_);
  if (!directory.records_.empty()) {
    const std::string& first = directory.records_.front().name;
    const auto slash = first.find('/');
    if (slash != std::string::npos) directory.root_ = first.substr(0, slash + 1);
  }
  return directory;
}

const Record* Directory::find(const std::string& name) const {
  const auto found = byName_.find(root_ + name);
  return found == byName_.end() ? nullptr : &records_[found->second];
}

}  // namespace torchgraft::archive
