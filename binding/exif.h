// The one field of EXIF that changes pixels.
#pragma once

#include <cstddef>
#include <cstdint>

namespace torchgraft {

/// Orientation, 1 to 8, of an APP1 segment's content; 1 where it says none, or nonsense.
int exifOrientation(const uint8_t* bytes, size_t length);

/// How a picture is turned to be seen: swapped along its diagonal first, then mirrored.
struct Turn {
  explicit Turn(int orientation)
      : swap(orientation >= 5),
        mirrorX(orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8),
        mirrorY(orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7) {}
  /// Its columns are rows of the file.
  bool swap;
  /// The file's columns (`mirrorX`) and rows (`mirrorY`) run backwards.
  bool mirrorX;
  bool mirrorY;
  bool any() const { return swap || mirrorX || mirrorY; }
};

}  // namespace torchgraft
