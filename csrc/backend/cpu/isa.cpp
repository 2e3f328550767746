#include "isa.h"

#include "../../error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace hearth {
namespace {

#if defined(__x86_64__)

constexpr bool bit(uint64_t value, int index) { return (value >> index) & 1; }

// Which register sets the operating system saves: bits of XCR0.
uint64_t saved_registers() {
  uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t(high) << 32 | low;
}

// Linux hands the 8 KiB of tile registers out on demand only.
bool request_amx_registers() {
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

Isa detect() {
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return Isa::kGeneric;
  const bool fma = bit(c, 12), xsave = bit(c, 27), f16c = bit(c, 29);
  if (!xsave || !fma || !f16c || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return Isa::kGeneric;
  const uint64_t saved = saved_registers();

  const bool ymm = bit(saved, 1) && bit(saved, 2);
  if (!ymm || !bit(b, 5)) return Isa::kGeneric;

  const bool zmm = bit(saved, 5) && bit(saved, 6) && bit(saved, 7);
  const bool f = bit(b, 16), dq = bit(b, 17), bw = bit(b, 30), vl = bit(b, 31), vnni = bit(c, 11);
  if (!zmm || !f || !dq || !bw || !vl || !vnni) return Isa::kAvx2;

  const bool tiles = bit(saved, 17) && bit(saved, 18), amx_tile = bit(d, 24), amx_int8 = bit(d, 25);
  if (!tiles || !amx_tile || !amx_int8 || !request_amx_registers()) return Isa::kAvx512;
  return Isa::kAmx;
}

#else

Isa detect() { return Isa::kGeneric; }

#endif

}  // namespace

Isa best_isa() {
  static const Isa best = detect();
  return best;
}

Isa choose_isa(uint32_t option) {
  if (option == HEARTH_ISA_AUTO) return best_isa();
  if (option > HEARTH_ISA_AMX) {
    refuse("Cannot choose instructions", "isa", format("be 0 to %d", HEARTH_ISA_AMX),
           std::to_string(option));
  }
  if (Isa(option) > best_isa()) {
    throw Error(
        HEARTH_UNSUPPORTED,
        format("Cannot choose instructions: isa %s is not what this CPU has: its best is %s",
               isa_name(Isa(option)), isa_name(best_isa())));
  }
  return Isa(option);
}

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::kGeneric: return "generic";
    case Isa::kAvx2: return "avx2";
    case Isa::kAvx512: return "avx512";
    case Isa::kAmx: return "amx";
  }
  return "unknown";
}

}  // namespace hearth
