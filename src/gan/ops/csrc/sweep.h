// One pass over planes [n, c, s] that makes a value of every value, and, on the way, sums over s for every (n, c).
//
// A block has `lanes` threads along the sum and `groups` of them beside each other; neighbours in memory are neighbours
// among the threads in either memory order. Sums are made in a fixed order: along a thread, as a tree over the lanes, and
// last over the chunks, which the caller adds up. So they are the same on every run and every device.
#pragma once

#include "portable.h"

namespace gan::GAN_TARGET {

// F: type `A`, number of `sums`, `per<W>(n, c)` for what W channels share; for V values from `offset` on,
// `take<LAST, V>(offset, n, s)` reads and `make<LAST, V>(shared, input, offset, sums)` writes.
template <class F, bool LAST, int V> struct SweepProgram {
  using A = typename F::A;
  static constexpr int threads = Sweep::threads, W = LAST ? V : 1, S = F::sums * W, phases = S ? 9 : 1;
  struct Shared {
    A sums[S ? S : 1][threads];
  };
  F f;
  Sweep sweep;
  A* out;

  GAN_HD void phase(int p, int64_t block, int thread, Shared& shared) const {
    const int lane = LAST ? thread / sweep.groups : thread % sweep.lanes;
    const int group = LAST ? thread % sweep.groups : thread / sweep.lanes;
    const Planes& planes = sweep.planes;
    const int64_t chunk = split(block, sweep.chunks);
    int64_t n, c;
    if (LAST) {
      c = (split(block, blocks_across(planes)) * sweep.groups + group) * V;
      n = block;
    } else {
      n = block * sweep.groups + group;
      c = split(n, planes.c);
    }
    const bool inside = n < planes.n && c < planes.c;
    if (p == 0) {
      A sums[S ? S : 1] = {};
      if (inside) walk(chunk, lane, n, c, sums);
      GAN_UNROLL for (int i = 0; i < S; ++i) shared.sums[i][thread] = sums[i];
      return;
    }
    const int stride = threads >> p;
    if (lane < stride && lane + stride < sweep.lanes)
      GAN_UNROLL for (int i = 0; i < S; ++i)
        shared.sums[i][thread] += shared.sums[i][thread + stride * (LAST ? sweep.groups : 1)];
    if (p + 1 == phases && lane == 0 && inside && out)
      GAN_UNROLL for (int w = 0; w < W; ++w)
        GAN_UNROLL for (int i = 0; i < F::sums; ++i)
          out[((chunk * planes.n + n) * planes.c + c + w) * F::sums + i] = shared.sums[i * W + w][thread];
  }

  GAN_HD int64_t blocks_across(const Planes& planes) const {
    return (planes.c / V + sweep.groups - 1) / sweep.groups;
  }

  GAN_HD void walk(int64_t chunk, int lane, int64_t n, int64_t c, A (&sums)[S ? S : 1]) const {
    const Planes& planes = sweep.planes;
    const auto shared = f.template per<W>(n, c);
    const int64_t start = LAST ? n * planes.s * planes.c + c : (n * planes.c + c) * planes.s;
    const int64_t stride = LAST ? planes.c : V, width = LAST ? 1 : V;
    const auto take = [&](int64_t i) { return f.template take<LAST, V>(start + i * stride, n, i * width); };
    const auto make = [&](int64_t i, auto in) { f.template make<LAST, V>(shared, in, start + i * stride, sums); };
    const int64_t first = chunk * sweep.steps * sweep.lanes, end = first + sweep.steps * sweep.lanes;
    const int64_t last = end < sweep.length ? end : sweep.length;
    int64_t i = first + lane;
    for (; i + sweep.lanes < last; i += 2 * sweep.lanes) {  // two at a time: more is on its way from memory
      const auto one = take(i), other = take(i + sweep.lanes);
      make(i, one), make(i + sweep.lanes, other);
    }
    if (i < last) make(i, take(i));
  }
};

template <class T, class F> void sweep(const Sweep& plan, const F& f, void* sums, Stream stream) {
  with_vector<T>(plan.planes.vector, [&](auto v) {
    auto* out = static_cast<typename F::A*>(sums);
    if (plan.planes.last) return run(SweepProgram<F, true, v>{f, plan, out}, plan.blocks(), stream);
    run(SweepProgram<F, false, v>{f, plan, out}, plan.blocks(), stream);
  });
}

}  // namespace gan::GAN_TARGET
