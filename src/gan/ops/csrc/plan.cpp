// How work is cut into blocks: by shapes alone, so that the order of a sum does not depend on the device.
#include <algorithm>

#include "kernels.h"

namespace gan {

static int power_of_two(int64_t least, int most) {
  int p = 1;
  while (p < least && p < most) p *= 2;
  return p;
}

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

Sweep::Sweep(const Planes& planes, bool sums) : planes(planes) {
  const int64_t across = planes.last ? planes.c / planes.vector : planes.s / planes.vector;
  groups = planes.last ? power_of_two(across, 64) : threads / power_of_two(across, threads);
  lanes = threads / groups;
  length = planes.last ? planes.s : across;
  // Long walks save on parts of sums, short ones keep a large GPU busy with a small tensor.
  const int64_t vectors = planes.n * planes.c * planes.s / planes.vector;
  steps = std::clamp<int64_t>(vectors / (threads * 1024), 4, sums ? 32 : 8);
  chunks = ceil_div(length, lanes * steps);  // none of nothing, whose sums are then zero
}

int64_t Sweep::blocks() const {
  if (planes.n * planes.c * planes.s == 0) return 0;
  if (planes.last) return chunks * ceil_div(planes.c / planes.vector, groups) * planes.n;
  return chunks * ceil_div(planes.n * planes.c, groups);
}

bool upfirdn_by_axes(const Upfirdn& u) {
  return u.up > 2 || u.down > 2 || u.up * u.down > 2 || u.taps > 4;
}

}  // namespace gan
