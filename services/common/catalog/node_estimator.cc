#include "common/catalog/node_estimator.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"

#include "common/base/check.h"

namespace catalog {
namespace {

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;
constexpr double kBoundUsable = 0.84;         // The original's share of GPU memory,
constexpr double kBoundReserve = 2.3 * kGiB;  // its fixed overhead,
constexpr double kBoundOverhead = 1.05;       // and what it adds per byte of weights.
constexpr double kBoundWeights = 1.02;
constexpr int kNodesSearchMax = 1024;
constexpr int kSuggestionsMax = 3;

struct Split {
  int tensor = 1;
  int pipeline = 1;
  int data = 1;
};

// Devices of a node: its GPUs, or the host itself.
int Devices(const GpuFacts& gpus) { return std::max(gpus.gpus, 1); }

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t PlannedContext(const PlanRequest& request) {
  return request.context_tokens > 0 ? request.context_tokens : kDefaultContextTokens;
}

// Bytes of one layer's cache for one token on one rank. Heads are divided while they last, then
// replicated; a latent cache is the same on every rank.
int64_t KvBytesPerLayerToken(const Preset& preset, int tensor) {
  if (preset.kv_lora_rank > 0) {
    return 2 * (int64_t{preset.kv_lora_rank} + preset.qk_rope_head_dim);
  }
  return 4 * CeilDiv(preset.kv_heads, tensor) * preset.head_dim;
}

// Cache of one sequence of `context` tokens on one rank.
double KvBytes(const Preset& preset, const Split& split, int64_t context) {
  const int full = preset.layers - preset.window_layers - preset.recurrent_layers;
  const int64_t window = std::min<int64_t>(context, preset.sliding_window);
  const int64_t tokens = CeilDiv(full, split.pipeline) * context +
                         CeilDiv(preset.window_layers, split.pipeline) * window;
  return static_cast<double>(tokens) *
         static_cast<double>(KvBytesPerLayerToken(preset, split.tensor));
}

// Weights of the fullest rank: stages are balanced by bytes.
double WeightBytes(const Preset& preset, const Split& split) {
  return static_cast<double>(preset.weights_bytes) / (split.tensor * split.pipeline);
}

double RankBytes(const Preset& preset, const Split& split, int64_t context) {
  return WeightBytes(preset, split) + KvBytes(preset, split, context) +
         static_cast<double>(kServerReserveBytes);
}

double Budget(const GpuFacts& gpus) {
  return static_cast<double>(gpus.gpu_bytes()) * kUsableFraction;
}

bool Fits(const PlanRequest& request, const Split& split) {
  if (request.preset->weights_bytes == 0) return true;  // Unknown: nothing to check.
  return RankBytes(*request.preset, split, PlannedContext(request)) <= Budget(request.gpus);
}

bool DividesHeads(const Preset& preset, int tensor) {
  return preset.heads == 0 || preset.heads % tensor == 0;
}

// One node, several GPUs, a model that fills less than half of one: a copy on each.
bool WantsCopies(const PlanRequest& request) {
  const Preset& preset = *request.preset;
  return request.gpus.gpus > 1 && preset.weights_bytes > 0 &&
         preset.weights_bytes * 2 < request.gpus.gpu_bytes() && Fits(request, Split{});
}

// The split of `nodes` nodes that fits, widest tensor degree first; nullopt when none does.
std::optional<Split> SplitFor(const PlanRequest& request, int nodes) {
  const int devices = Devices(request.gpus);
  if (nodes == 1 && WantsCopies(request)) return Split{.data = devices};
  for (int tensor = devices; tensor >= 1; --tensor) {
    if (!DividesHeads(*request.preset, tensor)) continue;
    // Several nodes are stages of one pipeline; GPUs that `tensor` leaves over may be stages too.
    for (int stages = 1; stages <= devices / tensor; ++stages) {
      const Split split{.tensor = tensor, .pipeline = nodes * stages};
      if (Fits(request, split)) return split;
    }
  }
  return std::nullopt;
}

// The split where memory is not asked about: for what the user insists on.
Split PlainSplit(const PlanRequest& request, int nodes) {
  int tensor = Devices(request.gpus);
  while (!DividesHeads(*request.preset, tensor)) --tensor;
  return {.tensor = tensor, .pipeline = nodes};
}

struct Found {
  int nodes = 0;
  Split split;
};

std::optional<Found> SmallestFit(const PlanRequest& request, int nodes_max) {
  for (int nodes = 1; nodes <= nodes_max; ++nodes) {
    if (const std::optional<Split> split = SplitFor(request, nodes)) return Found{nodes, *split};
  }
  return std::nullopt;
}

std::optional<int> Bound(const PlanRequest& request) {
  const auto bound = UpperBoundNodes(*request.preset, request.gpus, PlannedContext(request));
  const std::optional<int> seed = SeedBoundNodes(*request.preset, request.gpus);
  if (!bound.ok()) return seed;
  return seed ? std::min(*bound, *seed) : *bound;
}

// Where there is no bound, stages still cannot be more than layers.
int SearchLimit(const PlanRequest& request, const std::optional<int>& bound) {
  if (bound) return std::min(*bound, kNodesSearchMax);
  const int layers = request.preset->layers;
  return layers > 0 ? std::min(layers, kNodesSearchMax) : kNodesSearchMax;
}

// The longest context of one sequence for which `split` fits; at most the model's own limit.
int LargestContext(const PlanRequest& request, const Split& split) {
  const int limit = std::max(request.preset->context, 1);
  if (request.preset->weights_bytes == 0) return limit;
  int low = 0;
  int high = limit;
  while (low < high) {  // Memory grows with the context, so halving finds the edge.
    const int middle = low + (high - low + 1) / 2;
    const bool fits = RankBytes(*request.preset, split, middle) <= Budget(request.gpus);
    (fits ? low : high) = fits ? middle : middle - 1;
  }
  return low;
}

NodePlan MakePlan(const PlanRequest& request, const Found& found, const std::optional<int>& bound) {
  NodePlan plan{
      .nodes = found.nodes,
      .gpus_per_node = request.gpus.gpus,
      .tensor_parallel = found.split.tensor,
      .pipeline_parallel = found.split.pipeline,
      .data_parallel = found.split.data,
      .context_tokens = request.context_tokens,
      .context_auto = request.context_tokens == 0,
      .weights_bytes = request.preset->weights_bytes,
      .per_gpu_bytes =
          static_cast<int64_t>(RankBytes(*request.preset, found.split, PlannedContext(request))),
      .upper_bound = bound,
      .deep_pipeline = found.nodes > request.nodes_max,
  };
  if (plan.context_auto) plan.context_tokens = LargestContext(request, found.split);
  return plan;
}

struct Suggestion {
  const GpuType* type;
  int nodes;
};

// Types of the same provider on which the model needs fewer nodes: fewest first, then the least
// memory, then the price.
std::vector<Suggestion> BetterTypes(const PlanRequest& request, int nodes_wanted) {
  std::vector<Suggestion> better;
  if (request.types == nullptr) return better;
  for (const GpuType* type : request.types->All(request.provider)) {
    if (type->gpus == 0 || !CheckGpuServed(*type).ok()) continue;
    PlanRequest other = request;
    other.gpus = FactsOf(*type);
    const std::optional<Found> found =
        SmallestFit(other, std::min(request.nodes_max, nodes_wanted));
    if (found && found->nodes < nodes_wanted) better.push_back({type, found->nodes});
  }
  const auto order = [](const Suggestion& s) {
    return std::tuple(s.nodes, s.type->memory_total_gib, s.type->usd_per_hour.value_or(1e9),
                      s.type->name);
  };
  std::ranges::sort(better, [&](const auto& a, const auto& b) { return order(a) < order(b); });
  if (better.size() > kSuggestionsMax) better.resize(kSuggestionsMax);
  return better;
}

std::string SuggestionText(const PlanRequest& request, int nodes_wanted) {
  std::string text;
  for (const Suggestion& s : BetterTypes(request, nodes_wanted)) {
    text += absl::StrFormat("%s%s (%d node%s)", text.empty() ? "" : ", ", s.type->name, s.nodes,
                            s.nodes == 1 ? "" : "s");
  }
  return text.empty() ? "no other type of this provider does better" : "try " + text;
}

std::string Subject(const PlanRequest& request) {
  return absl::StrFormat("%s on %s (%.1f GiB per GPU)", request.preset->id, request.type_name,
                         static_cast<double>(request.gpus.gpu_bytes()) / kGiB);
}

PlanOutcome DoesNotFit(const PlanRequest& request, const std::optional<int>& bound) {
  const int nodes = SearchLimit(request, bound);
  const int context = LargestContext(request, PlainSplit(request, nodes));
  const std::string longest =
      context > 0 ? absl::StrFormat("the largest context that fits is %d tokens", context)
                  : "the weights alone do not fit";
  return {.reason = "ModelDoesNotFit",
          .message = absl::StrFormat(
              "%s does not fit with a context of %d tokens, on up to %d node%s; %s; %s",
              Subject(request), PlannedContext(request), nodes, nodes == 1 ? "" : "s", longest,
              SuggestionText(request, nodes + 1))};
}

std::string TooManyNodes(const PlanRequest& request, int nodes) {
  return absl::StrFormat(
      "%s needs %d nodes, more than the limit of %d; %s, or agree to them by creating the "
      "Workspace "
      "with resource.count %d",
      Subject(request), nodes, request.nodes_max, SuggestionText(request, nodes), nodes);
}

// Degrees that the user set win over the plan's, if there are GPUs enough.
PlanOutcome WithUserDegrees(const PlanRequest& request, PlanOutcome outcome) {
  if (!outcome.plan) return outcome;
  NodePlan& plan = *outcome.plan;
  if (request.tensor_parallel == 0 && request.pipeline_parallel == 0 &&
      request.data_parallel == 0) {
    return outcome;
  }
  const int64_t tensor = std::max(request.tensor_parallel, 1);
  const int64_t pipeline = std::max(request.pipeline_parallel, 1);
  const int64_t data = std::max(request.data_parallel, 1);
  const int64_t gpus = int64_t{plan.nodes} * Devices(request.gpus);
  if (tensor > gpus || pipeline > gpus || data > gpus || tensor * pipeline * data > gpus) {
    return {.reason = "ConfigInvalid",
            .message = absl::StrFormat(
                "the configured degrees (tensor %d, pipeline %d, data %d) need more GPUs than the "
                "plan's %d (%d node%s of %s)",
                tensor, pipeline, data, gpus, plan.nodes, plan.nodes == 1 ? "" : "s",
                request.type_name)};
  }
  plan.tensor_parallel = static_cast<int>(tensor);
  plan.pipeline_parallel = static_cast<int>(pipeline);
  plan.data_parallel = static_cast<int>(data);
  return outcome;
}

PlanOutcome PlanWithoutUserDegrees(const PlanRequest& request) {
  const std::optional<int> bound = Bound(request);
  std::optional<Found> found = SmallestFit(request, SearchLimit(request, bound));
  PlanOutcome outcome;
  if (!found) {
    outcome = DoesNotFit(request, bound);
    const std::optional<int> seed = SeedBoundNodes(*request.preset, request.gpus);
    if (!request.bypass && !seed) return outcome;
    // v0.3 admitted it, or the user insists: a warning, and the bound's node count.
    const int nodes = seed.value_or(bound.value_or(std::max(request.count, 1)));
    found = Found{nodes, PlainSplit(request, nodes)};
    outcome.reason.clear();
  }
  if (request.preset->layers > 0 && found->split.pipeline > request.preset->layers) {
    return {.reason = "NodePlanRefused",
            .message =
                absl::StrFormat("%s needs %d pipeline stages, but has only %d layers",
                                Subject(request), found->split.pipeline, request.preset->layers)};
  }
  if (found->nodes > request.nodes_max && request.count < found->nodes) {
    outcome.message = TooManyNodes(request, found->nodes);
    if (!request.bypass) {
      outcome.reason = "NodePlanRefused";
      return outcome;
    }
  }
  outcome.plan = MakePlan(request, *found, bound);
  return outcome;
}

}  // namespace

GpuFacts FactsOf(const GpuType& type) {
  if (type.gpus > 0) return {.gpus = type.gpus, .memory_total_bytes = type.memory_total_bytes()};
  return {.gpus = 0,
          .memory_total_bytes = static_cast<int64_t>(std::llround(type.host_memory_gib * kGiB))};
}

int64_t KvBytesPerToken(const Preset& preset) {
  return preset.layers * KvBytesPerLayerToken(preset, 1);
}

absl::StatusOr<int> UpperBoundNodes(const Preset& preset, const GpuFacts& gpus,
                                    int64_t context_tokens) {
  const int devices = Devices(gpus);
  const double usable = static_cast<double>(gpus.gpu_bytes()) * kBoundUsable;
  const double kv =
      static_cast<double>(context_tokens) * static_cast<double>(KvBytesPerToken(preset)) / devices;
  const double reserve = kBoundReserve + kv;
  if (usable <= reserve) {
    return absl::FailedPreconditionError(
        absl::StrFormat("GPU memory %.1f GiB is too small, needs at least %.1f GiB of overhead",
                        static_cast<double>(gpus.gpu_bytes()) / kGiB, reserve / kGiB));
  }
  const double per_gpu_weights = (usable - reserve) / kBoundOverhead;
  const double weights = static_cast<double>(preset.weights_bytes) * kBoundWeights;
  const double gpus_min = std::floor(weights / per_gpu_weights) + 1;
  return static_cast<int>(std::ceil(std::min(gpus_min, 1e9) / devices));
}

std::optional<int> SeedBoundNodes(const Preset& preset, const GpuFacts& gpus) {
  if (!preset.seed || gpus.gpus == 0) return std::nullopt;
  const SeedRequirement& seed = *preset.seed;
  if (gpus.gpu_bytes() < seed.per_gpu_bytes || gpus.memory_total_bytes <= 0) return std::nullopt;
  const int64_t by_gpus = CeilDiv(seed.gpus, gpus.gpus);
  const int64_t by_memory = CeilDiv(seed.total_bytes, gpus.memory_total_bytes);
  return static_cast<int>(std::clamp<int64_t>(std::max(by_gpus, by_memory), 1, kNodesSearchMax));
}

const std::vector<std::string>& MigProfiles() {
  static const std::vector<std::string>* const profiles = new std::vector<std::string>{
      "1g.6gb",   "2g.12gb", "4g.24gb", "1g.5gb",  "2g.10gb", "3g.20gb", "4g.20gb",
      "7g.40gb",  "1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb",
      "1g.12gb",  "1g.24gb", "2g.24gb", "3g.47gb", "4g.47gb", "7g.94gb", "3g.48gb",
      "4g.48gb",  "7g.96gb", "1g.18gb", "1g.35gb", "2g.35gb", "3g.71gb", "4g.71gb",
      "7g.141gb", "1g.23gb", "1g.45gb", "2g.45gb", "3g.90gb", "4g.90gb", "7g.180gb"};
  return *profiles;
}

absl::Status CheckMigSlice(const Preset& preset, std::string_view profile, int64_t context_tokens) {
  if (std::ranges::find(MigProfiles(), profile) == MigProfiles().end()) {
    return absl::NotFoundError(
        absl::StrFormat("failed to get MIG GPU config for profile %s", profile));
  }
  // The memory of a slice is the number in its name.
  const size_t dot = profile.find('.');
  int gib = 0;
  CHECK(absl::SimpleAtoi(std::string(profile.substr(dot + 1, profile.size() - dot - 3)), &gib));
  const double kv = static_cast<double>(context_tokens * KvBytesPerToken(preset));
  const double weights = static_cast<double>(preset.weights_bytes);
  const double needed = weights * kBoundWeights * kBoundOverhead + kBoundReserve + kv;
  const double available = gib * kGiB * kBoundUsable;
  if (needed <= available) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "model needs %.2fGB (weights %.2fGB + overhead %.2fGB) but MIG profile %s only provides "
      "%dGB (%.2fGB available after vLLM gpu-memory-utilization)",
      needed / kGiB, weights / kGiB, (needed - weights) / kGiB, profile, gib, available / kGiB));
}

PlanOutcome PlanNodes(const PlanRequest& request) {
  CHECK(request.preset != nullptr);
  return WithUserDegrees(request, PlanWithoutUserDegrees(request));
}

absl::Status CheckGpuServed(const GpuType& type, std::string_view compute_capability_min) {
  if (type.gpus == 0) return absl::OkStatus();
  if (type.vendor != "nvidia") {
    return absl::FailedPreconditionError(absl::StrFormat(
        "%s has %s GPUs, for which there is no model server", type.name, type.model));
  }
  if (!type.HasComputeCapability(compute_capability_min)) {
    return absl::FailedPreconditionError(
        absl::StrFormat("%s has %s GPUs of compute capability %s; the model server needs %s",
                        type.name, type.model, type.compute_capability, compute_capability_min));
  }
  return absl::OkStatus();
}

}  // namespace catalog
