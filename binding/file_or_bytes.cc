#include "file_or_bytes.h"

#include "plain.h"
#include "requests.h"

namespace torchgraft {

FileOrBytes readSource(const Napi::Value& value, const std::string& where) {
  if (value.IsString()) return FileOrBytes(pathOf(value, where));
  const auto copy = std::make_shared<const at::Tensor>(readBytes(value, where));
  return FileOrBytes(archive::ByteSource::of(copy, copy->const_data_ptr(), copy->nbytes()));
}

}  // namespace torchgraft
