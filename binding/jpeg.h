// JPEG files -> RGB bytes of the model's size, in one pass: decode, turn, resize, cut.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "resample.h"

namespace torchgraft {

/// Nothing when this is no JPEG, or one that is damaged, truncated or of an unusual kind (CMYK, 12 bits, more pixels than the
/// view allows, more than 100 scans): sharp has the last word on those.
std::optional<DecodedImage> decodeJpeg(const uint8_t* bytes, size_t length, const View& view);

/// Whether the addon was compiled with libjpeg-turbo; without, decodeJpeg gives nothing.
bool decodesJpeg();

}  // namespace torchgraft
