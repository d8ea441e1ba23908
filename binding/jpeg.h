// JPEG files -> RGB bytes of the model's size, in one pass: decode, turn, resize, cut.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "resample.h"

namespace torchgraft {

/// What is made of an image. As in src/data/geometry.ts: squashed to side x side, or the short side resized to `resize`
/// pixels and side x side cut from the centre.
struct View {
  int resize;
  int side;
  bool squash;
  Filter filter;
};

struct DecodedImage {
  /// Pixels of the original, after EXIF orientation.
  int width;
  int height;
  /// RGB, side * side * 3 bytes.
  std::vector<uint8_t> pixels;
};

/// Nothing when this is no JPEG, or one that is damaged, truncated or of an unusual kind (CMYK, 12 bits, more than 2^28
/// pixels): sharp has the last word on those. `bytes` may be cut after the first three to ask whether it is a JPEG.
std::optional<DecodedImage> decodeJpeg(const uint8_t* bytes, size_t length, const View& view);

/// Whether the addon was compiled with libjpeg-turbo; without, decodeJpeg gives nothing.
bool decodesJpeg();

}  // namespace torchgraft
