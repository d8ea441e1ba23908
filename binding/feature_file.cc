#include "feature_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <thread>
#include <utility>

#include "checksum.h"

namespace torchgraft {

namespace {

constexpr char magic[] = "torchgraft feat\n";
constexpr size_t magicBytes = sizeof magic - 1;
constexpr uint32_t version = 1;
constexpr size_t fixedBytes = magicBytes + 3 * sizeof(uint32_t) + sizeof(int64_t);
constexpr int64_t headBytes = sizeof(FeatureKey) + sizeof(uint64_t);
constexpr size_t blockBytes = 4 << 20;
constexpr auto lockPatience = std::chrono::seconds(5);

template <typename Number>
void put(std::string& text, Number number) {
  text.append(reinterpret_cast<const char*>(&number), sizeof number);
}

template <typename Number>
Number take(const char* at) {
  Number number;
  std::memcpy(&number, at, sizeof number);
  return number;
}

std::string withChecksum(std::string text) {
  put(text, checksum64(text.data(), text.size(), 0));
  return text;
}

std::string encode(const FeatureFile::Header& header) {
  std::string text(magic, magicBytes);
  put(text, version);
  put(text, static_cast<uint32_t>(header.identity.size()));
  put(text, static_cast<uint32_t>(header.label.size()));
  put(text, header.rowBytes);
  return withChecksum(text + header.identity + header.label);
}

// Bytes read: fewer than asked for at the end of the file or where it cannot be read.
size_t readAt(int descriptor, void* out, size_t length, int64_t offset) {
  size_t done = 0;
  while (done < length) {
    const ssize_t got = ::pread(descriptor, static_cast<char*>(out) + done, length - done, offset + done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

// Bytes written: where they are fewer, errno says why.
size_t writeAt(int descriptor, const void* data, size_t length, int64_t offset) {
  size_t done = 0;
  while (done < length) {
    const ssize_t got = ::pwrite(descriptor, static_cast<const char*>(data) + done, length - done, offset + done);
    if (got < 0 && errno == EINTR) continue;
    if (got == 0) errno = ENOSPC;
    if (got <= 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

// Not flock's own waiting: it would last as long as a process that was stopped while it held the lock.
bool lockExclusively(int descriptor) {
  const auto deadline = std::chrono::steady_clock::now() + lockPatience;
  while (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return false;
    if (std::chrono::steady_clock::now() > deadline) {
      errno = EWOULDBLOCK;
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

bool isRegular(int descriptor) {
  struct stat status;
  return ::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
}

// Whether the path still leads to the open file: while we waited for the lock it may have been removed or replaced.
bool isAtPath(int descriptor, const std::string& path) {
  struct stat open, named;
  return ::fstat(descriptor, &open) == 0 && ::stat(path.c_str(), &named) == 0 && open.st_dev == named.st_dev &&
         open.st_ino == named.st_ino;
}

std::string reason(int error) {
  return error == EWOULDBLOCK ? "another process holds its lock" : std::generic_category().message(error);
}

}  // namespace

Descriptor::~Descriptor() {
  if (number_ >= 0) ::close(number_);
}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(number_, other.number_);
  return *this;
}

FeatureFile::Lock::~Lock() {
  if (descriptor_ >= 0) ::flock(descriptor_, LOCK_UN);
}

FeatureFile::FeatureFile(std::string path, const Header& header, int64_t limitBytes)
    : path_(std::move(path)),
      rowBytes_(header.rowBytes),
      limit_(limitBytes),
      // A record of another file, which a file system may leave in a block after a crash, must not fit.
      seed_(checksum64(header.identity.data(), header.identity.size(), static_cast<uint64_t>(header.rowBytes))) {
  if (path_.empty()) return;
  std::error_code ignored;  // Where the folder cannot be made, opening the file says why.
  std::filesystem::create_directories(std::filesystem::path(path_).parent_path(), ignored);
  // Each round meets a file that another process put there since the last.
  for (int round = 0; round < 10; ++round) {
    if (openOnce(header)) return;
  }
  giveUpWriting("is replaced again and again by other processes", 0);
}

// False: the file was removed or replaced, by this or another process, and the path is to be opened again.
bool FeatureFile::openOnce(const Header& wanted) {
  // NONBLOCK: a pipe that lies there must not hold us up.
  Descriptor file(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666));
  if (!file.isOpen()) return openReadOnly(wanted);
  if (!isRegular(file.number())) {
    giveUpWriting("is not a file", 0);
    return true;
  }
  const Lock lock(lockExclusively(file.number()) ? file.number() : -1);
  if (!lock) return openReadOnly(wanted);
  if (!isAtPath(file.number(), path_)) return false;

  struct stat status;
  const bool isEmpty = ::fstat(file.number(), &status) == 0 && status.st_size == 0;
  if (isEmpty && !writeHeader(file.number(), wanted)) return true;
  if (!isEmpty && !adoptHeader(file.number(), wanted)) {
    // Removed and not truncated: another process may still read its rows.
    if (::unlink(path_.c_str()) == 0 || errno == ENOENT) return false;
    giveUpWriting("belongs to other features and cannot be removed", errno);
    return true;
  }
  // The time of the last use: eviction goes by it. Where it cannot be set, the file only looks older than it is.
  static_cast<void>(::futimens(file.number(), nullptr));
  file_ = std::move(file);
  isWritable_ = true;
  return true;
}

// What cannot be written or locked may still be read. errno says why it cannot be written.
bool FeatureFile::openReadOnly(const Header& wanted) {
  giveUpWriting("cannot be written", errno);
  Descriptor file(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (file.isOpen() && isRegular(file.number()) && adoptHeader(file.number(), wanted)) file_ = std::move(file);
  return true;
}

bool FeatureFile::writeHeader(int descriptor, const Header& wanted) {
  header_ = encode(wanted);
  if (writeAt(descriptor, header_.data(), header_.size(), 0) == header_.size()) return true;
  giveUpWriting("cannot be written", errno);
  static_cast<void>(::ftruncate(descriptor, 0));
  return false;
}

// Takes over the file's header where it is whole and of the wanted identity and row size.
bool FeatureFile::adoptHeader(int descriptor, const Header& wanted) {
  std::string text(fixedBytes, '\0');
  if (readAt(descriptor, text.data(), fixedBytes, 0) < fixedBytes) return false;
  Header expected = wanted;
  const char* numbers = text.data() + magicBytes;
  const uint32_t labelBytes = take<uint32_t>(numbers + 2 * sizeof(uint32_t));
  if (labelBytes > maxLabelBytes) return false;
  // The label is the file's own; all else must be what we would have written.
  expected.label.resize(labelBytes);
  const int64_t labelAt = static_cast<int64_t>(fixedBytes + wanted.identity.size());
  if (readAt(descriptor, expected.label.data(), labelBytes, labelAt) < labelBytes) return false;
  const std::string whole = encode(expected);
  text.resize(whole.size());
  if (readAt(descriptor, text.data(), text.size(), 0) < text.size() || text != whole) return false;
  header_ = whole;
  return true;
}

void FeatureFile::giveUpWriting(const std::string& what, int error) {
  isWritable_ = false;
  if (!problem_.empty()) return;
  problem_ = "The feature cache " + path_ + " " + what + (error ? " (" + reason(error) + ")" : "") +
             ": new features of this run are kept in memory only.";
}

int64_t FeatureFile::size() const {
  struct stat status;
  return file_.isOpen() && ::fstat(file_.number(), &status) == 0 ? status.st_size : 0;
}

int64_t FeatureFile::records() const { return wholeRecords(std::min(size(), limit_)); }

int64_t FeatureFile::wholeRecords(int64_t fileBytes) const {
  const int64_t bytes = fileBytes - static_cast<int64_t>(header_.size());
  return bytes <= 0 ? 0 : bytes / (rowBytes_ + headBytes);
}

int64_t FeatureFile::offsetOf(int64_t record) const {
  return static_cast<int64_t>(header_.size()) + record * (rowBytes_ + headBytes);
}

uint64_t FeatureFile::checksumOf(const FeatureKey& key, const uint8_t* row) const {
  return checksum64(row, static_cast<size_t>(rowBytes_), checksum64(key.data(), key.size(), seed_));
}

bool FeatureFile::readKey(int64_t record, FeatureKey& key) const {
  return readAt(file_.number(), key.data(), key.size(), offsetOf(record)) == key.size();
}

// The checksum covers the key too: another key's row does not fit it.
bool FeatureFile::readRow(int64_t record, const FeatureKey& key, uint8_t* row) const {
  const int64_t offset = offsetOf(record);
  const size_t rowBytes = static_cast<size_t>(rowBytes_);
  uint64_t checksum = 0;
  return readAt(file_.number(), &checksum, sizeof checksum, offset + sizeof(FeatureKey)) == sizeof checksum &&
         readAt(file_.number(), row, rowBytes, offset + headBytes) == rowBytes && checksum == checksumOf(key, row);
}

FeatureFile::Lock FeatureFile::lock() {
  if (!isWritable_) return Lock(-1);
  if (lockExclusively(file_.number())) return Lock(file_.number());
  giveUpWriting("cannot be written", errno);
  return Lock(-1);
}

FeatureFile::Appended FeatureFile::append(const std::vector<NewRow>& rows) {
  const int64_t fileBytes = size();
  const int64_t first = wholeRecords(fileBytes);
  const int64_t room = std::max<int64_t>(0, wholeRecords(limit_) - first);
  const size_t count = std::min(rows.size(), static_cast<size_t>(room));
  if (count == 0) return {first, 0};
  // Something cut the file below its header: it is ours to write again, as the file is empty.
  const bool isHeaderThere = fileBytes >= static_cast<int64_t>(header_.size()) ||
                             writeAt(file_.number(), header_.data(), header_.size(), 0) == header_.size();
  if (!isHeaderThere) {
    giveUpWriting("cannot be written", errno);
    return {first, 0};
  }
  const size_t recordBytes = static_cast<size_t>(headBytes + rowBytes_);
  const size_t blockRows = std::max<size_t>(1, blockBytes / recordBytes);
  size_t done = 0;
  while (done < count && isWritable_) {
    encodeRecords(&rows[done], std::min(blockRows, count - done));
    const size_t written = writeAt(file_.number(), block_.data(), block_.size(), offsetOf(first + done));
    if (written < block_.size()) giveUpWriting("cannot be written", errno);
    done += written / recordBytes;
  }
  // A full disk: what was begun of the next record goes.
  if (!isWritable_) static_cast<void>(::ftruncate(file_.number(), offsetOf(first + done)));
  return {first, done};
}

// Fills block_ with records as they lie in the file.
void FeatureFile::encodeRecords(const NewRow* rows, size_t count) {
  const size_t rowBytes = static_cast<size_t>(rowBytes_);
  block_.resize(count * (headBytes + rowBytes));
  uint8_t* at = block_.data();
  for (size_t i = 0; i < count; ++i, at += headBytes + rowBytes) {
    const auto& [key, row] = rows[i];
    const uint64_t checksum = checksumOf(*key, row);
    std::memcpy(at, key->data(), sizeof(FeatureKey));
    std::memcpy(at + sizeof(FeatureKey), &checksum, sizeof checksum);
    std::memcpy(at + headBytes, row, rowBytes);
  }
}

}  // namespace torchgraft
