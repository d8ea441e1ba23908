#include "jpeg.h"

#ifdef TORCHGRAFT_JPEG

#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <utility>

#include <jpeglib.h>

#include "exif.h"

namespace torchgraft {

namespace {

// libvips' limit. Each scan of a progressive file costs time for the whole image, however small it is in the file.
constexpr int kMaxScans = 100;
constexpr int kStripRows = 16;
// Neighbours that the decoder mixes into the chroma at the edges of a crop.
constexpr int kChromaMargin = 2;
// Shrunk that much or more after the decoder's own shrinking by 2, 4 or 8.
constexpr double kShrinkLeft = 2;

Placement inFile(const Placement& seen, const Turn& turn) {
  Placement placement = seen;
  if (turn.swap) {
    std::swap(placement.width, placement.height);
    std::swap(placement.left, placement.top);
  }
  if (turn.mirrorX) placement.left = placement.width - placement.side - placement.left;
  if (turn.mirrorY) placement.top = placement.height - placement.side - placement.top;
  return placement;
}

std::vector<uint8_t> turned(const std::vector<uint8_t>& pixels, int side, const Turn& turn) {
  std::vector<uint8_t> out(pixels.size());
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side; ++x) {
      const int column = turn.swap ? y : x;
      const int row = turn.swap ? x : y;
      const size_t from = static_cast<size_t>(turn.mirrorY ? side - 1 - row : row) * side +
                          (turn.mirrorX ? side - 1 - column : column);
      std::copy_n(&pixels[from * 3], 3, &out[(static_cast<size_t>(y) * side + x) * 3]);
    }
  }
  return out;
}

// libjpeg reports errors by jumping out of its C code: each call of it stands alone in `tried`, with nothing to destroy
// between here and there.
class Reader {
 public:
  Reader(const uint8_t* bytes, size_t length) {
    codec_.err = &errors_.manager;
    errors_.manager.error_exit = [](j_common_ptr codec) {
      std::longjmp(reinterpret_cast<Errors*>(codec->err)->jump, 1);
    };
    // Warnings are of damage that PIL and sharp accept too.
    errors_.manager.emit_message = [](j_common_ptr, int) {};
    errors_.manager.output_message = [](j_common_ptr) {};
    errors_.manager.format_message = [](j_common_ptr, char* text) { *text = 0; };
    errors_.manager.reset_error_mgr = [](j_common_ptr) {};
    source_.next_input_byte = bytes;
    source_.bytes_in_buffer = length;
    source_.init_source = [](j_decompress_ptr) {};
    source_.term_source = [](j_decompress_ptr) {};
    source_.resync_to_restart = jpeg_resync_to_restart;
    // All bytes are there from the start: whoever wants more has a truncated file.
    source_.fill_input_buffer = [](j_decompress_ptr codec) -> boolean {
      codec->err->error_exit(reinterpret_cast<j_common_ptr>(codec));
      return FALSE;
    };
    source_.skip_input_data = [](j_decompress_ptr codec, long count) {
      if (count <= 0) return;
      if (static_cast<size_t>(count) > codec->src->bytes_in_buffer) codec->src->fill_input_buffer(codec);
      codec->src->next_input_byte += count;
      codec->src->bytes_in_buffer -= static_cast<size_t>(count);
    };
  }

  Reader(const Reader&) = delete;
  ~Reader() { jpeg_destroy_decompress(&codec_); }

  jpeg_decompress_struct& codec() { return codec_; }

  bool readHeader() {
    return tried([&] {
      jpeg_create_decompress(&codec_);
      codec_.src = &source_;
      progress_.progress_monitor = [](j_common_ptr codec) {
        if (reinterpret_cast<j_decompress_ptr>(codec)->input_scan_number > kMaxScans) codec->err->error_exit(codec);
      };
      codec_.progress = &progress_;
      jpeg_save_markers(&codec_, JPEG_APP0 + 1, 0xffff);
      jpeg_read_header(&codec_, TRUE);
    });
  }

  bool start(int shrink) {
    return tried([&] {
      codec_.scale_num = 1;
      codec_.scale_denom = shrink;
      codec_.out_color_space = JCS_EXT_RGBX;
      jpeg_start_decompress(&codec_);
    });
  }

  /// Leaves out columns on both sides, where it can; gives the first that is kept.
  std::optional<int> crop(int begin, int end) {
    JDIMENSION offset = std::max(0, begin - kChromaMargin);
    JDIMENSION width = std::min<int>(codec_.output_width, end + kChromaMargin) - offset;
    if (!tried([&] { jpeg_crop_scanline(&codec_, &offset, &width); })) return std::nullopt;
    return static_cast<int>(offset);
  }

  bool skip(int rows) {
    return rows <= 0 || tried([&] { jpeg_skip_scanlines(&codec_, rows); });
  }

  bool read(uint8_t* pixels, size_t rowBytes, int rows) {
    return tried([&] {
      for (int row = 0; row < rows;) {
        JSAMPROW pointer = pixels + row * rowBytes;
        row += jpeg_read_scanlines(&codec_, &pointer, 1);
      }
    });
  }

  bool finish() {
    return tried([&] { jpeg_finish_decompress(&codec_); });
  }

 private:
  struct Errors {
    jpeg_error_mgr manager{};
    std::jmp_buf jump;
  };

  template <typename Call>
  bool tried(Call call) {
    if (setjmp(errors_.jump) != 0) return false;
    call();
    return true;
  }

  jpeg_decompress_struct codec_{};
  jpeg_source_mgr source_{};
  jpeg_progress_mgr progress_{};
  Errors errors_;
};

bool isUsual(const jpeg_decompress_struct& codec, uint64_t maxPixels) {
  const bool colours = codec.jpeg_color_space == JCS_GRAYSCALE || codec.jpeg_color_space == JCS_YCbCr ||
                       codec.jpeg_color_space == JCS_RGB;
  return colours && codec.data_precision == 8 && uint64_t{codec.image_width} * codec.image_height <= maxPixels;
}

int orientationOf(const jpeg_decompress_struct& codec) {
  for (const auto* marker = codec.marker_list; marker; marker = marker->next) {
    if (const int found = exifOrientation(marker->data, marker->data_length); found != 1) return found;
  }
  return 1;
}

int shrinkOnLoad(double shrink) {
  for (int factor : {8, 4, 2}) {
    if (shrink >= factor * kShrinkLeft) return factor;
  }
  return 1;
}

bool resizeInto(Reader& reader, const Placement& placement, Filter filter, bool rowsFirst, uint8_t* output) {
  const auto& codec = reader.codec();
  const int shrink = shrinkOnLoad(std::min(static_cast<double>(codec.image_width) / placement.width,
                                           static_cast<double>(codec.image_height) / placement.height));
  if (!reader.start(shrink)) return false;
  Resampler resampler(static_cast<double>(codec.image_width) / shrink, static_cast<double>(codec.image_height) / shrink,
                      codec.output_width, codec.output_height, placement, filter, rowsFirst, output);
  const auto from = reader.crop(resampler.columns().begin(), resampler.columns().end());
  if (!from || !reader.skip(resampler.rows().begin())) return false;
  const size_t rowBytes = size_t{codec.output_width} * 4;
  std::vector<uint8_t> strip(rowBytes * kStripRows);
  for (int row = resampler.rows().begin(); row < resampler.rows().end();) {
    const int count = std::min(kStripRows, resampler.rows().end() - row);
    if (!reader.read(strip.data(), rowBytes, count)) return false;
    for (int i = 0; i < count; ++i) resampler.add(strip.data() + i * rowBytes, *from);
    row += count;
  }
  // The last row is read, whatever the window: skipping to the very end would not look at the bytes.
  const int left = static_cast<int>(codec.output_height) - resampler.rows().end();
  return reader.skip(left - 1) && reader.read(strip.data(), rowBytes, std::min(left, 1)) && reader.finish();
}

}  // namespace

std::optional<DecodedImage> decodeJpeg(const uint8_t* bytes, size_t length, const View& view) {
  if (length < 3 || bytes[0] != 0xff || bytes[1] != 0xd8 || bytes[2] != 0xff) return std::nullopt;
  Reader reader(bytes, length);
  if (!reader.readHeader() || !isUsual(reader.codec(), view.maxPixels)) return std::nullopt;
  const Turn turn(orientationOf(reader.codec()));
  DecodedImage image;
  image.width = reader.codec().image_width;
  image.height = reader.codec().image_height;
  if (turn.swap) std::swap(image.width, image.height);
  const Placement placement = inFile(place(image.width, image.height, view), turn);
  image.pixels.resize(view.bytes());
  // Columns as they are seen go first.
  if (!resizeInto(reader, placement, view.filter, turn.swap, image.pixels.data())) return std::nullopt;
  if (turn.any()) image.pixels = turned(image.pixels, view.side, turn);
  return image;
}

bool decodesJpeg() { return true; }

}  // namespace torchgraft

#else

namespace torchgraft {

std::optional<DecodedImage> decodeJpeg(const uint8_t*, size_t, const View&) { return std::nullopt; }

bool decodesJpeg() { return false; }

}  // namespace torchgraft

#endif
