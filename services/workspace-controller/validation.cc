#include "workspace-controller/validation.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"

#include "common/base/flags.h"
#include "common/catalog/node_estimator.h"

namespace workspace_controller {
namespace {

constexpr size_t kAdaptersMax = 10;

bool IsDnsLabel(std::string_view text, size_t length_max) {
  if (text.empty() || text.size() > length_max) return false;
  const auto alphanumeric = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  if (!alphanumeric(text.front()) || !alphanumeric(text.back())) return false;
  return std::ranges::all_of(text, [&](char c) { return alphanumeric(c) || c == '-'; });
}

bool IsDnsSubdomain(std::string_view text) {
  if (text.size() > 253) return false;
  for (size_t from = 0; from <= text.size();) {
    const size_t dot = std::min(text.find('.', from), text.size());
    if (!IsDnsLabel(text.substr(from, dot - from), 253)) return false;
    from = dot + 1;
  }
  return true;
}

std::string Joined(const std::vector<std::string>& parts, std::string_view separator) {
  std::string text;
  for (const std::string& part : parts) {
    if (!text.empty()) text += separator;
    text += part;
  }
  return text;
}

// One look at one Workspace; collects.
class Validator {
 public:
  Validator(const Workspace& workspace, const catalog::Presets& presets,
            const catalog::GpuTypes& types, const ValidationOptions& options)
      : workspace_(workspace), presets_(presets), types_(types), options_(options) {}

  ValidationResult Run() {
    CheckName();
    CheckAnnotations();
    CheckSelector();
    CheckInstanceType();
    CheckPartition();
    CheckKind();
    if (workspace_.inference) CheckInference(*workspace_.inference);
    std::ranges::sort(result_.errors);
    std::ranges::sort(result_.warnings);
    return std::move(result_);
  }

 private:
  void Error(std::string_view field, std::string_view message) {
    result_.errors.push_back(absl::StrFormat("%s: %s", field, message));
  }
  void Warn(std::string_view field, std::string_view message) {
    result_.warnings.push_back(absl::StrFormat("%s: %s", field, message));
  }

  void CheckName() {
    if (IsDnsLabel(workspace_.name, 63)) return;
    Error("metadata.name",
          absl::StrFormat("invalid name \"%s\": at most 63 of a-z, 0-9 and '-'", workspace_.name));
  }

  void CheckAnnotation(std::string_view key, const std::vector<std::string>& allowed,
                       std::string_view word) {
    const auto annotations = workspace_.object.annotations();
    const auto found = annotations.find(std::string(key));
    if (found == annotations.end() || found->second.empty()) return;
    if (std::ranges::find(allowed, found->second) != allowed.end()) return;
    Error(absl::StrFormat("metadata.annotations[%s]", key),
          absl::StrFormat("%s \"%s\"; allowed: %s", word, found->second, Joined(allowed, ", ")));
  }

  void CheckAnnotations() {
    CheckAnnotation(kImageFamilyAnnotation, {"azurelinux", "ubuntu"}, "unsupported");
    CheckAnnotation("kaito.sh/performance-mode", {"balanced", "interactivity", "throughput"},
                    "unsupported");
    CheckAnnotation("kaito.sh/use-local-weights", {"true", "false", "True", "False"},
                    "invalid value");
    CheckAnnotation("kaito.sh/runtime", {"transformers", "vllm"}, "unsupported");
  }

  void CheckSelector() {
    constexpr std::string_view kField = "resource.labelSelector";
    for (const std::string& key : workspace_.reserved_labels) {
      Warn(kField, absl::StrFormat("the reserved label %s is left out", key));
    }
    for (const MatchExpression& expression : workspace_.match_expressions) {
      if (expression.op == "In" && !expression.values.empty()) continue;
      Error(kField, absl::StrFormat("operator %s of %s is not supported, only In with values",
                                    expression.op, expression.key));
    }
    if (workspace_.match_labels.empty() && workspace_.match_expressions.empty()) {
      Error(kField, "matchLabels must contain at least one non-reserved label");
    }
  }

  std::string SupportedTypes() const {
    std::vector<std::string> names;
    for (const catalog::GpuType* type : types_.All(options_.cloud_provider)) {
      if (type->gpus > 0 && catalog::CheckGpuServed(*type).ok()) names.push_back(type->name);
    }
    return Joined(names, " ");
  }

  void CheckInstanceType() {
    constexpr std::string_view kField = "resource.instanceType";
    const std::string& name = workspace_.instance_type;
    if (!options_.nodes_are_provisioned) {
      if (name.empty()) return;
      Error(kField,
            "instanceType must be empty when node auto-provisioning is disabled (BYO scenario)");
      return;
    }
    if (name.empty()) {
      Error(kField, "instanceType is required when node auto-provisioning is enabled");
      return;
    }
    if (types_.Find(options_.cloud_provider, name) != nullptr) return;
    const bool plausible =
        options_.cloud_provider == "azure" && (absl::StartsWithIgnoreCase(name, "Standard_N") ||
                                               absl::StartsWithIgnoreCase(name, "Standard_D"));
    if (plausible) {
      Warn(kField, absl::StrFormat("%s is not in the table of GPU types", name));
    } else {
      Error(kField, absl::StrFormat("Unsupported instance type %s. Supported SKUs: [%s]", name,
                                    SupportedTypes()));
    }
  }

  void CheckPartition() {
    if (!workspace_.partition) return;
    constexpr std::string_view kField = "resource.partition";
    const Partition& partition = *workspace_.partition;
    if (options_.nodes_are_provisioned) {
      Error(kField, "GPU partitioning is only supported with BYO nodes");
    }
    if (workspace_.has_tuning) Error(kField, "GPU partitioning is not supported for tuning");
    if (partition.mode == "mig") {
      Error(kField, "MIG support is not enabled, set feature gate enableMIG=true");
    } else if (partition.mode == "accelerator") {
      Error(kField, "Accelerator support is not enabled, set feature gate enableAccelerator=true");
    } else {
      Error(kField, absl::StrFormat("unsupported partition mode \"%s\"", partition.mode));
    }
  }

  void CheckKind() {
    if (!workspace_.inference && !workspace_.has_tuning) {
      Error("inference", "Either Inference or Tuning must be specified, not neither");
    }
    if (workspace_.inference && workspace_.has_tuning) {
      Error("inference", "Either Inference or Tuning must be specified, but not both");
    }
  }

  void CheckInference(const Inference& inference) {
    if (!inference.has_preset && !inference.has_template) {
      Error("inference", "Preset or Template must be specified");
    }
    if (inference.has_preset && inference.has_template) {
      Error("inference", "Preset and Template cannot be set at the same time");
    }
    if (workspace_.transformers_runtime && workspace_.count > 1) {
      Error("resource.count",
            "Multi-node distributed inference is not supported with Huggingface Transformers "
            "runtime");
    }
    if (inference.has_preset) CheckPreset(inference);
    CheckAdapters(inference);
  }

  void CheckPreset(const Inference& inference) {
    constexpr std::string_view kField = "inference.preset.name";
    const catalog::Preset* preset = presets_.Find(inference.preset_name);
    if (preset == nullptr) {
      // A name with an owner may be a model of a hub, or of the node's own folder.
      if (!absl::StrContains(inference.preset_name, "/")) UnknownPreset(inference.preset_name);
      return;
    }
    if (preset->status == catalog::PresetStatus::kRemoved) {
      Error(kField, absl::StrFormat("Model %s is deprecated and no longer supported", preset->id));
    }
    if (preset->status == catalog::PresetStatus::kDeprecated) {
      Warn(kField, absl::StrFormat("Model %s is deprecated", preset->id));
    }
    CheckArchitecture(*preset);
    CheckAccess(inference, *preset);
    if (!preset->adapters && !inference.adapters.empty()) {
      Error("inference.adapters",
            absl::StrFormat("%s does not support LoRA adapters for this model", preset->id));
    }
  }

  void UnknownPreset(const std::string& name) {
    std::set<std::string> known;  // Served names, for the list.
    std::vector<std::string> all;
    for (const catalog::Preset* preset : presets_.All()) {
      known.insert(preset->short_name());
      all.push_back(preset->short_name());
      all.insert(all.end(), preset->aliases.begin(), preset->aliases.end());
    }
    const std::string nearest = base::NearestName(name, all);
    const std::string hint = nearest.empty() ? "" : absl::StrFormat(", did you mean %s?", nearest);
    Error("inference.preset.name",
          absl::StrFormat("Unsupported inference preset name %s%s. Known presets: %s", name, hint,
                          Joined({known.begin(), known.end()}, " ")));
  }

  void CheckArchitecture(const catalog::Preset& preset) {
    const std::vector<std::string>& served = options_.served_architectures;
    if (served.empty() || preset.architectures.empty()) return;
    for (const std::string& architecture : preset.architectures) {
      if (std::ranges::find(served, architecture) != served.end()) return;
    }
    Error("inference.preset.name",
          absl::StrFormat("Unsupported model architecture %s of %s; the model server runs %s",
                          preset.architectures.front(), preset.id, Joined(served, ", ")));
  }

  void CheckAccess(const Inference& inference, const catalog::Preset& preset) {
    const bool has_image = !inference.image.empty();
    const bool has_secret = !inference.model_access_secret.empty();
    if (inference.access_mode == "private" && !has_image) {
      Error("inference.preset.presetOptions.image", "is required with accessMode private");
    }
    if (preset.packaged && has_secret) {
      Error("inference.preset.presetOptions.modelAccessSecret",
            absl::StrFormat("%s does not require a modelAccessSecret", preset.id));
    }
    // Weights that lie on the node, or in the user's image, need nobody's permission.
    if (preset.gated && !has_secret && !has_image && !workspace_.use_local_weights) {
      Error("inference.preset.presetOptions.modelAccessSecret",
            "This preset requires authentication and needs a modelAccessSecret with HF_TOKEN key "
            "under presetOptions to download the model");
    }
  }

  void CheckAdapters(const Inference& inference) {
    constexpr std::string_view kField = "inference.adapters";
    if (inference.adapters.size() > kAdaptersMax) {
      Error(kField, "Number of Adapters exceeds the maximum limit, maximum of 10 allowed");
    }
    std::set<std::string> names;
    for (size_t i = 0; i < inference.adapters.size(); ++i) {
      const Adapter& adapter = inference.adapters[i];
      CheckAdapter(absl::StrFormat("%s[%d]", kField, i), adapter);
      if (!adapter.name.empty() && !names.insert(adapter.name).second) {
        Error(kField, absl::StrFormat("Duplicate adapter source name found: %s", adapter.name));
      }
    }
  }

  void CheckAdapter(std::string_view field, const Adapter& adapter) {
    if (!adapter.has_source) {
      Error(field, "Source is missing");
      return;
    }
    if (adapter.name.empty()) Error(field, "Name of Adapter field must be specified");
    if (!adapter.name.empty() && !IsDnsSubdomain(adapter.name)) {
      Error(field, absl::StrFormat("invalid adapter name \"%s\"", adapter.name));
    }
    if (adapter.has_urls) Error(field, "URLs are not supported as adapter source");
    if (adapter.image.empty() && !adapter.has_volume) {
      Error(field, "Either Image or Volume must be specified for adapter source");
    }
    double strength = 0;
    if (!absl::SimpleAtod(adapter.strength, &strength) || !std::isfinite(strength)) {
      Error(field, absl::StrFormat("Invalid strength value for Adapter '%s'", adapter.name));
    } else if (strength < 0 || strength > 1) {
      Error(field, absl::StrFormat("Strength value of '%s' must be between 0 and 1", adapter.name));
    }
  }

  const Workspace& workspace_;
  const catalog::Presets& presets_;
  const catalog::GpuTypes& types_;
  const ValidationOptions& options_;
  ValidationResult result_;
};

}  // namespace

std::string ValidationResult::ErrorText() const { return Joined(errors, "; "); }
std::string ValidationResult::WarningText() const { return Joined(warnings, "; "); }

ValidationResult Validate(const Workspace& workspace, const catalog::Presets& presets,
                          const catalog::GpuTypes& types, const ValidationOptions& options) {
  return Validator(workspace, presets, types, options).Run();
}

}  // namespace workspace_controller
