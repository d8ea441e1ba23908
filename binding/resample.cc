#include "resample.h"

#include <algorithm>
#include <cmath>
#include <cstring>

// One function compiled for several processors, the best of them chosen when the addon is loaded.
#if defined(__x86_64__) && defined(__GLIBC__)
#define FOR_THIS_PROCESSOR __attribute__((target_clones("avx2", "default")))
#else
#define FOR_THIS_PROCESSOR
#endif

namespace torchgraft {

namespace {

// Weights are integers of this many binary places: 8 bits of pixel and 2 to spare fill 32.
constexpr int kPlaces = 22;
constexpr int32_t kHalf = 1 << (kPlaces - 1);

double triangle(double x) {
  x = std::fabs(x);
  return x < 1 ? 1 - x : 0;
}

// Keys' cubic with a = -0.5.
double cubic(double x) {
  x = std::fabs(x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  if (x < 2) return -0.5 * (((x - 5) * x + 8) * x - 4);
  return 0;
}

int32_t toFixed(double weight) {
  return static_cast<int32_t>((weight < 0 ? -0.5 : 0.5) + weight * (1 << kPlaces));
}

typedef uint8_t Bytes __attribute__((vector_size(16)));
typedef int32_t Ints __attribute__((vector_size(16)));

FOR_THIS_PROCESSOR
void resizeRow(const uint8_t* pixels, const Axis& axis, int count, uint8_t* out) {
  const int taps = axis.taps();
  const int32_t* weights = axis.weights(0);
  for (int x = 0; x < count; ++x, weights += taps) {
    const uint8_t* source = pixels + static_cast<ptrdiff_t>(axis.first(x)) * 4;
    Ints sum = {kHalf, kHalf, kHalf, kHalf};
    for (int tap = 0; tap < taps; ++tap, source += 4) {
      // Four bytes become four integers: each is followed by three of the zeros.
      Bytes pixel{};
      std::memcpy(&pixel, source, 4);
      pixel = __builtin_shufflevector(pixel, pixel, 0, 4, 4, 4, 1, 4, 4, 4, 2, 4, 4, 4, 3, 4, 4, 4);
      sum += reinterpret_cast<Ints>(pixel) * weights[tap];
    }
    sum >>= kPlaces;
    sum = sum < 0 ? Ints{} : sum;
    sum = sum > 255 ? Ints{} + 255 : sum;
    Bytes clipped = reinterpret_cast<Bytes>(sum);
    clipped = __builtin_shufflevector(clipped, clipped, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12);
    std::memcpy(out + static_cast<ptrdiff_t>(x) * 3, &clipped, 4);
  }
}

FOR_THIS_PROCESSOR
void mixRows(const uint8_t* const* rows, const int32_t* weights, int taps, int count, uint8_t* out) {
  constexpr int kBlock = 32;
  for (int from = 0; from < count; from += kBlock) {
    const int length = std::min(kBlock, count - from);
    int32_t sums[kBlock];
    for (int i = 0; i < kBlock; ++i) sums[i] = kHalf;
    for (int tap = 0; tap < taps; ++tap) {
      const uint8_t* row = rows[tap] + from;
      const int32_t weight = weights[tap];
      if (length == kBlock) {
        for (int i = 0; i < kBlock; ++i) sums[i] += row[i] * weight;
      } else {
        for (int i = 0; i < length; ++i) sums[i] += row[i] * weight;
      }
    }
    for (int i = 0; i < length; ++i) {
      out[from + i] = static_cast<uint8_t>(std::clamp(sums[i] >> kPlaces, 0, 255));
    }
  }
}

int roundHalfToEven(double value) { return static_cast<int>(std::nearbyint(value)); }

}  // namespace

Placement place(int width, int height, const View& view) {
  if (view.squash) return {view.side, view.side, 0, 0, view.side};
  const int64_t longest = std::max(width, height);
  const int other = static_cast<int>(view.resize * longest / std::min(width, height));
  Placement placement{width <= height ? view.resize : other, width <= height ? other : view.resize, 0, 0, view.side};
  const auto start = [&](int towards, int length) {
    const int margin = length - view.side;
    return towards < 0 ? 0 : towards > 0 ? margin : roundHalfToEven(margin / 2.0);
  };
  placement.left = start(view.across, placement.width);
  placement.top = start(view.down, placement.height);
  return placement;
}

Axis::Axis(double extent, int length, int target, int from, int count, Filter filter) : first_(count) {
  const double scale = extent / target;
  const double stretch = std::max(scale, 1.0);
  const double support = (filter == Filter::bilinear ? 1.0 : 2.0) * stretch;
  auto centre = [&](int output) { return (from + output + 0.5) * scale; };
  auto low = [&](int output) { return std::max(static_cast<int>(centre(output) - support + 0.5), 0); };
  auto high = [&](int output) { return std::min(static_cast<int>(centre(output) + support + 0.5), length); };
  taps_ = 0;
  for (int i = 0; i < count; ++i) taps_ = std::max(taps_, high(i) - low(i));
  begin_ = length;
  end_ = 0;
  weights_.assign(static_cast<size_t>(count) * taps_, 0);
  std::vector<double> exact(taps_);
  for (int i = 0; i < count; ++i) {
    double sum = 0;
    for (int x = low(i); x < high(i); ++x) {
      const double at = (x - centre(i) + 0.5) * (1 / stretch);
      sum += exact[x - low(i)] = filter == Filter::bilinear ? triangle(at) : cubic(at);
    }
    // Where the last taps would lie outside, the window moves in and its first taps weigh nothing.
    first_[i] = std::min(low(i), length - taps_);
    int32_t* weights = weights_.data() + static_cast<size_t>(i) * taps_ - first_[i];
    for (int x = low(i); x < high(i); ++x) weights[x] = toFixed(exact[x - low(i)] / sum);
    begin_ = std::min(begin_, first_[i]);
    end_ = std::max(end_, first_[i] + taps_);
  }
}

Resampler::Resampler(double extentWidth, double extentHeight, int width, int height, const Placement& placement,
                     Filter filter, bool rowsFirst, uint8_t* output)
    : side_(placement.side),
      rowsFirst_(rowsFirst),
      columns_(extentWidth, width, placement.width, placement.left, placement.side, filter),
      rows_(extentHeight, height, placement.height, placement.top, placement.side, filter),
      output_(output),
      added_(rows_.begin()),
      slotBytes_(rowsFirst ? static_cast<size_t>(columns_.end() - columns_.begin()) * 4 : placement.side * size_t{3} + 1),
      ring_(rows_.taps() * slotBytes_),
      taps_(rows_.taps()),
      mixed_(rowsFirst ? slotBytes_ : 0),
      line_(rowsFirst ? placement.side * size_t{3} + 1 : 0) {}

void Resampler::add(const uint8_t* pixels, int from) {
  uint8_t* kept = slot(added_);
  if (rowsFirst_) {
    std::memcpy(kept, pixels + static_cast<ptrdiff_t>(columns_.begin() - from) * 4, slotBytes_);
  } else {
    resizeRow(pixels - static_cast<ptrdiff_t>(from) * 4, columns_, side_, kept);
  }
  ++added_;
  for (; made_ < side_ && rows_.first(made_) + rows_.taps() <= added_; ++made_) {
    makeRow(output_ + static_cast<size_t>(made_) * side_ * 3);
  }
}

void Resampler::makeRow(uint8_t* out) {
  for (int tap = 0; tap < rows_.taps(); ++tap) taps_[tap] = slot(rows_.first(made_) + tap);
  if (!rowsFirst_) return mixRows(taps_.data(), rows_.weights(made_), rows_.taps(), side_ * 3, out);
  mixRows(taps_.data(), rows_.weights(made_), rows_.taps(), static_cast<int>(slotBytes_), mixed_.data());
  resizeRow(mixed_.data() - static_cast<ptrdiff_t>(columns_.begin()) * 4, columns_, side_, line_.data());
  std::copy_n(line_.begin(), side_ * 3, out);
}

DecodedImage resizePixels(const uint8_t* pixels, int width, int height, int channels, const View& view) {
  DecodedImage image{width, height, std::vector<uint8_t>(view.bytes())};
  Resampler resampler(width, height, width, height, place(width, height, view), view.filter, false, image.pixels.data());
  const int begin = resampler.columns().begin();
  const int count = resampler.columns().end() - begin;
  const int green = channels > 2 ? 1 : 0;
  std::vector<uint8_t> row(static_cast<size_t>(count) * 4);
  for (int y = resampler.rows().begin(); y < resampler.rows().end(); ++y) {
    const uint8_t* from = pixels + (static_cast<size_t>(y) * width + begin) * channels;
    for (int x = 0; x < count; ++x, from += channels) {
      row[x * 4] = from[0];
      row[x * 4 + 1] = from[green];
      row[x * 4 + 2] = from[green * 2];
    }
    resampler.add(row.data(), begin);
  }
  return image;
}

}  // namespace torchgraft
