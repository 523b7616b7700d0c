// clip(gain * act(x + bias)), and its gradient with the sums for the bias: gan.ops.activation.
#include "activation.h"
#include "sweep.h"

namespace gan::GAN_TARGET {
namespace {

// out = f(x + bias), or, for a gradient x, (x + bias) * f'(y) and its sums.
template <class T, class Function, bool GRADIENT> struct BiasActAt {
  using A = acc<T>;
  static constexpr int sums = GRADIENT;
  const T *x, *y;
  const A* bias;
  T* out;
  Function f;

  template <int W> struct Per {
    A bias[W];
  };
  template <int W> GAN_HD Per<W> per(int64_t, int64_t c) const {
    Per<W> shared;
    GAN_UNROLL for (int w = 0; w < W; ++w) shared.bias[w] = bias ? bias[c + w] : A(0);
    return shared;
  }

  template <bool LAST, int V> struct Input {
    A x[V], y[V];
  };
  template <bool LAST, int V> GAN_HD Input<LAST, V> take(int64_t offset, int64_t, int64_t) const {
    Input<LAST, V> in = {};
    load<V>(x + offset, in.x);
    if (GRADIENT && y) load<V>(y + offset, in.y);
    return in;
  }

  template <bool LAST, int V, int W, int S>
  GAN_HD void make(const Per<W>& shared, Input<LAST, V> in, int64_t offset, A (&total)[S]) const {
    GAN_UNROLL for (int v = 0; v < V; ++v) {
      const A sum = in.x[v] + shared.bias[LAST ? v : 0];
      in.x[v] = GRADIENT ? sum * f.derivative(in.y[v]) : f.value(sum);
      if (GRADIENT) total[LAST ? v : 0] += in.x[v];
    }
    store<V>(out + offset, in.x);
  }
};

template <bool GRADIENT> void launch(const BiasAct& b, Stream stream) {
  with_type(b.dtype, [&](auto type) {
    using T = decltype(type);
    using A = acc<T>;
    const auto go = [&](auto function) {
      using At = BiasActAt<T, decltype(function), GRADIENT>;
      const At at{static_cast<const T*>(b.x), static_cast<const T*>(b.y), static_cast<const A*>(b.bias),
                  static_cast<T*>(b.out), function};
      sweep<T>(b.sweep, at, b.sums, stream);
    };
    const auto clamp = static_cast<T>(b.clamp);
    if (b.act <= Act::lrelu) return go(Rectifier<A>(b.act, b.gain, clamp));
    go(Smooth<A>(b.act, b.gain, clamp));
  });
}

}  // namespace

void bias_act(const BiasAct& b, Stream stream) { launch<false>(b, stream); }
void bias_act_gradient(const BiasAct& b, Stream stream) { launch<true>(b, stream); }

}  // namespace gan::GAN_TARGET
