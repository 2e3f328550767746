// exp2 of sixteen floats, for weights of a softmax: x at most a little above 0.
#pragma once

namespace hearth {
namespace {

/// 2^x within 1.6e-7 of it, 1 for 0, 0 below -126 (where floats become subnormal), NaN for NaN.
inline Floats16 exp2(Floats16 x) {
  const Floats16 shift = broadcast(12582912.f);  // 1.5 * 2^23: rounds to an integer
  const Floats16 shifted = add(x, shift);
  const Floats16 fraction = subtract(x, subtract(shifted, shift));
  // 2^f on [-1/2, 1/2], relative minimax with the constant fixed at 1.
  Floats16 power = broadcast(0.001326472731307149f);
  power = multiply_add(power, fraction, broadcast(0.009671512991189957f));
  power = multiply_add(power, fraction, broadcast(0.05550733581185341f));
  power = multiply_add(power, fraction, broadcast(0.24022242426872253f));
  power = multiply_add(power, fraction, broadcast(0.6931470036506653f));
  power = multiply_add(power, fraction, broadcast(1.f));
  return zero_where_less(scale_by_power(power, shifted), x, broadcast(-126.f));
}

}  // namespace
}  // namespace hearth
