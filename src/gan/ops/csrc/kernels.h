// What the kernels are asked for: plain numbers and pointers, so that they know nothing of torch.
#pragma once

#include <cstdint>

namespace gan {

using Stream = void*;

enum class Dtype { float32, float16, bfloat16, float64 };

// Dense memory of [n, c, s], or, with channels last, of [n, s, c]; `vector` values lie together and aligned: 16 bytes' or 1.
struct Planes {
  int64_t n, c, s;
  bool last;
  int vector;
};

// How blocks of 256 threads go over planes (sweep.h). Sums come in `chunks` parts each, whatever the device is.
struct Sweep {
  static constexpr int threads = 256;
  Planes planes;
  int lanes, groups;  // threads along a sum, and beside each other
  int64_t length, steps, chunks;

  Sweep(const Planes& planes, bool sums);
  int64_t blocks() const;
};

enum class Act { linear, relu, lrelu, tanh, sigmoid, softplus };

// A clamp of NaN is none: nothing compares with it.
struct BiasAct {
  Dtype dtype;
  Sweep sweep;
  const void *x, *bias, *y;  // bias [c] or null; y: the output, for the gradient, or null where it does not matter
  void *out, *sums;          // sums [chunks, n, c] or null
  Act act;
  double gain, clamp;
};

struct Epilogue {
  Dtype dtype;
  Sweep sweep;
  const void *x, *normaliser, *noise, *strength, *bias;  // [n, c], [n or 1, s], [], [c]; null: 1, 0, -, 0
  bool shared_noise;                                     // one for all n
  const void *grad, *y;
  void *out, *sums;  // sums [chunks, n, c, 3]
  Act act;
  double gain, clamp;
};

// [n, d, h, w, c] -> [n, *out, c]; of two axes d is 1. Per axis (d, h, w): the zeros before, negative crops.
struct Upfirdn {
  Dtype dtype;
  int dims, vector;
  int64_t n, c, in[3], out[3], before[3];
  int up, down, taps;
  bool flip;
  double gain;
  const void *x, *filter;
  void *y, *scratch[2];  // scratch: for filters that go axis by axis, what lies between
};

// Images of h x w pixels, moved by [n, 2, 2] and [n, 2]; strides of x and y in values: of n, c, h, w.
struct Resample {
  Dtype dtype;
  int64_t n, c, h, w, from[4], to[4];
  const void *x, *linear, *offset, *filter;
  void *y, *fine, *wide;  // [n, c, 2 h - 1, 2 w - 1], and for the adjoint [n, c, 2 h + 10, 2 w + 10]
};

#define GAN_KERNEL(name, Arguments)                                 \
  namespace cuda { void name(const Arguments&, Stream); }           \
  namespace host { void name(const Arguments&, Stream); }

GAN_KERNEL(bias_act, BiasAct)
GAN_KERNEL(bias_act_gradient, BiasAct)
GAN_KERNEL(epilogue, Epilogue)
GAN_KERNEL(epilogue_gradient, Epilogue)
GAN_KERNEL(upfirdn, Upfirdn)
GAN_KERNEL(affine_resample, Resample)
GAN_KERNEL(affine_resample_adjoint, Resample)
#undef GAN_KERNEL

// Whether `upfirdn` needs its scratch: of [n, c] times the product of the largest size on each axis.
bool upfirdn_by_axes(const Upfirdn&);

}  // namespace gan
