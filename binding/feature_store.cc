#include "feature_store.h"

#include <unordered_set>
#include <utility>

#include "failure.h"

namespace torchgraft {

namespace {

constexpr int64_t maxRowBytes = int64_t{1} << 40;

void require(bool isRight, const std::string& message) {
  if (!isRight) throw Failure("INVALID_VALUE", "feature store: " + message);
}

FeatureStoreOptions checked(FeatureStoreOptions options) {
  require(options.path.find('\0') == std::string::npos, "`path` holds a zero byte.");
  require(options.identity.size() <= FeatureFile::maxIdentityBytes, "`identity` is longer than 64 KiB.");
  require(options.label.size() <= FeatureFile::maxLabelBytes, "`label` is longer than 4 KiB.");
  require(options.rowBytes >= 1 && options.rowBytes <= maxRowBytes, "`rowBytes` must be 1 to 2^40.");
  require(options.memoryBytes >= 0, "`memoryBytes` must not be negative.");
  require(options.fileBytes >= 0, "`fileBytes` must not be negative.");
  return options;
}

}  // namespace

FeatureStore::FeatureStore(FeatureStoreOptions options)
    : options_(checked(std::move(options))),
      file_(options_.path, {options_.identity, options_.label, options_.rowBytes}, options_.fileBytes),
      memory_(options_.rowBytes, options_.memoryBytes) {
  catchUp();
}

std::vector<int64_t> FeatureStore::find(const FeatureKey* keys, size_t count) {
  const std::lock_guard guard(mutex_);
  catchUp();
  std::vector<int64_t> numbers(count);
  for (size_t i = 0; i < count; ++i) numbers[i] = lookUp(keys[i]);
  return numbers;
}

std::vector<int64_t> FeatureStore::append(const FeatureKey* keys, const uint8_t* rows, size_t count) {
  requireSpan(count);
  const std::lock_guard guard(mutex_);
  FeatureFile::Appended appended{0, 0};
  std::vector<size_t> fresh;
  {
    const FeatureFile::Lock lock = file_.lock();
    // Under the lock nobody else appends: what is absent now is written once.
    catchUp();
    fresh = absent(keys, count);
    std::vector<FeatureFile::NewRow> news;
    for (const size_t i : fresh) news.push_back({&keys[i], rows + i * static_cast<size_t>(options_.rowBytes)});
    if (lock) appended = file_.append(news);
  }
  for (size_t n = 0; n < fresh.size(); ++n) {
    const size_t i = fresh[n];
    const bool isInFile = n < appended.count;
    const int64_t record = isInFile ? appended.firstRecord + static_cast<int64_t>(n) : -1;
    const int64_t slot = slotFor(!isInFile);
    if (!isInFile && slot < 0) {
      isFull_ = true;
      break;  // nor is there room for those after it
    }
    add(keys[i], record);
    if (isInFile) scanned_ = record + 1;
    if (slot >= 0) fill(slot, index_.at(keys[i]), rows + i * static_cast<size_t>(options_.rowBytes));
  }
  std::vector<int64_t> numbers(count);
  for (size_t i = 0; i < count; ++i) numbers[i] = lookUp(keys[i]);
  return numbers;
}

std::vector<size_t> FeatureStore::read(const int64_t* rows, size_t count, uint8_t* out) {
  requireSpan(count);
  const std::lock_guard guard(mutex_);
  const size_t rowBytes = static_cast<size_t>(options_.rowBytes);
  std::vector<size_t> damaged;
  for (size_t i = 0; i < count; ++i) {
    if (copyOut(rows[i], out + i * rowBytes)) continue;
    std::memset(out + i * rowBytes, 0, rowBytes);
    forget(rows[i]);
    damaged.push_back(i);
  }
  return damaged;
}

// Learns what the file holds beyond what is known: rows that this store did not append itself.
void FeatureStore::catchUp() {
  const int64_t records = file_.records();
  // Someone cut the file: what is appended from there on is new.
  if (records < scanned_) scanned_ = records;
  for (; scanned_ < records; ++scanned_) {
    FeatureKey key;
    if (file_.readKey(scanned_, key)) add(key, scanned_);
  }
}

int64_t FeatureStore::lookUp(const FeatureKey& key) const {
  const auto found = index_.find(key);
  return found == index_.end() ? -1 : found->second;
}

// Positions of keys that have no row, each key once.
std::vector<size_t> FeatureStore::absent(const FeatureKey* keys, size_t count) const {
  std::unordered_set<FeatureKey, Digest> seen;
  std::vector<size_t> positions;
  for (size_t i = 0; i < count; ++i) {
    if (lookUp(keys[i]) < 0 && seen.insert(keys[i]).second) positions.push_back(i);
  }
  return positions;
}

// Of records with the same key the last one counts: it was written because the one before was damaged.
void FeatureStore::add(const FeatureKey& key, int64_t record) {
  rows_.push_back({key, record, -1});
  index_[key] = static_cast<int64_t>(rows_.size()) - 1;
}

// A place in memory, or -1. Who came first stays: epochs go through all rows in ever other orders, so no choice of rows
// is read more often than another, and replacing would only cost copies.
int64_t FeatureStore::slotFor(bool isOnlyCopy) {
  const int64_t slot = memory_.take();
  if (slot >= 0 || !isOnlyCopy) return slot;
  // This row would be lost: it takes the place of one that the file holds too.
  while (displaced_ < slotOwners_.size()) {
    const int64_t owner = slotOwners_[displaced_++];
    if (owner < 0) continue;
    Row& row = rows_[static_cast<size_t>(owner)];
    if (row.record >= 0) return std::exchange(row.slot, -1);
  }
  return -1;
}

void FeatureStore::fill(int64_t slot, int64_t row, const uint8_t* data) {
  // Slots come in order; one is passed over where memory ran out before its row was known.
  if (static_cast<size_t>(slot) >= slotOwners_.size()) slotOwners_.resize(static_cast<size_t>(slot) + 1, -1);
  slotOwners_[static_cast<size_t>(slot)] = row;
  rows_[static_cast<size_t>(row)].slot = slot;
  std::memcpy(memory_.at(slot), data, static_cast<size_t>(options_.rowBytes));
}

bool FeatureStore::copyOut(int64_t number, uint8_t* out) {
  if (number < 0 || static_cast<size_t>(number) >= rows_.size()) return false;
  const Row& row = rows_[static_cast<size_t>(number)];
  if (row.slot >= 0) {
    std::memcpy(out, memory_.at(row.slot), static_cast<size_t>(options_.rowBytes));
    return true;
  }
  if (row.record < 0 || !file_.readRow(row.record, row.key, out)) return false;
  const int64_t slot = slotFor(false);
  if (slot >= 0) fill(slot, number, out);
  return true;
}

void FeatureStore::forget(int64_t number) {
  if (number < 0 || static_cast<size_t>(number) >= rows_.size()) return;
  Row& row = rows_[static_cast<size_t>(number)];
  row.record = -1;
  if (lookUp(row.key) == number) index_.erase(row.key);
}

void FeatureStore::requireSpan(size_t count) const {
  require(count <= static_cast<size_t>(PTRDIFF_MAX) / static_cast<size_t>(options_.rowBytes),
          "that many rows do not fit into memory.");
}

int64_t FeatureStore::rows() const {
  const std::lock_guard guard(mutex_);
  return static_cast<int64_t>(index_.size());
}

int64_t FeatureStore::fileSize() const {
  const std::lock_guard guard(mutex_);
  return file_.size();
}

int64_t FeatureStore::memorySize() const {
  const std::lock_guard guard(mutex_);
  return memory_.bytes();
}

std::string FeatureStore::problem() const {
  const std::lock_guard guard(mutex_);
  if (!file_.problem().empty() || !isFull_) return file_.problem();
  const int64_t fileBytes = options_.path.empty() ? 0 : options_.fileBytes;
  return "The cached features have reached their limits (" + std::to_string(fileBytes >> 20) + " MiB in the file, " +
         std::to_string(options_.memoryBytes >> 20) +
         " MiB in memory): those of some images are computed anew each time. TORCHGRAFT_CACHE_BYTES raises the limit.";
}

}  // namespace torchgraft
