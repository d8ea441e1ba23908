// What JavaScript names a file by: its path, or its bytes.
#pragma once

#include <napi.h>

#include <memory>
#include <string>

#include "archive/byte_source.h"

namespace torchgraft {

class FileOrBytes {
 public:
  explicit FileOrBytes(std::string path) : path_(std::move(path)) {}
  explicit FileOrBytes(std::shared_ptr<archive::ByteSource> bytes) : bytes_(std::move(bytes)) {}

  // What errors call it.
  std::string name() const { return bytes_ ? "The model given as bytes" : path_; }
  // Throws Failure("FILE_NOT_FOUND").
  std::shared_ptr<archive::ByteSource> open() const { return bytes_ ? bytes_ : archive::ByteSource::open(path_); }

 private:
  std::string path_;
  std::shared_ptr<archive::ByteSource> bytes_;
};

// A path, or a Uint8Array, which is copied. Throws Failure("INVALID_TYPE").
FileOrBytes readSource(const Napi::Value& value, const std::string& where);

}  // namespace torchgraft
