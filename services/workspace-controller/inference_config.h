// The ConfigMap of an inference Workspace: what the user says to the server.

#pragma once

#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace workspace_controller {

struct InferenceConfig {
  int max_model_len = 0;  // 0: not given.
  int tensor_parallel = 0;
  int pipeline_parallel = 0;
  int data_parallel = 0;
  std::map<std::string, std::string> server;  // All scalars of the section `vllm`.
};

// The text under the key inference_config.yaml. kInvalidArgument names key and line.
absl::StatusOr<InferenceConfig> ParseInferenceConfig(std::string_view yaml);

// What stands in the ConfigMap of a namespace that has none of its own.
std::string_view DefaultInferenceConfig();

}  // namespace workspace_controller
