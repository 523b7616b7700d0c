// Upsampling by sym6, an affine bilinear warp that reflects, downsampling by sym6, and the adjoint: gan.ops.affine.
//
// The upsampled image (`fine`, 2 n - 1 samples an axis, sample 2 i on pixel i) goes through memory; the warped one
// (2 n + 10 samples, 5 beyond either end) only through a tile in shared memory. The adjoint gathers as well: each fine
// sample looks for the warped ones that have read it, so sums have one order and there are no atomics.
#include "filter.h"

namespace gan::GAN_TARGET {
namespace {

constexpr int K = 12, BEFORE = 3;  // taps; reflected pixels before the first, and one less after the last

template <class A> struct Images {
  int64_t n, c;
  int h, w;
  const A *linear, *offset, *filter;

  explicit Images(const Resample& r)
      : n(r.n), c(r.c), h(int(r.h)), w(int(r.w)), linear(static_cast<const A*>(r.linear)),
        offset(static_cast<const A*>(r.offset)), filter(static_cast<const A*>(r.filter)) {}
  GAN_HD int fine_h() const { return 2 * h - 1; }
  GAN_HD int fine_w() const { return 2 * w - 1; }
  GAN_HD int wide_h() const { return 2 * h + 10; }
  GAN_HD int wide_w() const { return 2 * w + 10; }
};

// Warped sample (i, k), (x, y), reads the fine image at (l00 i' + l01 k' + x, l10 i' + l11 k' + y), i' = i - 4 - w.
template <class A> struct Map {
  A l00, l01, l10, l11, x, y;

  GAN_HD Map(const Images<A>& images, int64_t n) {
    const A *l = images.linear + 4 * n, *o = images.offset + 2 * n;
    l00 = l[0], l01 = l[1], l10 = l[2], l11 = l[3];
    x = 2 * o[0] + A(images.w - 1), y = 2 * o[1] + A(images.h - 1);
  }
  // Fused in so many words: left to compilers, the warp and its adjoint could round differently.
  GAN_HD A at_x(A i, A k) const { return std::fma(l00, i, std::fma(l01, k, x)); }
  GAN_HD A at_y(A i, A k) const { return std::fma(l10, i, std::fma(l11, k, y)); }
};

// An image that nothing moves passes bit for bit.
template <class A> GAN_HD bool still(const Images<A>& images, int64_t n) {
  const A *l = images.linear + 4 * n, *o = images.offset + 2 * n;
  return l[0] == 1 && l[1] == 0 && l[2] == 0 && l[3] == 1 && o[0] == 0 && o[1] == 0;
}

// The places of an axis, 0..span, and its mirror images, in both directions without end.
template <class A> struct Axis {
  A span, inverse;

  GAN_HD explicit Axis(int size) : span(A(size - 1)), inverse(1 / span) {}
  GAN_HD A mirror(A at) const { return std::floor(at * inverse); }
  GAN_HD static bool odd(A mirror) { return mirror != 2 * std::floor(mirror / 2); }
  GAN_HD A folded(A at, A mirror, bool odd) const {
    A r = std::fma(-mirror, span, at);
    if (odd) r = span - r;
    return std::fmin(std::fmax(r, A(0)), span);
  }
  // How much of what is read at a folded place comes from sample p.
  GAN_HD static A weight(A folded, int p) {
    const int low = int(folded);
    const A part = folded - A(low);
    return p == low ? 1 - part : p == low + 1 ? part : A(0);
  }
};

// A coordinate as one of an axis.
template <class A> struct Folded {
  int low;
  A part;  // of the way to low + 1

  GAN_HD Folded(A at, const Axis<A>& axis) {
    const A mirror = axis.mirror(at), r = axis.folded(at, mirror, axis.odd(mirror));
    low = int(r);
    part = r - A(low);
  }
};

GAN_HD int reflect(int i, int n) { return i < 0 ? -i : i >= n ? 2 * (n - 1) - i : i; }

struct Strides {
  int64_t n, c, h, w;
  explicit Strides(const int64_t (&s)[4]) : n(s[0]), c(s[1]), h(s[2]), w(s[3]) {}
  GAN_HD int64_t at(int64_t in, int64_t ic, int ih, int iw) const { return in * n + ic * c + ih * h + iw * w; }
};

// Twice as fine, from reflected pixels; for the adjoint (of the decimating filter) from zeros outside.
template <class T, bool ADJOINT> struct Finer {
  using A = acc<T>;
  using R = Rate<K, 2, 1>;
  static constexpr int threads = 128, phases = 1, ORIGIN = ADJOINT ? -1 : 0;
  using Shared = Nothing;
  Images<A> images;
  Strides strides;
  const T* x;
  A* out;

  GAN_HD int out_h() const { return ADJOINT ? images.wide_h() : images.fine_h(); }
  GAN_HD int out_w() const { return ADJOINT ? images.wide_w() : images.fine_w(); }
  GAN_HD int tiles(int size) const { return (size - ORIGIN + 1) / 2; }
  int64_t blocks() const { return blocks_for(images.n * images.c * tiles(out_h()) * tiles(out_w()), threads); }

  GAN_HD void phase(int, int64_t block, int thread, Nothing&) const {
    int64_t i = block * threads + thread;
    const int tx = int(split(i, tiles(out_w()))), ty = int(split(i, tiles(out_h())));
    const int64_t c = split(i, images.c);
    if (i >= images.n) return;
    A taps[K];
    GAN_UNROLL for (int j = 0; j < K; ++j) taps[j] = images.filter[j];
    const auto read = [&](int iy, int ix, A(&value)[1]) {
      const int before = ADJOINT ? K / 2 : BEFORE;
      int py = ty + iy - before, px = tx + ix - before;
      if (ADJOINT && (py < 0 || py >= images.h || px < 0 || px >= images.w)) {
        value[0] = 0;
      } else {
        py = reflect(py, images.h), px = reflect(px, images.w);
        value[0] = static_cast<A>(x[strides.at(i, c, py, px)]);
      }
    };
    A tile[2][2][1] = {};
    filter_plane<R>(taps, read, tile);
    A* const plane = out + (i * images.c + c) * out_h() * out_w();
    GAN_UNROLL for (int t = 0; t < 2; ++t)
      GAN_UNROLL for (int u = 0; u < 2; ++u) {
        const int oy = 2 * ty + ORIGIN + t, ox = 2 * tx + ORIGIN + u;
        if (oy >= 0 && oy < out_h() && ox >= 0 && ox < out_w())
          plane[int64_t(oy) * out_w() + ox] = tile[t][u][0] * (ADJOINT ? A(1) : A(4));
      }
  }
};

// Half as fine: blocks make 16 x 16 pixels of 42 x 42 samples, first along rows, then along columns. Forward, a sample is
// read through the map. The adjoint (of the refining filter) reads fine ones, and adds what was reflected.
template <class T, bool ADJOINT> struct Coarser {
  using A = acc<T>;
  static constexpr int threads = 256, phases = 3, SIDE = 16, SAMPLES = 2 * SIDE + K - 2;
  struct Shared {
    A samples[SAMPLES][SAMPLES], rows[SAMPLES][SIDE];
  };
  Images<A> images;
  Strides from, to;
  const T* x;
  const A* fine;
  T* out;

  int64_t blocks() const { return images.n * images.c * blocks_for(images.h, SIDE) * blocks_for(images.w, SIDE); }

  GAN_HD void phase(int p, int64_t block, int thread, Shared& shared) const {
    const int x0 = SIDE * int(split(block, (images.w + SIDE - 1) / SIDE));
    const int y0 = SIDE * int(split(block, (images.h + SIDE - 1) / SIDE));
    const int64_t c = split(block, images.c), n = block;
    const bool copy = still(images, n);
    if (p < 2 && copy) return;
    if (p == 0) {
      const A* const plane = fine + (n * images.c + c) * images.fine_h() * images.fine_w();
      const Map<A> map(images, n);
      const Axis<A> across(images.fine_w()), down(images.fine_h());
      for (int i = thread; i < SAMPLES * SAMPLES; i += threads) {
        const int row = i / SAMPLES, column = i % SAMPLES;
        shared.samples[row][column] = sample(plane, map, across, down, 2 * y0 + row, 2 * x0 + column);
      }
    } else if (p == 1) {
      for (int i = thread; i < SAMPLES * SIDE; i += threads) {
        const int row = i / SIDE, column = i % SIDE;
        shared.rows[row][column] = decimate(x0, column, images.w, [&](int j) { return shared.samples[row][j]; });
      }
    } else {
      const int row = thread / SIDE, column = thread % SIDE, py = y0 + row, px = x0 + column;
      if (py >= images.h || px >= images.w) return;
      out[to.at(n, c, py, px)] =
          copy ? x[from.at(n, c, py, px)]
               : static_cast<T>(decimate(y0, row, images.h, [&](int j) { return shared.rows[j][column]; }) *
                                (ADJOINT ? A(4) : A(1)));
    }
  }

  GAN_HD A sample(const A* plane, const Map<A>& map, const Axis<A>& across, const Axis<A>& down, int k, int i) const {
    const int height = images.fine_h(), width = images.fine_w();
    if (ADJOINT) {  // the tile's first pixel has its first tap 2 BEFORE + 1 - K samples on
      const int y = k + 2 * BEFORE + 1 - K, x = i + 2 * BEFORE + 1 - K;
      return y >= 0 && y < height && x >= 0 && x < width ? plane[int64_t(y) * width + x] : A(0);
    }
    const A u = A(i - 4 - images.w), v = A(k - 4 - images.h);
    const Folded<A> fx(map.at_x(u, v), across), fy(map.at_y(u, v), down);
    const int right = fx.low + 1 < width ? 1 : 0, below = fy.low + 1 < height ? width : 0;
    const A* const at = plane + int64_t(fy.low) * width + fx.low;
    return (1 - fy.part) * ((1 - fx.part) * at[0] + fx.part * at[right]) +
           fy.part * ((1 - fx.part) * at[below] + fx.part * at[below + right]);
  }

  template <class Line> GAN_HD A decimate(int start, int t, int size, const Line& line) const {
    A sum = 0;
    GAN_UNROLL for (int j = 0; j < K; ++j) sum += images.filter[j] * line(2 * t + j);
    if (!ADJOINT) return sum;
    const int p = start + t;
    if (p >= 1 && p <= BEFORE) sum += mirrored(-p - p, t, line);
    if (p >= size - BEFORE && p <= size - 2) sum += mirrored(2 * (size - 1 - p), t, line);
    return sum;
  }

  // The same for the reflection of pixel t that lies `away` pixels from it.
  template <class Line> GAN_HD A mirrored(int away, int t, const Line& line) const {
    A sum = 0;
    for (int j = 0; j < K; ++j) {
      const int at = 2 * (t + away) + j;
      if (at >= 0 && at < SAMPLES) sum += images.filter[j] * line(at);
    }
    return sum;
  }
};

// Adjoint of the warp. In each mirror image of a fine sample, the warped ones that reach it lie in a box about where the
// inverse map sends it; whether and how much they do is told by the arithmetic of the warp itself.
template <class A> struct Gather {
  static constexpr int threads = 128, phases = 1, CHANNELS = 4;
  static constexpr A MARGIN = A(0.0625);  // samples: for rounding
  static constexpr A FAR = A(1e4);        // mirror images: beyond, coordinates no longer tell pixels apart
  using Shared = Nothing;
  Images<A> images;
  const A* wide;
  A* fine;

  int64_t groups() const { return blocks_for(images.c, CHANNELS); }
  int64_t blocks() const { return blocks_for(images.n * groups() * images.fine_h() * images.fine_w(), threads); }

  GAN_HD void phase(int, int64_t block, int thread, Nothing&) const {
    int64_t i = block * threads + thread;
    const int px = int(split(i, images.fine_w())), py = int(split(i, images.fine_h()));
    const int64_t c = split(i, (images.c + CHANNELS - 1) / CHANNELS) * CHANNELS, n = i;
    if (n >= images.n || still(images, n)) return;
    const Map<A> map(images, n);
    const Axis<A> across(images.fine_w()), down(images.fine_h());
    A first_x, last_x, first_y, last_y, sums[CHANNELS] = {};
    mirrors(map.l00, map.l01, map.x, across, first_x, last_x);
    mirrors(map.l10, map.l11, map.y, down, first_y, last_y);
    const A* const first = wide + (n * images.c + c) * images.wide_h() * images.wide_w();
    const int count = int(images.c - c < CHANNELS ? images.c - c : CHANNELS);
    if (first_x > -FAR && last_x < FAR && first_y > -FAR && last_y < FAR)  // false of a map that is not finite
      for (A my = first_y; my <= last_y; ++my)
        for (A mx = first_x; mx <= last_x; ++mx) {
          const Image in_x{across, mx, across.odd(mx), px}, in_y{down, my, down.odd(my), py};
          box(map, first, count, in_x, in_y, sums);
        }
    A* const to = fine + ((n * images.c + c) * images.fine_h() + py) * images.fine_w() + px;
    GAN_UNROLL for (int k = 0; k < CHANNELS; ++k)
      if (k < count) to[k * int64_t(images.fine_h()) * images.fine_w()] = sums[k];
  }

  // Which mirror images the warped samples lie in.
  GAN_HD void mirrors(A by_i, A by_k, A centre, const Axis<A>& axis, A& first, A& last) const {
    const A i0 = A(-4 - images.w), i1 = A(images.w + 5), k0 = A(-4 - images.h), k1 = A(images.h + 5);
    const A low = centre + std::fmin(by_i * i0, by_i * i1) + std::fmin(by_k * k0, by_k * k1);
    const A high = centre + std::fmax(by_i * i0, by_i * i1) + std::fmax(by_k * k0, by_k * k1);
    first = axis.mirror(low - MARGIN), last = axis.mirror(high + MARGIN);
  }

  // Pixel p of an axis in one of its mirror images, and how much of what is read at a place comes from it.
  struct Image {
    const Axis<A>& axis;
    A mirror;
    bool odd;
    int p;
    GAN_HD A place() const { return mirror * axis.span + (odd ? axis.span - A(p) : A(p)); }
    GAN_HD A weight(A at) const {
      return axis.mirror(at) == mirror ? axis.weight(axis.folded(at, mirror, odd), p) : A(0);
    }
  };

  // Adds what the samples of `count` channels, the first of them at `first`, pass to a pixel of a mirror image.
  GAN_HD void box(const Map<A>& map, const A* first, int count, const Image& in_x, const Image& in_y,
                  A (&sums)[CHANNELS]) const {
    // Without an inverse these are infinite, what follows is NaN, and fmin and fmax give the whole image.
    const A scale = 1 / (map.l00 * map.l11 - map.l01 * map.l10);
    const A ii = map.l11 * scale, ik = -map.l01 * scale, ki = -map.l10 * scale, kk = map.l00 * scale;
    const int width = images.wide_w(), height = images.wide_h();
    const A dx = in_x.place() - map.x, dy = in_y.place() - map.y;
    const A i = ii * dx + ik * dy, k = ki * dx + kk * dy;
    const A ri = (1 + MARGIN) * (std::abs(ii) + std::abs(ik)) + MARGIN;
    const A rk = (1 + MARGIN) * (std::abs(ki) + std::abs(kk)) + MARGIN;
    const A shift_i = A(4 + images.w), shift_k = A(4 + images.h);
    const int i0 = int(std::fmin(A(width), std::fmax(A(0), std::ceil(i - ri + shift_i))));
    const int i1 = int(std::fmax(A(-1), std::fmin(A(width - 1), std::floor(i + ri + shift_i))));
    const int k0 = int(std::fmin(A(height), std::fmax(A(0), std::ceil(k - rk + shift_k))));
    const int k1 = int(std::fmax(A(-1), std::fmin(A(height - 1), std::floor(k + rk + shift_k))));
    for (int row = k0; row <= k1; ++row)
      for (int column = i0; column <= i1; ++column) {
        const A u = A(column - 4 - images.w), v = A(row - 4 - images.h);
        const A weight = in_x.weight(map.at_x(u, v)) * in_y.weight(map.at_y(u, v));
        if (weight == 0) continue;
        const A* const from = first + int64_t(row) * width + column;
        GAN_UNROLL for (int k = 0; k < CHANNELS; ++k)
          if (k < count) sums[k] += weight * from[k * int64_t(height) * width];
      }
  }
};

template <class Program> void go(const Program& program, Stream stream) { run(program, program.blocks(), stream); }

}  // namespace

void affine_resample(const Resample& r, Stream stream) {
  with_type(r.dtype, [&](auto type) {
    using T = decltype(type);
    using A = acc<T>;
    const Images<A> images(r);
    const auto* x = static_cast<const T*>(r.x);
    auto* fine = static_cast<A*>(r.fine);
    go(Finer<T, false>{images, Strides(r.from), x, fine}, stream);
    go(Coarser<T, false>{images, Strides(r.from), Strides(r.to), x, fine, static_cast<T*>(r.y)}, stream);
  });
}

void affine_resample_adjoint(const Resample& r, Stream stream) {
  with_type(r.dtype, [&](auto type) {
    using T = decltype(type);
    using A = acc<T>;
    const Images<A> images(r);
    const auto* x = static_cast<const T*>(r.x);
    auto *fine = static_cast<A*>(r.fine), *wide = static_cast<A*>(r.wide);
    go(Finer<T, true>{images, Strides(r.from), x, wide}, stream);
    go(Gather<A>{images, wide, fine}, stream);
    go(Coarser<T, true>{images, Strides(r.from), Strides(r.to), x, fine, static_cast<T*>(r.y)}, stream);
  });
}

}  // namespace gan::GAN_TARGET
