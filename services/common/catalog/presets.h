// Which models the suite knows, and what the planner and the server must know of each:
// deploy/presets/*.yaml, one file per model. A new model of a known architecture is a new file.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "common/catalog/problem.h"

namespace catalog {

enum class PresetStatus { kActive, kDeprecated, kRemoved };

// Where the weights come from: exactly one of hub, oci, image, gguf_package is set.
struct PresetSource {
  std::string hub;           // "org/model"
  std::string revision;      // Of the hub; empty: its main branch.
  std::string oci;           // An artifact that holds the files.
  std::string image;         // A container image that holds them.
  std::string gguf_package;  // A Python package that carries one GGUF file as data,
  std::string gguf_version;
  std::string gguf_file;  // at this path inside,
  int64_t gguf_bytes = 0;
  std::string gguf_sha256;
};

// What v0.3 asked for a preset; an upper bound of our plan.
struct SeedRequirement {
  int gpus = 1;
  int64_t total_bytes = 0;
  int64_t per_gpu_bytes = 0;
};

struct TuningDefaults {
  std::string disk;  // Kubernetes quantity.
  std::vector<std::string> target_modules;
};

// One model. Zero means unknown or not so, for every number.
struct Preset {
  std::string id;                    // "microsoft/phi-4", as its owner spells it.
  std::vector<std::string> aliases;  // "phi-4"
  PresetStatus status = PresetStatus::kActive;
  std::string license;
  PresetSource source;
  int64_t weights_bytes = 0;  // 0: unknown; memory checks are then skipped.

  std::vector<std::string> architectures;  // Empty: served without a check.
  int context = 0;                         // Tokens that the model was made for.
  int layers = 0;
  int hidden = 0;
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  int kv_lora_rank = 0;
  int qk_rope_head_dim = 0;
  int sliding_window = 0;    // Tokens that a window layer looks back.
  int window_layers = 0;     // Of `layers`; the others attend to everything, except
  int recurrent_layers = 0;  // these, whose state does not grow with the context.

  std::string quantization;  // Empty: none.
  std::string dtype;         // Empty: bfloat16, or the quantised format's own.
  std::string load_format;
  std::string tokenizer_mode;
  std::string chat_template;
  std::string tool_call_parser;
  std::string reasoning_parser;

  bool gated = false;       // The hub asks for a token.
  bool packaged = false;    // The weights are in an image of ours; a token makes no sense.
  bool adapters = true;     // LoRA adapters can be used.
  bool distributed = true;  // May span nodes.

  std::string disk;  // Kubernetes quantity for the node.
  std::optional<TuningDefaults> tuning;
  std::optional<SeedRequirement> seed;
  int ready_minutes = 0;  // 0: by the size of the weights.

  // The first alias, else the last part of the id, in lower case: the served name.
  std::string short_name() const;
};

// All presets. Immutable once loaded: any number of threads may read.
class Presets {
 public:
  Presets() = default;
  explicit Presets(std::vector<Preset> presets);

  // Reads every .yaml file of `folder`. A bad file becomes problems and is left out; the others
  // stay. A folder that cannot be read gives no presets and one problem.
  static Presets Load(const std::string& folder, std::vector<Problem>& problems);

  // By alias or id, in any case; nullptr when unknown. Lives as long as this object.
  const Preset* Find(std::string_view name) const;

  std::vector<const Preset*> All() const;  // In id order.

 private:
  std::map<std::string, Preset> presets_;       // By id in lower case.
  std::map<std::string, std::string> aliases_;  // Alias → key of presets_, lower case.
};

// "27.31Gi", "512Mi", "98362432" → bytes, rounded up. kInvalidArgument "invalid weights size".
absl::StatusOr<int64_t> ParseSize(std::string_view text);

struct ModelVersion {
  std::string id;        // "org/model"
  std::string revision;  // Empty: main.
};

// https://huggingface.co/<org>/<model>[/commit/<revision>]; anything else is kInvalidArgument.
absl::StatusOr<ModelVersion> ParseModelVersion(std::string_view url);

}  // namespace catalog
