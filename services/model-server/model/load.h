// From a model file to a model that can run.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

#include "model-server/model/memory_plan.h"
#include "model-server/model/model.h"

namespace model_server {

struct LoadOptions {
  std::string device = "cpu";
  std::string isa;                 // "" or "auto": the best that this CPU can run.
  int threads = 0;                 // 0: the cores that the cgroup's quota gives.
  int max_model_len = 0;           // Tokens per sequence. 0: what the model was trained for.
  int step_tokens_max = 512;       // Tokens of all sequences in one step.
  int step_sequences_max = 256;    // Sequences in one step.
  uint64_t memory_bytes_max = 0;   // 0: what the cgroup or the machine has left.
  bool reference_float32 = false;  // Dequantised weights, float32 throughout. For tests: slow.

  // Called from the loading thread; never goes back. `total` bytes are there before the first step.
  std::function<void(uint64_t done, uint64_t total)> progress;
};

// A path as the user gives it: a .gguf file, or a folder that holds exactly one.
absl::StatusOr<std::string> FindModelFile(const std::string& path);

// What LoadModel() will take, from the file's header alone.
absl::StatusOr<MemoryPlan> PlanModel(const std::string& path, const LoadOptions& options);

// kNotFound, kPermissionDenied: no such file. kInvalidArgument: the file is not sound, or an option
// is wrong. kUnimplemented: a format or architecture that is not supported. kResourceExhausted: it
// does not fit; the message says what needs how much.
absl::StatusOr<std::unique_ptr<Model>> LoadModel(const std::string& path,
                                                 const LoadOptions& options);

}  // namespace model_server
