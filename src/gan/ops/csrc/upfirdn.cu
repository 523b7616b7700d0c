// Zero-stuff, pad, filter, decimate: gan.ops.resample. All axes in one launch for the rates and lengths that networks use,
// axis by axis for any others.
#include "filter.h"

namespace gan::GAN_TARGET {
namespace {

// Every thread makes a tile of V channels. Filters shorter than K end in zeros, and begin as much earlier.
template <class T, class R, bool DEEP, int TZ, int TY, int TX, int V> struct UpfirdnTile {
  using A = acc<T>;
  static constexpr int threads = 128, phases = 1, K = R::taps;
  static_assert(TX % R::up == 0 && TY % R::up == 0 && (!DEEP || TZ % R::up == 0), "tiles begin on samples");
  using Shared = Nothing;
  const T* x;
  const A* filter;
  T* y;
  int64_t n, c, in[3], out[3], origin[3], first[3], tiles[3];  // per axis: first output and first input of tile 0
  int taps;
  bool flip;
  A gain;

  explicit UpfirdnTile(const Upfirdn& u)
      : x(static_cast<const T*>(u.x)), filter(static_cast<const A*>(u.filter)), y(static_cast<T*>(u.y)), n(u.n),
        c(u.c / V), taps(u.taps), flip(u.flip), gain(A(u.gain)) {
    const int sizes[3] = {TZ, TY, TX};
    for (int axis = 0; axis < 3; ++axis) {
      in[axis] = u.in[axis], out[axis] = u.out[axis];
      const bool idle = axis == 0 && !DEEP;
      const int64_t before = idle ? 0 : u.before[axis] + K - u.taps;
      origin[axis] = !idle && R::up == 2 && before % 2 ? -1 : 0;
      first[axis] = idle ? 0 : (origin[axis] * R::down - before) / R::up;
      tiles[axis] = blocks_for(out[axis] - origin[axis], sizes[axis]);
    }
  }

  int64_t blocks() const { return blocks_for(n * c * tiles[0] * tiles[1] * tiles[2], threads); }

  GAN_HD void phase(int, int64_t block, int thread, Nothing&) const {
    int64_t i = block * threads + thread;
    const int64_t channel = split(i, c), tx = split(i, tiles[2]), ty = split(i, tiles[1]), tz = split(i, tiles[0]);
    if (i >= n) return;
    const auto tap = [&](int j) { return j < taps ? filter[flip ? taps - 1 - j : j] : A(0); };
    A weights[K];
    GAN_UNROLL for (int j = 0; j < K; ++j) weights[j] = tap(j);
    // Axes are counted in 32 bits, memory in 64; from the first input on, offsets are multiples of what is known.
    const int z0 = int(first[0] + (DEEP ? tz * TZ * R::down / R::up : tz)),
              y0 = int(first[1] + ty * TY * R::down / R::up), x0 = int(first[2] + tx * TX * R::down / R::up);
    const int64_t step_x = c * V, step_y = in[2] * step_x, step_z = in[1] * step_y;
    const T* const corner = x + i * in[0] * step_z + z0 * step_z + y0 * step_y + x0 * step_x + channel * V;
    const auto within = [](int at, int64_t size) { return static_cast<unsigned>(at) < static_cast<unsigned>(size); };
    const auto read = [&](int iz, int iy, int ix, A(&values)[V]) {
      if (within(z0 + iz, in[0]) && within(y0 + iy, in[1]) && within(x0 + ix, in[2])) {
        load<V>(corner + iz * step_z + iy * step_y + ix * step_x, values);
      } else {
        GAN_UNROLL for (int v = 0; v < V; ++v) values[v] = 0;
      }
    };
    A tile[TZ][TY][TX][V] = {};
    if constexpr (DEEP) filter_volume<R>(weights, tap, read, tile);
    else filter_plane<R>(weights, [&](int iy, int ix, A(&values)[V]) { read(0, iy, ix, values); }, tile[0]);
    const int a0 = int(origin[0] + tz * TZ), b0 = int(origin[1] + ty * TY), d0 = int(origin[2] + tx * TX);
    GAN_UNROLL for (int t = 0; t < TZ; ++t)
      GAN_UNROLL for (int u = 0; u < TY; ++u)
        GAN_UNROLL for (int w = 0; w < TX; ++w) {
          const int a = a0 + t, b = b0 + u, d = d0 + w;
          if (!within(a, out[0]) || !within(b, out[1]) || !within(d, out[2])) continue;
          GAN_UNROLL for (int v = 0; v < V; ++v) tile[t][u][w][v] *= gain;
          store<V>(y + ((((i * out[0] + a) * out[1] + b) * out[2] + d) * c + channel) * V, tile[t][u][w]);
        }
  }
};

// The same for two axes of V > 1 channels: a thread goes down a column of TX outputs a row, and keeps of the rows of the
// input, filtered across, those that the next outputs need. So each is read and filtered once, and not for every tile.
template <class T, class R, int TX, int V, int ROUNDS> struct UpfirdnColumn {
  using A = acc<T>;
  static constexpr int threads = 128, phases = 1, K = R::taps, WIDE = R::inputs(TX);
  static constexpr int KEPT = R::inputs(R::up);  // rows that meet `up` rows of the result; the next ones begin `down` below
  static constexpr int ROWS = ROUNDS * KEPT / R::down * R::up;
  static_assert(TX % R::up == 0 && KEPT % R::down == 0, "columns begin on samples, rounds end where they began");
  using Shared = Nothing;
  const T* x;
  const A* filter;
  T* y;
  int64_t n, c, columns, strips;
  int in[2], out[2], origin[2], first[2], taps;  // per axis: first output and first input of the first column
  bool flip;
  A gain;

  explicit UpfirdnColumn(const Upfirdn& u)
      : x(static_cast<const T*>(u.x)), filter(static_cast<const A*>(u.filter)), y(static_cast<T*>(u.y)), n(u.n),
        c(u.c / V), taps(u.taps), flip(u.flip), gain(A(u.gain)) {
    for (int axis = 0; axis < 2; ++axis) {
      in[axis] = int(u.in[1 + axis]), out[axis] = int(u.out[1 + axis]);
      const int before = int(u.before[1 + axis]) + K - u.taps;
      origin[axis] = R::up == 2 && before % 2 ? -1 : 0;
      first[axis] = (origin[axis] * R::down - before) / R::up;
    }
    strips = blocks_for(out[0] - origin[0], ROWS), columns = blocks_for(out[1] - origin[1], TX);
  }

  int64_t blocks() const { return blocks_for(n * c * columns * strips, threads); }

  GAN_HD void phase(int, int64_t block, int thread, Nothing&) const {
    int64_t i = block * threads + thread;
    const int64_t channel = split(i, c), column = split(i, columns), strip = split(i, strips);
    if (i >= n) return;
    const auto tap = [&](int j) { return j < taps ? filter[flip ? taps - 1 - j : j] : A(0); };
    A across[K], down[K];
    GAN_UNROLL for (int j = 0; j < K; ++j) across[j] = tap(j), down[j] = across[j] * gain;
    const auto within = [](int at, int size) { return static_cast<unsigned>(at) < static_cast<unsigned>(size); };
    const int64_t step = c * V, line = in[1] * step;
    const int x0 = first[1] + int(column) * TX * R::down / R::up;
    int row = first[0] + int(strip) * (ROWS * R::down / R::up);
    const T* from = x + i * in[0] * line + row * line + x0 * step + channel * V;
    Raw<T, V> coming[WIDE];  // one row, on its way from memory while the last one is filtered down
    const auto fetch = [&] {
      GAN_UNROLL for (int ix = 0; ix < WIDE; ++ix) {
        const bool inside = within(row, in[0]) && within(x0 + ix, in[1]);
        coming[ix] = inside ? read<V>(from + ix * step) : Raw<T, V>{};
      }
      ++row, from += line;
    };
    A kept[KEPT][TX][V];
    const auto keep = [&](A(&to)[TX][V]) {
      GAN_UNROLL for (int t = 0; t < TX; ++t)
        GAN_UNROLL for (int v = 0; v < V; ++v) to[t][v] = 0;
      GAN_UNROLL for (int ix = 0; ix < WIDE; ++ix) {
        A values[V];
        coming[ix].widen(values);
        GAN_UNROLL for (int t = 0; t < TX; ++t)
          if (R::meets(t, ix))
            GAN_UNROLL for (int v = 0; v < V; ++v) to[t][v] += across[R::tap(t, ix)] * values[v];
      }
    };
    fetch();
    GAN_UNROLL for (int iy = 0; iy < KEPT - R::down; ++iy) keep(kept[iy]), fetch();
    const int64_t next = out[1] * step;
    int at = origin[0] + int(strip) * ROWS;
    const int left = origin[1] + int(column) * TX;
    T* to = y + (i * out[0] + at) * next + left * step + channel * V;
    GAN_ROLLED for (int round = 0; round < ROUNDS && at < out[0]; ++round)
      GAN_UNROLL for (int turn = 0; turn < KEPT; turn += R::down) {
        GAN_UNROLL for (int d = R::down; d > 0; --d) keep(kept[(turn + KEPT - d) % KEPT]), fetch();
        GAN_UNROLL for (int t = 0; t < R::up; ++t) {
          GAN_UNROLL for (int w = 0; w < TX; ++w) {
            A sum[V] = {};
            GAN_UNROLL for (int iy = 0; iy < KEPT; ++iy)
              if (R::meets(t, iy))
                GAN_UNROLL for (int v = 0; v < V; ++v) sum[v] += down[R::tap(t, iy)] * kept[(turn + iy) % KEPT][w][v];
            if (within(at, out[0]) && within(left + w, out[1])) store<V>(to + w * step, sum);
          }
          ++at, to += next;
        }
      }
  }
};

// One axis of [outer, in, inner], any rate and length.
template <class T> struct UpfirdnLine {
  using A = acc<T>;
  static constexpr int threads = 256, phases = 1;
  using Shared = Nothing;
  const T* x;
  const A* filter;
  T* y;
  int64_t outer, in, out, inner, before;
  int up, down, taps;
  bool flip;
  A gain;

  GAN_HD void phase(int, int64_t block, int thread, Nothing&) const {
    int64_t i = block * threads + thread;
    if (i >= outer * out * inner) return;
    T* const to = y + i;
    const int64_t within = split(i, inner), m = split(i, out);
    A sum = 0;
    for (int j = 0; j < taps; ++j) {
      int64_t z = m * down + taps - 1 - j - before;
      if (z < 0 || z >= in * up || split(z, up)) continue;
      sum += filter[flip ? taps - 1 - j : j] * static_cast<A>(x[(i * in + z) * inner + within]);
    }
    *to = static_cast<T>(sum * gain);
  }
};

template <class T> void by_axes(const Upfirdn& u, Stream stream) {
  int64_t size[3] = {u.in[0], u.in[1], u.in[2]};
  const void* from = u.x;
  for (int axis = 3 - u.dims, turn = 0; axis < 3; ++axis, ++turn) {
    void* to = axis == 2 ? u.y : u.scratch[turn % 2];
    int64_t outer = u.n, inner = u.c;
    for (int other = 0; other < 3; ++other)
      if (other != axis) (other < axis ? outer : inner) *= size[other];
    const UpfirdnLine<T> line{static_cast<const T*>(from), static_cast<const acc<T>*>(u.filter), static_cast<T*>(to),
                              outer, size[axis], u.out[axis], inner, u.before[axis], u.up, u.down, u.taps, u.flip,
                              axis == 2 ? acc<T>(u.gain) : acc<T>(1)};
    run(line, blocks_for(outer * u.out[axis] * inner, line.threads), stream);
    size[axis] = u.out[axis], from = to;
  }
}

template <class Program> void go(const Upfirdn& u, Stream stream) {
  const Program program(u);
  run(program, program.blocks(), stream);
}

// Tiles of V = 1 lie along columns, so that neighbouring threads read neighbouring pixels. In 3-D the sums of a tile of
// 8 channels would not stay in registers.
template <class T, int V, int UP, int DOWN> void tiled(const Upfirdn& u, Stream stream) {
  using R = Rate<4, UP, DOWN>;
  if (u.dims == 3) return go<UpfirdnTile<T, R, true, 2, 2, (V > 1 ? 2 : UP), (V < 4 ? V : 4)>>(u, stream);
  if constexpr (V > 1) go<UpfirdnColumn<T, R, 2, V, 2>>(u, stream);
  else go<UpfirdnTile<T, R, false, 1, 4, UP, V>>(u, stream);
}

template <class T, int V> void at_rate(const Upfirdn& u, Stream stream) {
  if (u.up == 2) return tiled<T, V, 2, 1>(u, stream);
  if (u.down == 2) return tiled<T, V, 1, 2>(u, stream);
  tiled<T, V, 1, 1>(u, stream);
}

}  // namespace

void upfirdn(const Upfirdn& u, Stream stream) {
  with_type(u.dtype, [&](auto type) {
    using T = decltype(type);
    if (upfirdn_by_axes(u)) return by_axes<T>(u, stream);
    with_vector<T>(u.vector, [&](auto v) { at_rate<T, v>(u, stream); });
  });
}

}  // namespace gan::GAN_TARGET
