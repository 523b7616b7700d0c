// Activations and their derivatives, which are told from the output alone: so the clamp is one that its dtype holds.
#pragma once

#include "portable.h"

namespace gan::GAN_TARGET {

template <class A> GAN_HD A clip(A u, A limit) { return std::abs(u) > limit ? std::copysign(limit, u) : u; }

// Piecewise linear: linear, relu and leaky ReLU differ by the slope of the negative side.
template <class A> struct Rectifier {
  A slope, gain, clamp;

  Rectifier(Act act, double gain, double clamp)
      : slope(act == Act::linear ? A(1) : act == Act::relu ? A(0) : A(0.2)), gain(A(gain)), clamp(A(clamp)) {}
  GAN_HD A value(A x) const { return clip((x > 0 ? x : x * slope) * gain, clamp); }
  GAN_HD A derivative(A y) const {
    const A falling = gain * slope, slope_here = y > 0 ? gain : falling;
    return std::abs(y) >= clamp ? A(0) : slope_here;
  }
};

template <class A> struct Smooth {
  Act act;
  A gain, clamp;

  Smooth(Act act, double gain, double clamp) : act(act), gain(A(gain)), clamp(A(clamp)) {}
  GAN_HD A value(A x) const {
    const A u = act == Act::tanh ? std::tanh(x)
              : act == Act::sigmoid ? A(1) / (A(1) + std::exp(-x))
              : x > 20 ? x : std::log1p(std::exp(x));
    return clip(u * gain, clamp);
  }
  // tanh' = 1 - u^2, sigmoid' = u (1 - u), softplus' = 1 - exp(-u) with u = y / gain
  GAN_HD A derivative(A y) const {
    if (std::abs(y) >= clamp) return 0;
    const A u = y / gain;
    return gain * (act == Act::tanh ? A(1) - u * u : act == Act::sigmoid ? u * (A(1) - u) : -std::expm1(-u));
  }
};

}  // namespace gan::GAN_TARGET
