#include "workspace-controller/inference_config.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "common/kube/json.h"
#include "workspace-controller/workspace.h"

namespace workspace_controller {
namespace {

namespace json = boost::json;

constexpr int kNumberMax = 1 << 30;

std::string ScalarText(const json::value& value) {
  if (value.is_string()) return std::string(value.get_string());
  return json::serialize(value);
}

absl::StatusOr<int> PositiveInteger(const InferenceConfig& config, const std::string& key) {
  const auto found = config.server.find(key);
  if (found == config.server.end()) return 0;
  int value = 0;
  if (!absl::SimpleAtoi(found->second, &value) || value < 1 || value > kNumberMax) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: vllm.%s: \"%s\" is no positive whole number", kInferenceConfigKey, key,
                        found->second.substr(0, 64)));
  }
  return value;
}

}  // namespace

absl::StatusOr<InferenceConfig> ParseInferenceConfig(std::string_view yaml) {
  const auto documents = kube::ParseYaml(yaml);
  if (!documents.ok()) return base::Annotate(documents.status(), kInferenceConfigKey);
  InferenceConfig config;
  if (documents->empty()) return config;
  const json::value* section = kube::FindPath(documents->front(), {"vllm"});
  if (section == nullptr || section->is_null()) return config;
  if (!section->is_object()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: vllm: is no map of keys and values", kInferenceConfigKey));
  }
  for (const auto& [key, value] : section->get_object()) {
    if (value.is_object() || value.is_array()) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "%s: vllm.%s: is no single value", kInferenceConfigKey, std::string_view(key)));
    }
    if (!value.is_null()) config.server[std::string(key)] = ScalarText(value);
  }
  ASSIGN_OR_RETURN(config.max_model_len, PositiveInteger(config, "max-model-len"));
  ASSIGN_OR_RETURN(config.tensor_parallel, PositiveInteger(config, "tensor-parallel-size"));
  ASSIGN_OR_RETURN(config.pipeline_parallel, PositiveInteger(config, "pipeline-parallel-size"));
  ASSIGN_OR_RETURN(config.data_parallel, PositiveInteger(config, "data-parallel-size"));
  return config;
}

std::string_view DefaultInferenceConfig() {
  return "# Parameters of the model server; every key may be left out.\n"
         "vllm:\n"
         "  cpu-offload-gb: 0\n"
         "  # max-model-len: 2048\n";
}

}  // namespace workspace_controller
