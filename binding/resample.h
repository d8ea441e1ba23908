// PIL's antialiased resizing, row by row: the same weights in the same fixed point, so the same bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace torchgraft {

enum class Filter { bilinear, bicubic };

/// What is made of an image. As in src/data/geometry.ts: squashed to side x side, or the short side resized to `resize`
/// pixels and side x side cut from the centre, or from a corner: across and down are -1 for left and top, 1 for right and
/// bottom, 0 for the middle.
struct View {
  int resize;
  int side;
  bool squash;
  Filter filter;
  int across = 0;
  int down = 0;
  /// Of the image: with more it is not decoded.
  uint64_t maxPixels = 0x3fff * 0x3fff;

  /// Of the picture: RGB.
  size_t bytes() const { return static_cast<size_t>(side) * side * 3; }
};

struct DecodedImage {
  /// Pixels of the original, after EXIF orientation.
  int width;
  int height;
  /// RGB, side * side * 3 bytes.
  std::vector<uint8_t> pixels;
};

/// A resized image of width x height pixels and the square window of `side` pixels that is kept of it.
struct Placement {
  int width;
  int height;
  int left;
  int top;
  int side;
};

/// Where an image of width x height pixels goes: the same numbers as place() in src/data/geometry.ts.
Placement place(int width, int height, const View& view);

/// For each output pixel of one axis: the first source pixel that counts, and the weights from there on, of which the
/// last may be 0.
class Axis {
 public:
  /// `extent` is the part of the `length` source pixels that the whole image covers; `target` pixels are made of it, and
  /// weights kept for `count` of them, from `from` on.
  Axis(double extent, int length, int target, int from, int count, Filter filter);

  int first(int output) const { return first_[output]; }
  int taps() const { return taps_; }
  const int32_t* weights(int output) const { return weights_.data() + static_cast<size_t>(output) * taps_; }
  /// Source pixels that count for any output: [begin, end).
  int begin() const { return begin_; }
  int end() const { return end_; }

 private:
  int taps_;
  int begin_;
  int end_;
  std::vector<int> first_;
  std::vector<int32_t> weights_;
};

/// Source rows in, from top to bottom; rows of the window out as soon as they are complete.
class Resampler {
 public:
  /// The source is `width` x `height` pixels of 4 bytes (red, green, blue, anything), and the whole image covers
  /// `extentWidth` x `extentHeight` of them. `output` takes side * side * 3 bytes and outlives the resampler. Columns
  /// are resized first, as in PIL, or rows: the other order rounds some values differently.
  Resampler(double extentWidth, double extentHeight, int width, int height, const Placement& placement, Filter filter,
            bool rowsFirst, uint8_t* output);

  /// Source columns and rows that count: [begin, end).
  const Axis& columns() const { return columns_; }
  const Axis& rows() const { return rows_; }

  /// The next source row, from rows().begin() on; `pixels` points at column `from`.
  void add(const uint8_t* pixels, int from);

 private:
  uint8_t* slot(int row) { return ring_.data() + static_cast<size_t>(row % rows_.taps()) * slotBytes_; }
  void makeRow(uint8_t* out);

  int side_;
  bool rowsFirst_;
  Axis columns_;
  Axis rows_;
  uint8_t* output_;
  int added_;
  int made_ = 0;
  // The last rows().taps() rows: resized along x, 3 bytes a pixel and one to spare, or as they came.
  size_t slotBytes_;
  std::vector<uint8_t> ring_;
  std::vector<const uint8_t*> taps_;
  std::vector<uint8_t> mixed_;
  std::vector<uint8_t> line_;
};

/// Decoded pixels, 8 bits a channel: grey, grey and alpha, RGB or RGBA, row by row. Alpha is dropped.
DecodedImage resizePixels(const uint8_t* pixels, int width, int height, int channels, const View& view);

}  // namespace torchgraft
