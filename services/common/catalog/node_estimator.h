// How many nodes of a GPU type a model needs, and how its work is split over them.
//
// Pure arithmetic on the catalogue: no clock, no network, the same answer every time.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "common/catalog/gpu_types.h"
#include "common/catalog/presets.h"

namespace catalog {

// Tokens of context that are planned for when the user names none.
inline constexpr int kDefaultContextTokens = 2048;

// Shares of a GPU: the server takes so much of its memory, and needs so much beside weights and
// cache. The server's own ledger uses the same figures.
inline constexpr double kUsableFraction = 0.90;
inline constexpr int64_t kServerReserveBytes = int64_t{1} << 30;

// The GPUs of one node, or of the part of it that a Workspace gets.
struct GpuFacts {
  int gpus = 0;  // 0: a node without GPUs; memory_total_bytes is then the host's.
  int64_t memory_total_bytes = 0;

  int64_t gpu_bytes() const { return gpus > 0 ? memory_total_bytes / gpus : memory_total_bytes; }
};

GpuFacts FactsOf(const GpuType& type);

// Bytes of KV cache that one token takes in all layers, the cache's kind aside.
int64_t KvBytesPerToken(const Preset& preset);

// The node count of the original's formula: what we never exceed. kFailedPrecondition "GPU memory …
// is too small" where the formula has no answer.
absl::StatusOr<int> UpperBoundNodes(const Preset& preset, const GpuFacts& gpus,
                                    int64_t context_tokens);

// The node count that v0.3 asked for, or nullopt: no seed preset, or it refused the type.
std::optional<int> SeedBoundNodes(const Preset& preset, const GpuFacts& gpus);

// Whether a MIG slice ("2g.24gb") holds the model. kInvalidArgument "… only provides …GB …",
// kNotFound "failed to get MIG GPU config" for an unknown profile.
absl::Status CheckMigSlice(const Preset& preset, std::string_view profile, int64_t context_tokens);

// All profile names, as the refusal of an unknown one lists them.
const std::vector<std::string>& MigProfiles();

struct PlanRequest {
  const Preset* preset = nullptr;
  GpuFacts gpus;
  std::string type_name;    // For messages.
  int context_tokens = 0;   // 0: none given; planned for kDefaultContextTokens.
  int count = 0;            // resource.count; 0: absent.
  int nodes_max = 4;        // More nodes need `count` or `bypass`.
  bool bypass = false;      // Memory and plan refusals become warnings.
  int tensor_parallel = 0;  // Degrees that the user set; 0: not set.
  int pipeline_parallel = 0;
  int data_parallel = 0;
  // Where better types are looked for when this one is refused. Optional.
  const GpuTypes* types = nullptr;
  std::string provider;
};

struct NodePlan {
  int nodes = 1;
  int gpus_per_node = 0;
  int tensor_parallel = 1;
  int pipeline_parallel = 1;
  int data_parallel = 1;
  int context_tokens = 0;    // Given, else the largest that fits, at most the model's.
  bool context_auto = true;  // Nobody gave a length.
  int64_t weights_bytes = 0;
  int64_t per_gpu_bytes = 0;  // Planned use of the fullest GPU, at the planned-for context.
  std::optional<int> upper_bound;
  bool deep_pipeline = false;  // More nodes than nodes_max, and the user asked for it.
};

// A plan, or why there is none. With a plan, `message` may hold a warning.
struct PlanOutcome {
  std::optional<NodePlan> plan;
  std::string reason;  // NodePlanRefused, ModelDoesNotFit, ConfigInvalid.
  std::string message;
};

PlanOutcome PlanNodes(const PlanRequest& request);

// GpuNotSupported, or OK: vendor and compute capability against what the server has kernels for.
// A type without GPUs is fine: the server runs on the CPU.
absl::Status CheckGpuServed(const GpuType& type, std::string_view compute_capability_min = "7.0");

}  // namespace catalog
