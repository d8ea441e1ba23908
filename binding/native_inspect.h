// What a model file holds, for JavaScript, without opening it.
#pragma once

#include <napi.h>

namespace torchgraft {

// inspectFile(source) -> Promise<NativeFileFacts>
Napi::Value inspectFile(const Napi::CallbackInfo& info);

}  // namespace torchgraft
