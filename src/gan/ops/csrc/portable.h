// One source for two targets: nvcc makes CUDA kernels of it, a C++ compiler loops that do the same on the CPU.
//
// A program is a struct with `threads`, `phases`, a type `Shared` and `phase(p, block, thread, shared)`: what a thread of
// a block does between two barriers. On the CPU the threads of a phase take turns, so a program is right there only if
// no thread needs, within a phase, what another one writes in it: the same condition as on a GPU.
#pragma once

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "kernels.h"

#ifdef __CUDACC__
#include <cuda_runtime.h>
#define GAN_HD __host__ __device__ __forceinline__
#define GAN_TARGET cuda
#define GAN_UNROLL _Pragma("unroll")
#define GAN_ROLLED _Pragma("unroll 1")
#else
#define GAN_HD inline
#define GAN_TARGET host
#define GAN_UNROLL
#define GAN_ROLLED
#endif

// Templates of the two targets live in one library and must not be taken for each other.
namespace gan::GAN_TARGET {

// Sums of anything but float64 are made in float32.
template <class T> using acc = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <class T, int V> struct alignas(sizeof(T) * V) Vec {
  T values[V];
};

// V values as they lie in memory, at a multiple of their size.
template <class T, int V> struct Raw : Vec<T, V> {
  GAN_HD void widen(acc<T> (&to)[V]) const {
    GAN_UNROLL for (int v = 0; v < V; ++v) to[v] = static_cast<acc<T>>(this->values[v]);
  }
};

// A bfloat16 is the upper half of a float: of a word, a shift and a mask make two. Of two values of 16 bits the compiler
// would make words again and again, at four operations each.
template <int V> requires(V % 2 == 0) struct alignas(2 * V) Raw<c10::BFloat16, V> {
  uint32_t words[V / 2];

  GAN_HD void widen(float (&to)[V]) const {
    GAN_UNROLL for (int w = 0; w < V / 2; ++w) {
      const uint32_t low = words[w] << 16, high = words[w] & 0xffff0000u;
      std::memcpy(&to[2 * w], &low, sizeof low), std::memcpy(&to[2 * w + 1], &high, sizeof high);
    }
  }
};

template <int V, class T> GAN_HD Raw<T, V> read(const T* p) { return *reinterpret_cast<const Raw<T, V>*>(p); }
template <int V, class T> GAN_HD void load(const T* p, acc<T> (&to)[V]) { read<V>(p).widen(to); }

template <int V, class T> GAN_HD void store(T* p, const acc<T> (&from)[V]) {
  Vec<T, V> vec;
  GAN_UNROLL for (int v = 0; v < V; ++v) vec.values[v] = static_cast<T>(from[v]);
#ifdef __CUDA_ARCH__
  // Said in PTX, since of an assignment the compiler makes four stores in some places.
  if constexpr (sizeof vec == 16) {
    const auto word = reinterpret_cast<const uint4&>(vec);
    asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(p), "r"(word.x), "r"(word.y), "r"(word.z), "r"(word.w)
                 : "memory");
    return;
  }
#endif
  *reinterpret_cast<Vec<T, V>*>(p) = vec;
}

// i = quotient * d + remainder; the remainder is returned, the quotient is left in i. In 32 bits where they do.
GAN_HD int64_t split(int64_t& i, int64_t d) {
  if (((i | d) >> 32) == 0) {
    const auto n = static_cast<uint32_t>(i), by = static_cast<uint32_t>(d), q = n / by;
    i = q;
    return n - q * by;
  }
  const int64_t q = i / d, rest = i - q * d;
  i = q;
  return rest;
}

inline int64_t blocks_for(int64_t count, int64_t each) { return (count + each - 1) / each; }

#ifdef __CUDACC__
template <class Program> __global__ void __launch_bounds__(Program::threads) kernel(const Program program) {
  __shared__ typename Program::Shared shared;
  GAN_UNROLL for (int p = 0; p < Program::phases; ++p) {
    if (p) __syncthreads();
    program.phase(p, blockIdx.x, threadIdx.x, shared);
  }
}

template <class Program> void run(const Program& program, int64_t blocks, Stream stream) {
  if (blocks == 0) return;
  if (blocks > 0x7fffffff) throw std::runtime_error("gan: a tensor has more blocks than a CUDA grid");
  kernel<<<static_cast<unsigned>(blocks), Program::threads, 0, static_cast<cudaStream_t>(stream)>>>(program);
  if (const auto error = cudaGetLastError())
    throw std::runtime_error(std::string("gan: a kernel did not start: ") + cudaGetErrorString(error));
}
#else
template <class Program> void run(const Program& program, int64_t blocks, Stream) {
  const auto shared = std::make_unique<typename Program::Shared>();
  for (int64_t block = 0; block < blocks; ++block)
    for (int p = 0; p < Program::phases; ++p)
      for (int thread = 0; thread < Program::threads; ++thread) program.phase(p, block, thread, *shared);
}
#endif

struct Nothing {};

// f(a value of the type) for the type that `dtype` names; float64 is for the CPU, where derivatives are checked with it.
template <class F> void with_type(Dtype dtype, F f) {
  switch (dtype) {
    case Dtype::float32: return f(float{});
    case Dtype::float16: return f(c10::Half{});
    case Dtype::bfloat16: return f(c10::BFloat16{});
#ifndef __CUDACC__
    case Dtype::float64: return f(double{});
#endif
    default: throw std::runtime_error("gan: no kernel for this dtype");
  }
}

// f(std::integral_constant) for the number of values that go in one load: as many as 16 bytes hold, or one.
template <class T, class F> void with_vector(int vector, F f) {
  if (vector > 1) return f(std::integral_constant<int, 16 / sizeof(T)>{});
  f(std::integral_constant<int, 1>{});
}

}  // namespace gan::GAN_TARGET
