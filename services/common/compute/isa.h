// The instruction set levels that CPU kernels are compiled for.

#pragma once

#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace compute {

enum class Isa { kPlain, kAvx2, kAvx512Vnni };

// "plain", "avx2", "avx512-vnni".
std::string_view IsaName(Isa isa);

// What this CPU and its operating system can run, the best last.
std::vector<Isa> AvailableIsas();

// "" or "auto": the best available. kInvalidArgument for a name that does not exist or that this
// CPU cannot run.
absl::StatusOr<Isa> ChooseIsa(std::string_view name);

}  // namespace compute
