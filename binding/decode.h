// Decoding and resizing for JavaScript, on libuv's threads.
#pragma once

#include <napi.h>

namespace torchgraft {

// decodeJpeg(path or bytes, view, target, offset) -> Promise<{ width, height } | undefined>
Napi::Value decodeJpegInto(const Napi::CallbackInfo& info);

// resizePixels({ data, width, height, channels }, view, target, offset) -> Promise<{ width, height }>
Napi::Value resizePixelsInto(const Napi::CallbackInfo& info);

}  // namespace torchgraft
