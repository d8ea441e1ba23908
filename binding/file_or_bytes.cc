#include "file_or_bytes.h"

#include "plain.h"
#include "requests.h"

namespace torchgraft {

FileOrBytes readSource(const Napi::Value& value, const std::string& where) {
  if (value.IsString()) return {pathOf(value, where), nullptr};
  const at::Tensor copy = readBytes(value, where);
  return {"", std::make_shared<const std::string>(static_cast<const char*>(copy.const_data_ptr()), copy.nbytes())};
}

}  // namespace torchgraft
