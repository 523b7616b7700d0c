// Separable filtering of a tile that a thread keeps in registers: gan.ops.resample.
//
// y[m] = sum_j taps[j] z[m DOWN + K - 1 - j], z the input with UP - 1 zeros after every sample. If the tile begins where
// a sample is under the first tap that counts, then output t and input s of the tile meet at the tap
// j = t DOWN + K - 1 - s UP, which the compiler knows: zeros are never multiplied.
#pragma once

#include "portable.h"

namespace gan::GAN_TARGET {

template <int K, int UP, int DOWN> struct Rate {
  static constexpr int taps = K, up = UP, down = DOWN;
  GAN_HD static constexpr int inputs(int outputs) { return ((outputs - 1) * DOWN + K - 1) / UP + 1; }
  GAN_HD static constexpr int tap(int t, int s) { return t * DOWN + K - 1 - s * UP; }
  GAN_HD static constexpr bool meets(int t, int s) { return tap(t, s) >= 0 && tap(t, s) < K; }
};

// read(y, x, values) gives V values of input (y, x) of the tile. Adds to out, rows first.
template <class R, int TY, int TX, int V, class A, class Read>
GAN_HD void filter_plane(const A (&taps)[R::taps], const Read& read, A (&out)[TY][TX][V]) {
  GAN_UNROLL for (int iy = 0; iy < R::inputs(TY); ++iy) {
    A row[TX][V] = {};
    GAN_UNROLL for (int ix = 0; ix < R::inputs(TX); ++ix) {
      A value[V];
      read(iy, ix, value);
      GAN_UNROLL for (int t = 0; t < TX; ++t)
        if (R::meets(t, ix))
          GAN_UNROLL for (int v = 0; v < V; ++v) row[t][v] += taps[R::tap(t, ix)] * value[v];
    }
    GAN_UNROLL for (int t = 0; t < TY; ++t)
      if (R::meets(t, iy))
        GAN_UNROLL for (int x = 0; x < TX; ++x)
          GAN_UNROLL for (int v = 0; v < V; ++v) out[t][x][v] += taps[R::tap(t, iy)] * row[x][v];
  }
}

// The same in 3-D, plane by plane: a loop, since its code would be too long unrolled. tap_z(j) reads them from memory, as a loop has to.
template <class R, int TZ, int TY, int TX, int V, class A, class Tap, class Read>
GAN_HD void filter_volume(const A (&taps)[R::taps], const Tap& tap_z, const Read& read, A (&out)[TZ][TY][TX][V]) {
  GAN_ROLLED for (int iz = 0; iz < R::inputs(TZ); ++iz) {
    A plane[TY][TX][V] = {};
    filter_plane<R>(taps, [&](int iy, int ix, A(&values)[V]) { read(iz, iy, ix, values); }, plane);
    GAN_UNROLL for (int t = 0; t < TZ; ++t) {
      const A tap = R::meets(t, iz) ? tap_z(R::tap(t, iz)) : A(0);
      GAN_UNROLL for (int y = 0; y < TY; ++y)
        GAN_UNROLL for (int x = 0; x < TX; ++x)
          GAN_UNROLL for (int v = 0; v < V; ++v) out[t][y][x][v] += tap * plane[y][x][v];
    }
  }
}

}  // namespace gan::GAN_TARGET
