// Registers the kernels as torch.ops.gan: shapes are checked and memory comes from torch; derivatives and fake
// implementations are gan.ops.fused. The host's loops serve CPU tensors, in which tests differentiate them.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "kernels.h"
#ifdef GAN_CUDA
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#endif

namespace gan {
namespace {

using at::Tensor;
using Maybe = std::optional<Tensor>;

// Runs the kernel of the tensor's device, on the current stream of it.
template <class Arguments>
void launch(const Tensor& x, void (*on_cuda)(const Arguments&, Stream), void (*on_host)(const Arguments&, Stream),
            const Arguments& arguments) {
#ifdef GAN_CUDA
  if (x.is_cuda()) {
    const c10::cuda::CUDAGuard guard(x.device());
    return on_cuda(arguments, c10::cuda::getCurrentCUDAStream().stream());
  }
#endif
  TORCH_CHECK(x.is_cpu(), "gan: no kernels for ", x.device());
  on_host(arguments, nullptr);
}
#ifdef GAN_CUDA
#define LAUNCH(x, name, arguments) launch(x, cuda::name, host::name, arguments)
#else
#define LAUNCH(x, name, arguments) launch(x, host::name, host::name, arguments)
#endif

Dtype dtype_of(const Tensor& x) {
  switch (x.scalar_type()) {
    case at::kFloat: return Dtype::float32;
    case at::kHalf: return Dtype::float16;
    case at::kBFloat16: return Dtype::bfloat16;
    case at::kDouble: if (x.is_cpu()) return Dtype::float64; [[fallthrough]];
    default: TORCH_CHECK(false, "gan: no kernel for ", x.scalar_type(), " on ", x.device());
  }
}

// What sums and coefficients are in.
at::ScalarType wide(const Tensor& x) { return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat; }

// The order that x is in, if it is dense in one, else contiguous.
at::MemoryFormat order(const Tensor& x) {
  const auto format = x.suggest_memory_format();
  return x.is_contiguous(format) ? format : at::MemoryFormat::Contiguous;
}

// Values of 16 bytes if all of these allow it, else 1.
int vector(int64_t along, std::initializer_list<const void*> pointers, const Tensor& x) {
  const int values = 16 / static_cast<int>(x.element_size());
  const bool aligned = std::all_of(pointers.begin(), pointers.end(),
                                   [](const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; });
  return along % values == 0 && aligned ? values : 1;
}

const void* data(const Tensor& x) { return x.const_data_ptr(); }
const void* data(const Maybe& x) { return x ? x->const_data_ptr() : nullptr; }
double limit(std::optional<double> clamp) { return clamp.value_or(std::numeric_limits<double>::quiet_NaN()); }

void check_like(const Tensor& x, const Maybe& other, at::IntArrayRef shape, const char* name) {
  if (!other) return;
  TORCH_CHECK(other->scalar_type() == wide(x) && other->device() == x.device() && other->is_contiguous() &&
                  other->sizes() == shape,
              "gan: ", name, " is to be contiguous ", wide(x), " ", shape, " on ", x.device());
}

// Tensors of values are read as x is: a pointer of another device would be followed all the same.
void check_alike(const Tensor& x, const Maybe& other, const char* name) {
  TORCH_CHECK(!other || (other->sizes() == x.sizes() && other->scalar_type() == x.scalar_type() &&
                         other->device() == x.device()),
              "gan: ", name, " differs in shape, dtype or device");
}

// x as [n, c, s] around dim, in the order that it is dense in; `merged` where n and s are summed over alike.
Planes planes_of(const Tensor& x, int64_t dim, at::MemoryFormat format, bool merged,
                 std::initializer_list<const void*> pointers) {
  Planes p{1, x.size(dim), 1, false, 1};
  for (int64_t i = 0; i < x.dim(); ++i)
    if (i != dim) (i < dim ? p.n : p.s) *= x.size(i);
  p.last = format != at::MemoryFormat::Contiguous || p.s == 1;
  if (p.last && merged) p.s *= std::exchange(p.n, 1);
  p.vector = vector(p.last ? p.c : p.s, pointers, x);
  return p;
}

// ---- bias_act ----

at::MemoryFormat order_around(const Tensor& x, int64_t dim) {
  return dim == 1 ? order(x) : at::MemoryFormat::Contiguous;
}

Tensor bias_act_op(const Tensor& input, const Maybe& bias, int64_t act, double gain, std::optional<double> clamp,
                   int64_t dim) {
  const auto format = order_around(input, dim);
  const Tensor x = input.contiguous(format);
  check_like(x, bias, {x.size(dim)}, "bias");
  Tensor out = at::empty(x.sizes(), x.options().memory_format(format));
  const Sweep sweep(planes_of(x, dim, format, true, {data(x), data(out)}), false);
  const BiasAct b{dtype_of(x), sweep, data(x), data(bias), nullptr, out.mutable_data_ptr(), nullptr,
                  static_cast<Act>(act), gain, limit(clamp)};
  LAUNCH(x, bias_act, b);
  return out;
}

std::tuple<Tensor, Tensor> bias_act_gradient_op(const Tensor& input, const Maybe& bias, const Maybe& output,
                                                int64_t act, double gain, std::optional<double> clamp, int64_t dim,
                                                bool sum) {
  const auto format = order_around(output ? *output : input, dim);
  const Tensor grad = input.contiguous(format);
  check_like(grad, bias, {grad.size(dim)}, "bias");
  const Maybe y = output ? Maybe(output->contiguous(format)) : output;
  check_alike(grad, y, "y");
  TORCH_CHECK(y || (static_cast<Act>(act) == Act::linear && !clamp), "gan: this derivative needs y");
  Tensor out = at::empty(grad.sizes(), grad.options().memory_format(format));
  const auto planes = planes_of(grad, dim, format, true, {data(grad), data(y), data(out)});
  const Sweep sweep(planes, sum);
  const auto options = grad.options().dtype(wide(grad)).memory_format(at::MemoryFormat::Contiguous);
  Tensor parts = at::empty({sum ? sweep.chunks : 0, planes.n, planes.c}, options);
  const BiasAct b{dtype_of(grad), sweep, data(grad), data(bias), data(y), out.mutable_data_ptr(),
                  sum ? parts.mutable_data_ptr() : nullptr, static_cast<Act>(act), gain, limit(clamp)};
  LAUNCH(grad, bias_act_gradient, b);
  return {out, sum ? parts.sum(at::IntArrayRef{0, 1}) : at::empty({0}, options)};
}

// ---- the modulation's epilogue ----

bool shared_noise(const Tensor& x, const Maybe& noise) {
  if (!noise) return true;
  auto shape = x.sizes().vec();
  shape[1] = 1;
  if (noise->size(0) == 1) shape[0] = 1;
  check_like(x, noise, shape, "noise");
  return shape[0] == 1;
}

Tensor epilogue_op(const Tensor& input, const Maybe& normaliser, const Maybe& noise, const Maybe& strength,
                   const Maybe& bias, int64_t act, double gain, std::optional<double> clamp) {
  const auto format = order(input);
  const Tensor x = input.contiguous(format);
  check_like(x, normaliser, {x.size(0), x.size(1)}, "normaliser");
  check_like(x, strength, {}, "strength");
  check_like(x, bias, {x.size(1)}, "bias");
  TORCH_CHECK(noise.has_value() == strength.has_value(), "gan: noise and its strength go together");
  Tensor out = at::empty(x.sizes(), x.options().memory_format(format));
  const Sweep sweep(planes_of(x, 1, format, false, {data(x), data(out)}), false);
  const Epilogue e{dtype_of(x), sweep, data(x), data(normaliser), data(noise), data(strength), data(bias),
                   shared_noise(x, noise), nullptr, nullptr, out.mutable_data_ptr(), nullptr, static_cast<Act>(act),
                   gain, limit(clamp)};
  LAUNCH(x, epilogue, e);
  return out;
}

std::tuple<Tensor, Tensor> epilogue_gradient_op(const Tensor& gradient, const Tensor& output, const Maybe& input,
                                                const Maybe& normaliser, const Maybe& noise, int64_t act, double gain,
                                                std::optional<double> clamp) {
  const auto format = order(output);
  const Tensor y = output.contiguous(format), grad = gradient.contiguous(format);
  const Maybe x = input ? Maybe(input->contiguous(format)) : input;
  check_like(y, normaliser, {y.size(0), y.size(1)}, "normaliser");
  check_alike(y, grad, "the gradient");
  check_alike(y, x, "x");
  Tensor out = at::empty(y.sizes(), y.options().memory_format(format));
  auto planes = planes_of(y, 1, format, false, {data(y), data(grad), data(x), data(out)});
  const Sweep sweep(planes, true);
  Tensor parts = at::empty({sweep.chunks, y.size(0), y.size(1), 3},
                           y.options().dtype(wide(y)).memory_format(at::MemoryFormat::Contiguous));
  // Without a kink the derivative is a constant and y is not read.
  const bool kink = static_cast<Act>(act) != Act::linear || clamp;
  const Epilogue e{dtype_of(y), sweep, data(x), data(normaliser), data(noise), nullptr, nullptr,
                   shared_noise(y, noise), data(grad), kink ? data(y) : nullptr, out.mutable_data_ptr(), parts.mutable_data_ptr(),
                   static_cast<Act>(act), gain, limit(clamp)};
  LAUNCH(y, epilogue_gradient, e);
  return {out, parts.sum(0)};
}

// ---- upfirdn ----

// padding: (before, after) per axis. The taps run backwards, or with `flip` forwards.
Tensor upfirdn_op(const Tensor& input, const Tensor& filter, int64_t up, int64_t down, at::IntArrayRef padding,
                  double gain, bool flip) {
  const int dims = static_cast<int>(input.dim()) - 2;
  TORCH_CHECK(dims == 2 || dims == 3, "gan: upfirdn takes [n, c, *spatial] of 2 or 3 axes");
  TORCH_CHECK(padding.size() == size_t(2 * dims), "gan: upfirdn takes two paddings an axis");
  check_like(input, filter, {filter.numel()}, "filter");
  const auto format = order(input);
  const Tensor x = input.contiguous(format);
  Upfirdn u{dtype_of(x), dims, 1, x.size(0), x.size(1), {1, 1, 1}, {1, 1, 1}, {0, 0, 0}, int(up), int(down),
            int(filter.numel()), flip, gain, data(x), data(filter), nullptr, {nullptr, nullptr}};
  auto shape = x.sizes().vec();
  int64_t most = x.size(0) * x.size(1);
  for (int i = 0; i < dims; ++i) {
    const int axis = 3 - dims + i;
    u.in[axis] = x.size(2 + i), u.before[axis] = padding[2 * i];
    u.out[axis] = shape[2 + i] = (u.in[axis] * up + padding[2 * i] + padding[2 * i + 1] - u.taps) / down + 1;
    TORCH_CHECK(std::max(u.in[axis], u.out[axis]) < (int64_t(1) << 30), "gan: upfirdn of an axis of 2^30 samples");
    TORCH_CHECK(u.in[axis] * up + padding[2 * i] + padding[2 * i + 1] >= u.taps, "gan: the filter fits nowhere");
    most *= std::max(u.in[axis], u.out[axis]);
  }
  Tensor y = at::empty(shape, x.options().memory_format(format));
  u.y = y.mutable_data_ptr();
  // Channels that do not lie together are images of one channel.
  if (format == at::MemoryFormat::Contiguous) u.n *= std::exchange(u.c, 1);
  u.vector = vector(u.c, {u.x, u.y}, x);
  const auto flat = x.options().memory_format(at::MemoryFormat::Contiguous);
  Tensor between[2];
  for (int i = 0; i < (upfirdn_by_axes(u) ? dims - 1 : 0); ++i) {
    between[i] = at::empty({most}, flat);
    u.scratch[i] = between[i].mutable_data_ptr();
  }
  if (y.numel()) LAUNCH(x, upfirdn, u);
  return y;
}

// ---- the resampling of the augmentation ----

Tensor resampled(const Tensor& input, const Tensor& linear, const Tensor& offset, const Tensor& filter, bool adjoint) {
  TORCH_CHECK(input.dim() == 4 && input.size(2) >= 4 && input.size(3) >= 4 && input.size(2) < (1 << 20) &&
                  input.size(3) < (1 << 20), "gan: affine_resample takes images of 4 x 4 pixels or more");
  check_like(input, linear, {input.size(0), 2, 2}, "linear");
  check_like(input, offset, {input.size(0), 2}, "offset");
  check_like(input, filter, {12}, "filter");
  const auto format = order(input);
  const Tensor x = input.contiguous(format);
  Tensor y = at::empty(x.sizes(), x.options().memory_format(format));
  const int64_t n = x.size(0), c = x.size(1), h = x.size(2), w = x.size(3);
  const auto flat = x.options().dtype(wide(x)).memory_format(at::MemoryFormat::Contiguous);
  Tensor fine = at::empty({n, c, 2 * h - 1, 2 * w - 1}, flat);
  Tensor wide = at::empty({adjoint ? n : 0, c, 2 * h + 10, 2 * w + 10}, flat);
  Resample r{dtype_of(x), n, c, h, w, {}, {}, data(x), data(linear), data(offset), data(filter), y.mutable_data_ptr(),
             fine.mutable_data_ptr(), wide.mutable_data_ptr()};
  std::copy_n(x.strides().begin(), 4, r.from);
  std::copy_n(y.strides().begin(), 4, r.to);
  if (!y.numel()) return y;
  if (adjoint) LAUNCH(x, affine_resample_adjoint, r);
  else LAUNCH(x, affine_resample, r);
  return y;
}

Tensor affine_resample_op(const Tensor& x, const Tensor& linear, const Tensor& offset, const Tensor& filter) {
  return resampled(x, linear, offset, filter, false);
}

Tensor affine_resample_adjoint_op(const Tensor& x, const Tensor& linear, const Tensor& offset, const Tensor& filter) {
  return resampled(x, linear, offset, filter, true);
}

void implement(torch::Library& m) {
  m.impl("bias_act", &bias_act_op);
  m.impl("bias_act_gradient", &bias_act_gradient_op);
  m.impl("epilogue", &epilogue_op);
  m.impl("epilogue_gradient", &epilogue_gradient_op);
  m.impl("upfirdn", &upfirdn_op);
  m.impl("affine_resample", &affine_resample_op);
  m.impl("affine_resample_adjoint", &affine_resample_adjoint_op);
}

}  // namespace
}  // namespace gan

TORCH_LIBRARY(gan, m) {
  m.def("bias_act(Tensor x, Tensor? bias, int act, float gain, float? clamp, int dim) -> Tensor");
  m.def(
      "bias_act_gradient(Tensor grad, Tensor? bias, Tensor? y, int act, float gain, float? clamp, int dim, bool sum)"
      " -> (Tensor, Tensor)");
  m.def(
      "epilogue(Tensor x, Tensor? normaliser, Tensor? noise, Tensor? strength, Tensor? bias, int act, float gain,"
      " float? clamp) -> Tensor");
  m.def(
      "epilogue_gradient(Tensor grad, Tensor y, Tensor? x, Tensor? normaliser, Tensor? noise, int act, float gain,"
      " float? clamp) -> (Tensor, Tensor)");
  m.def("upfirdn(Tensor x, Tensor taps, int up, int down, int[] padding, float gain, bool flip) -> Tensor");
  m.def("affine_resample(Tensor x, Tensor linear, Tensor offset, Tensor taps) -> Tensor");
  m.def("affine_resample_adjoint(Tensor grad, Tensor linear, Tensor offset, Tensor taps) -> Tensor");
}

TORCH_LIBRARY_IMPL(gan, CPU, m) { gan::implement(m); }
#ifdef GAN_CUDA
TORCH_LIBRARY_IMPL(gan, CUDA, m) { gan::implement(m); }
#endif
