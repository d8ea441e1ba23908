// decodeJpeg for JavaScript: reads and decodes on libuv's threads.
#pragma once

#include <napi.h>

namespace torchgraft {

// decodeJpeg(path or bytes, { resize, side, squash, filter }, target, offset) -> Promise<{ width, height } | undefined>
Napi::Value decodeJpegInto(const Napi::CallbackInfo& info);

}  // namespace torchgraft
