// Exceptions of any kind -> { code, message, backtrace } -> a JavaScript Error.
#pragma once

#include <napi.h>

#include <string>
#include <utility>
#include <vector>

namespace torchgraft {

struct ErrorParts {
  std::string code;
  std::string message;
  // libtorch's own text with its backtrace; may be empty.
  std::string backtrace;
  std::vector<std::pair<std::string, std::string>> facts = {};
};

// Describes the exception being handled. Call it inside a catch block only.
ErrorParts currentError();

// An Error with `code`, and `backtrace` and `facts` where there are some. JavaScript thread only.
Napi::Value makeError(Napi::Env env, const ErrorParts& parts);

}  // namespace torchgraft
