#include "byte_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "../failure.h"
#include "findings.h"

namespace torchgraft::archive {

namespace {

// By pread and not mapped: where somebody cuts a mapped file, touching it is SIGBUS and the end of the process.
class FileBytes : public ByteSource {
 public:
  FileBytes(int descriptor, size_t size) : descriptor_(descriptor), size_(size) {}
  ~FileBytes() override { ::close(descriptor_); }
  FileBytes(const FileBytes&) = delete;
  FileBytes& operator=(const FileBytes&) = delete;

  size_t size() const override { return size_; }

  size_t read(uint64_t position, void* target, size_t count, const char*) const override {
    size_t done = 0;
    while (done < count) {
      const ssize_t came = ::pread(descriptor_, static_cast<char*>(target) + done, count - done, static_cast<off_t>(position + done));
      if (came < 0 && errno == EINTR) continue;
      if (came <= 0) break;
      done += static_cast<size_t>(came);
    }
    return done;
  }

 private:
  int descriptor_;
  size_t size_;
};

class MemoryBytes : public ByteSource {
 public:
  MemoryBytes(std::shared_ptr<const void> owner, const void* data, size_t size)
      : owner_(std::move(owner)), data_(static_cast<const char*>(data)), size_(size) {}

  size_t size() const override { return size_; }

  size_t read(uint64_t position, void* target, size_t count, const char*) const override {
    if (position >= size_) return 0;
    const size_t there = std::min<uint64_t>(count, size_ - position);
    std::memcpy(target, data_ + position, there);
    return there;
  }

 private:
  std::shared_ptr<const void> owner_;
  const char* data_;
  size_t size_;
};

const char* nameOf(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

}  // namespace

std::shared_ptr<ByteSource> ByteSource::open(const std::string& path) {
  // Not blocking: opening a pipe would wait for somebody who writes to it.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) throw Failure("FILE_NOT_FOUND", path + " cannot be opened: " + std::strerror(errno) + ".");
  struct stat facts{};
  if (::fstat(descriptor, &facts) != 0 || !S_ISREG(facts.st_mode)) {
    ::close(descriptor);
    throw Failure("FILE_NOT_FOUND", path + " is " + nameOf(facts.st_mode) + ", not a file.");
  }
  return std::make_shared<FileBytes>(descriptor, static_cast<size_t>(facts.st_size));
}

std::shared_ptr<ByteSource> ByteSource::of(std::shared_ptr<const void> owner, const void* data, size_t size) {
  return std::make_shared<MemoryBytes>(std::move(owner), data, size);
}

std::shared_ptr<ByteSource> ByteSource::of(std::shared_ptr<const std::string> bytes) {
  const std::string& text = *bytes;
  return of(std::move(bytes), text.data(), text.size());
}

void ByteSource::readAll(uint64_t position, void* target, size_t count) const {
  if (read(position, target, count) != count) throw Unfit("cannot be read to its end: it changes while it is read, or the disk fails.");
}

std::string ByteSource::readText(uint64_t position, size_t count) const {
  std::string text(count, '\0');
  readAll(position, text.data(), count);
  return text;
}

}  // namespace torchgraft::archive
