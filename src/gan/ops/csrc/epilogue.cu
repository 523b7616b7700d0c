// clip(gain * act(x * normaliser + strength * noise + bias)) and its gradient with three sums: gan.ops.epilogue.
#include "activation.h"
#include "sweep.h"

namespace gan::GAN_TARGET {
namespace {

template <class T> struct EpilogueAt {
  using A = acc<T>;
  static constexpr int sums = 0;
  const T* x;
  const A *normaliser, *noise, *strength, *bias;
  int64_t channels, noise_stride;
  T* out;
  Rectifier<A> f;

  template <int W> struct Per {
    A normaliser[W], bias[W], strength;
  };
  template <int W> GAN_HD Per<W> per(int64_t n, int64_t c) const {
    Per<W> shared;
    shared.strength = noise ? *strength : A(0);
    GAN_UNROLL for (int w = 0; w < W; ++w) {
      shared.normaliser[w] = normaliser ? normaliser[n * channels + c + w] : A(1);
      shared.bias[w] = bias ? bias[c + w] : A(0);
    }
    return shared;
  }

  template <bool LAST, int V, int W, int S>
  GAN_HD void at(const Per<W>& shared, int64_t offset, int64_t n, int64_t s, A (&)[S]) const {
    A value[V];
    load<V>(x + offset, value);
    GAN_UNROLL for (int v = 0; v < V; ++v) {
      const A drawn = noise ? noise[n * noise_stride + s + (LAST ? 0 : v)] : A(0);
      const int w = LAST ? v : 0;
      value[v] = f.value(value[v] * shared.normaliser[w] + drawn * shared.strength + shared.bias[w]);
    }
    store<V>(out + offset, value);
  }
};

// With g = grad * f'(y): g * normaliser, and the sums over s of g * x, g and g * noise.
template <class T> struct EpilogueGradientAt {
  using A = acc<T>;
  static constexpr int sums = 3;
  const T *grad, *y, *x;
  const A *normaliser, *noise;
  int64_t channels, noise_stride;
  T* out;
  Rectifier<A> f;

  template <int W> struct Per {
    A normaliser[W];
  };
  template <int W> GAN_HD Per<W> per(int64_t n, int64_t c) const {
    Per<W> shared;
    GAN_UNROLL for (int w = 0; w < W; ++w) shared.normaliser[w] = normaliser ? normaliser[n * channels + c + w] : A(1);
    return shared;
  }

  template <bool LAST, int V, int W, int S>
  GAN_HD void at(const Per<W>& shared, int64_t offset, int64_t n, int64_t s, A (&total)[S]) const {
    A g[V], output[V], input[V];
    load<V>(grad + offset, g);
    load<V>(y + offset, output);
    if (x) load<V>(x + offset, input);
    GAN_UNROLL for (int v = 0; v < V; ++v) {
      const int w = LAST ? v : 0;
      g[v] *= f.derivative(output[v]);
      total[w] += x ? g[v] * input[v] : A(0);
      total[W + w] += g[v];
      total[2 * W + w] += noise ? g[v] * noise[n * noise_stride + s + (LAST ? 0 : v)] : A(0);
      g[v] *= shared.normaliser[w];
    }
    store<V>(out + offset, g);
  }
};

template <class A> const A* pointer(const void* p) { return static_cast<const A*>(p); }

}  // namespace

void epilogue(const Epilogue& e, Stream stream) {
  with_type(e.dtype, [&](auto type) {
    using T = decltype(type);
    using A = acc<T>;
    const auto& planes = e.sweep.planes;
    const EpilogueAt<T> at{pointer<T>(e.x), pointer<A>(e.normaliser), pointer<A>(e.noise), pointer<A>(e.strength),
                           pointer<A>(e.bias), planes.c, e.shared_noise ? 0 : planes.s, static_cast<T*>(e.out),
                           Rectifier<A>(e.act, e.gain, e.clamp)};
    sweep<T>(e.sweep, at, nullptr, stream);
  });
}

void epilogue_gradient(const Epilogue& e, Stream stream) {
  with_type(e.dtype, [&](auto type) {
    using T = decltype(type);
    using A = acc<T>;
    const auto& planes = e.sweep.planes;
    const EpilogueGradientAt<T> at{pointer<T>(e.grad), pointer<T>(e.y), pointer<T>(e.x), pointer<A>(e.normaliser),
                                   pointer<A>(e.noise), planes.c, e.shared_noise ? 0 : planes.s,
                                   static_cast<T*>(e.out), Rectifier<A>(e.act, e.gain, e.clamp)};
    sweep<T>(e.sweep, at, e.sums, stream);
  });
}

}  // namespace gan::GAN_TARGET
