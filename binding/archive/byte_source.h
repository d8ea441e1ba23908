// The bytes of a file or of memory, read at any place: what is checked here is what libtorch then reads.
#pragma once

#include <caffe2/serialize/read_adapter_interface.h>

#include <memory>
#include <string>

namespace torchgraft::archive {

class ByteSource : public caffe2::serialize::ReadAdapterInterface {
 public:
  // Opens a file without waiting for whoever might write to it. Throws Failure("FILE_NOT_FOUND") for what is no regular
  // file: a folder, a pipe, a device.
  static std::shared_ptr<ByteSource> open(const std::string& path);
  // Bytes that live as long as `owner`.
  static std::shared_ptr<ByteSource> of(std::shared_ptr<const void> owner, const void* data, size_t size);
  static std::shared_ptr<ByteSource> of(std::shared_ptr<const std::string> bytes);

  // Exactly `count` bytes. Throws Unfit where the file has become shorter, or cannot be read.
  void readAll(uint64_t position, void* target, size_t count) const;
  std::string readText(uint64_t position, size_t count) const;
};

}  // namespace torchgraft::archive
