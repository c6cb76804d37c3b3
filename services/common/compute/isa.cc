#include "common/compute/isa.h"

#include "absl/strings/str_format.h"

namespace compute {

std::string_view IsaName(Isa isa) {
  switch (isa) {
    case Isa::kPlain:
      return "plain";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512Vnni:
      return "avx512-vnni";
  }
  return "";
}

std::vector<Isa> AvailableIsas() {
  // The built-ins also look at XCR0: whether the operating system keeps the wide registers.
  std::vector<Isa> isas = {Isa::kPlain};
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c") && __builtin_cpu_supports("bmi2");
  if (avx2) isas.push_back(Isa::kAvx2);
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512vnni");
  if (avx2 && avx512) isas.push_back(Isa::kAvx512Vnni);
  return isas;
}

absl::StatusOr<Isa> ChooseIsa(std::string_view name) {
  const std::vector<Isa> available = AvailableIsas();
  if (name.empty() || name == "auto") return available.back();
  for (const Isa isa : {Isa::kPlain, Isa::kAvx2, Isa::kAvx512Vnni}) {
    if (IsaName(isa) != name) continue;
    for (const Isa can : available) {
      if (can == isa) return isa;
    }
    return absl::InvalidArgumentError(absl::StrFormat(
        "isa %s: this CPU cannot run it, it can run up to %s", name, IsaName(available.back())));
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("isa %s does not exist; one of auto, plain, avx2, avx512-vnni", name));
}

}  // namespace compute
