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

  template <bool LAST, int V, int W, int S>
  GAN_HD void at(const Per<W>& shared, int64_t offset, int64_t, int64_t, A (&total)[S]) const {
    A value[V], output[V];
    load<V>(x + offset, value);
    if (GRADIENT && y) load<V>(y + offset, output);
    GAN_UNROLL for (int v = 0; v < V; ++v) {
      const A sum = value[v] + shared.bias[LAST ? v : 0];
      if (!GRADIENT) {
        value[v] = f.value(sum);
      } else {
        value[v] = sum * (y ? f.derivative(output[v]) : f.gain);
        total[LAST ? v : 0] += value[v];
      }
    }
    store<V>(out + offset, value);
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
    if (b.act <= Act::lrelu) return go(Rectifier<A>(b.act, b.gain, b.clamp));
    go(Smooth<A>(b.act, b.gain, b.clamp));
  });
}

}  // namespace

void bias_act(const BiasAct& b, Stream stream) { launch<false>(b, stream); }
void bias_act_gradient(const BiasAct& b, Stream stream) { launch<true>(b, stream); }

}  // namespace gan::GAN_TARGET
