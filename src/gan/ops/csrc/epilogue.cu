// clip(gain * act(x * normaliser + strength * noise + bias)) and its gradient with three sums: gan.ops.epilogue.
#include "activation.h"
#include "sweep.h"

namespace gan::GAN_TARGET {
namespace {

// The noise of positions side by side; with channels last all values of a load have one position.
template <class A, int P> GAN_HD void draw(const A* noise, int64_t at, A (&drawn)[P]) {
  GAN_UNROLL for (int p = 0; p < P; ++p) drawn[p] = noise ? noise[at + p] : A(0);
}

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

  template <bool LAST, int V> struct Input {
    A x[V], noise[LAST ? 1 : V];
  };
  template <bool LAST, int V> GAN_HD Input<LAST, V> take(int64_t offset, int64_t n, int64_t s) const {
    Input<LAST, V> in;
    load<V>(x + offset, in.x);
    draw(noise, n * noise_stride + s, in.noise);
    return in;
  }

  template <bool LAST, int V, int W, int S>
  GAN_HD void make(const Per<W>& shared, Input<LAST, V> in, int64_t offset, A (&)[S]) const {
    GAN_UNROLL for (int v = 0; v < V; ++v) {
      const int w = LAST ? v : 0;
      const A drawn = in.noise[LAST ? 0 : v] * shared.strength;
      in.x[v] = f.value(in.x[v] * shared.normaliser[w] + drawn + shared.bias[w]);
    }
    store<V>(out + offset, in.x);
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

  template <bool LAST, int V> struct Input {
    A g[V], y[V], x[V], noise[LAST ? 1 : V];
  };
  template <bool LAST, int V> GAN_HD Input<LAST, V> take(int64_t offset, int64_t n, int64_t s) const {
    Input<LAST, V> in = {};
    load<V>(grad + offset, in.g);
    if (y) load<V>(y + offset, in.y);
    if (x) load<V>(x + offset, in.x);
    draw(noise, n * noise_stride + s, in.noise);
    return in;
  }

  template <bool LAST, int V, int W, int S>
  GAN_HD void make(const Per<W>& shared, Input<LAST, V> in, int64_t offset, A (&total)[S]) const {
    GAN_UNROLL for (int v = 0; v < V; ++v) {
      const int w = LAST ? v : 0;
      in.g[v] *= f.derivative(in.y[v]);
      total[w] += in.g[v] * in.x[v];
      total[W + w] += in.g[v];
      total[2 * W + w] += in.g[v] * in.noise[LAST ? 0 : v];
      in.g[v] *= shared.normaliser[w];
    }
    store<V>(out + offset, in.g);
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
                           Rectifier<A>(e.act, e.gain, static_cast<T>(e.clamp))};
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
                                   static_cast<T*>(e.out), Rectifier<A>(e.act, e.gain, static_cast<T>(e.clamp))};
    sweep<T>(e.sweep, at, e.sums, stream);
  });
}

}  // namespace gan::GAN_TARGET
