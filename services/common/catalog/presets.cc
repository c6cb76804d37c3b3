#include "common/catalog/presets.h"

#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"

#include "common/base/status_macros.h"
#include "common/catalog/yaml_fields.h"

namespace catalog {
namespace {

constexpr int kNumberMax = 1 << 30;

std::string Lower(std::string_view text) {
  std::string lower(text);
  absl::AsciiStrToLower(&lower);
  return lower;
}

PresetStatus ReadStatus(YamlFields& fields) {
  const std::string status = fields.Text("status", "active");
  if (status == "active") return PresetStatus::kActive;
  if (status == "deprecated") return PresetStatus::kDeprecated;
  if (status == "removed") return PresetStatus::kRemoved;
  fields.Report("status", absl::StrFormat("\"%s\" is none of active, deprecated, removed", status));
  return PresetStatus::kActive;
}

int64_t ReadSize(YamlFields& fields, std::string_view name) {
  const std::string text = fields.Text(name);
  if (text.empty()) return 0;
  const auto size = ParseSize(text);
  if (size.ok()) return *size;
  fields.Report(name, std::string(size.status().message()));
  return 0;
}

// A Kubernetes quantity that is kept as text.
std::string ReadQuantity(YamlFields& fields, std::string_view name) {
  std::string text = fields.Text(name);
  if (!text.empty() && !ParseSize(text).ok()) {
    fields.Report(name, absl::StrFormat("\"%s\" is no size such as 50Gi", text));
  }
  return text;
}

void ReadGguf(YamlFields& fields, PresetSource& source) {
  source.gguf_package = fields.RequiredText("package");
  source.gguf_version = fields.RequiredText("version");
  source.gguf_file = fields.RequiredText("file");
  source.gguf_bytes = fields.RequiredInt("bytes", 1, int64_t{1} << 50);
  source.gguf_sha256 = fields.RequiredText("sha256");
  if (source.gguf_sha256.size() != 64) fields.Report("sha256", "has not 64 digits");
  fields.Finish();
}

PresetSource ReadSource(YamlFields& fields) {
  PresetSource source;
  std::optional<YamlFields> map = fields.Map("source");
  if (!map) {
    fields.Report("source", "is missing");
    return source;
  }
  source.hub = map->Text("hub");
  source.revision = map->Text("revision");
  source.oci = map->Text("oci");
  source.image = map->Text("image");
  if (std::optional<YamlFields> gguf = map->Map("gguf")) ReadGguf(*gguf, source);
  map->Finish();
  const int given = !source.hub.empty() + !source.oci.empty() + !source.image.empty() +
                    !source.gguf_package.empty();
  if (given != 1) fields.Report("source", "needs exactly one of hub, oci, image, gguf");
  return source;
}

std::optional<TuningDefaults> ReadTuning(YamlFields& fields) {
  std::optional<YamlFields> map = fields.Map("tuning");
  if (!map) return std::nullopt;
  TuningDefaults tuning{.disk = ReadQuantity(*map, "disk"),
                        .target_modules = map->Texts("targetModules")};
  map->Finish();
  return tuning;
}

std::optional<SeedRequirement> ReadSeed(YamlFields& fields) {
  std::optional<YamlFields> map = fields.Map("seed");
  if (!map) return std::nullopt;
  const SeedRequirement seed{.gpus = static_cast<int>(map->RequiredInt("gpus", 1, 1024)),
                             .total_bytes = ReadSize(*map, "totalMemory"),
                             .per_gpu_bytes = ReadSize(*map, "perGpuMemory")};
  map->Finish();
  return seed;
}

void ReadShape(YamlFields& fields, Preset& preset) {
  const auto number = [&](std::string_view name) {
    return static_cast<int>(fields.Int(name, 0, kNumberMax));
  };
  preset.architectures = fields.Texts("architectures");
  preset.context = number("context");
  preset.layers = number("layers");
  preset.hidden = number("hidden");
  preset.heads = number("heads");
  preset.kv_heads = static_cast<int>(fields.Int("kvHeads", 0, kNumberMax, preset.heads));
  const int head_dim = preset.heads > 0 ? preset.hidden / preset.heads : 0;
  preset.head_dim = static_cast<int>(fields.Int("headDim", 0, kNumberMax, head_dim));
  preset.kv_lora_rank = number("kvLoraRank");
  preset.qk_rope_head_dim = number("qkRopeHeadDim");
  preset.sliding_window = number("slidingWindow");
  int full_layers = preset.layers;
  if (std::optional<YamlFields> kinds = fields.Map("layerKinds")) {
    full_layers = static_cast<int>(kinds->Int("full", 0, kNumberMax));
    preset.window_layers = static_cast<int>(kinds->Int("window", 0, kNumberMax));
    preset.recurrent_layers = static_cast<int>(kinds->Int("recurrent", 0, kNumberMax));
    kinds->Finish();
  }
  const int64_t kinds_sum = int64_t{full_layers} + preset.window_layers + preset.recurrent_layers;
  if (kinds_sum != preset.layers) {
    fields.Report("layerKinds",
                  absl::StrFormat("count %d layers, but layers is %d", kinds_sum, preset.layers));
  }
  if (preset.window_layers > 0 && preset.sliding_window == 0) {
    fields.Report("slidingWindow", "is missing");
  }
}

Preset ReadPreset(YamlFields& fields) {
  Preset preset;
  preset.id = fields.RequiredText("id");
  preset.aliases = fields.Texts("aliases");
  preset.status = ReadStatus(fields);
  preset.license = fields.Text("license");
  preset.source = ReadSource(fields);
  preset.weights_bytes = ReadSize(fields, "weights");
  ReadShape(fields, preset);
  preset.quantization = fields.Text("quantization");
  preset.dtype = fields.Text("dtype");
  preset.load_format = fields.Text("loadFormat");
  preset.tokenizer_mode = fields.Text("tokenizerMode");
  preset.chat_template = fields.Text("chatTemplate");
  preset.tool_call_parser = fields.Text("toolCallParser");
  preset.reasoning_parser = fields.Text("reasoningParser");
  preset.gated = fields.Bool("gated", false);
  preset.packaged = fields.Bool("packaged", false);
  preset.adapters = fields.Bool("adapters", true);
  preset.distributed = fields.Bool("distributed", true);
  preset.disk = ReadQuantity(fields, "disk");
  preset.tuning = ReadTuning(fields);
  preset.seed = ReadSeed(fields);
  preset.ready_minutes = static_cast<int>(fields.Int("readyMinutes", 0, 24 * 60));
  return preset;
}

// Weights and room for images, logs and adapters, in whole GiB.
std::string DiskFor(int64_t weights_bytes) {
  constexpr int64_t kGiB = int64_t{1} << 30;
  return absl::StrFormat("%dGi", (weights_bytes + kGiB - 1) / kGiB + 80);
}

absl::Status VersionError(std::string_view url, std::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrFormat("invalid model version URL: %s%s. Expected format: "
                      "https://huggingface.co/<org>/<model>/commit/<revision>",
                      url, why));
}

}  // namespace

std::string Preset::short_name() const {
  if (!aliases.empty()) return Lower(aliases.front());
  return Lower(std::string_view(id).substr(id.rfind('/') + 1));
}

Presets::Presets(std::vector<Preset> presets) {
  for (Preset& preset : presets) {
    const std::string key = Lower(preset.id);
    for (const std::string& alias : preset.aliases) aliases_[Lower(alias)] = key;
    presets_.insert_or_assign(key, std::move(preset));
  }
}

Presets Presets::Load(const std::string& folder, std::vector<Problem>& problems) {
  Presets result;
  ForEachYamlFile(folder, problems, [&](const std::string& file, const YAML::Node& document) {
    YamlFields fields(document, file, "", problems);
    Preset preset = ReadPreset(fields);
    if (!fields.Finish()) return;
    if (preset.disk.empty()) preset.disk = DiskFor(preset.weights_bytes);
    const std::string key = Lower(preset.id);
    if (const Preset* other = result.Find(preset.id)) {
      fields.Report("id", absl::StrFormat("%s is already the name of %s", preset.id, other->id));
      return;
    }
    for (const std::string& alias : preset.aliases) {
      const Preset* other = result.Find(alias);
      if (other == nullptr) continue;
      fields.Report("aliases", absl::StrFormat("%s is already the name of %s", alias, other->id));
      return;
    }
    for (const std::string& alias : preset.aliases) result.aliases_[Lower(alias)] = key;
    result.presets_.emplace(key, std::move(preset));
  });
  return result;
}

const Preset* Presets::Find(std::string_view name) const {
  std::string key = Lower(name);
  const auto alias = aliases_.find(key);
  if (alias != aliases_.end()) key = alias->second;
  const auto found = presets_.find(key);
  return found == presets_.end() ? nullptr : &found->second;
}

std::vector<const Preset*> Presets::All() const {
  std::vector<const Preset*> all;
  for (const auto& [key, preset] : presets_) all.push_back(&preset);
  return all;
}

absl::StatusOr<int64_t> ParseSize(std::string_view text) {
  const auto invalid = [&] {
    return absl::InvalidArgumentError(
        absl::StrFormat("invalid weights size \"%s\": expected a number with Ki, Mi, Gi or Ti",
                        text.substr(0, 64)));
  };
  if (text.size() > 24) return invalid();
  // A decimal number as digits and a power of ten, so that the result is exact.
  __int128 digits = 0;
  __int128 scale = 1;
  size_t at = 0;
  bool seen_point = false;
  bool seen_digit = false;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '.' && !seen_point) {
      seen_point = true;
    } else if (c >= '0' && c <= '9') {
      if (digits > (__int128{1} << 60)) return invalid();
      digits = digits * 10 + (c - '0');
      if (seen_point) scale *= 10;
      seen_digit = true;
    } else {
      break;
    }
  }
  if (!seen_digit) return invalid();
  const std::string_view unit = text.substr(at);
  int shift = 0;
  if (unit == "Ki") {
    shift = 10;
  } else if (unit == "Mi") {
    shift = 20;
  } else if (unit == "Gi") {
    shift = 30;
  } else if (unit == "Ti") {
    shift = 40;
  } else if (!unit.empty()) {
    return invalid();
  }
  const __int128 bytes = ((digits << shift) + scale - 1) / scale;
  if (bytes > std::numeric_limits<int64_t>::max()) return invalid();
  return static_cast<int64_t>(bytes);
}

absl::StatusOr<ModelVersion> ParseModelVersion(std::string_view url) {
  const size_t scheme = url.find("://");
  if (scheme == std::string_view::npos) return VersionError(url, ": missing scheme");
  std::string_view rest = url.substr(scheme + 3);
  if (url.substr(0, scheme) != "https" && url.substr(0, scheme) != "http") {
    return VersionError(url, ": unknown scheme");
  }
  while (rest.ends_with('/')) rest.remove_suffix(1);
  std::vector<std::string> parts;
  for (size_t from = 0; from <= rest.size();) {
    const size_t slash = std::min(rest.find('/', from), rest.size());
    parts.emplace_back(rest.substr(from, slash - from));
    from = slash + 1;
  }
  for (const std::string& part : parts) {
    if (part.empty()) return VersionError(url, "");
  }
  if (parts.front() != "huggingface.co") return VersionError(url, ": unknown host");
  if (parts.size() == 3) return ModelVersion{.id = parts[1] + "/" + parts[2]};
  if (parts.size() == 5 && parts[3] == "commit") {
    return ModelVersion{.id = parts[1] + "/" + parts[2], .revision = parts[4]};
  }
  return VersionError(url, "");
}

}  // namespace catalog
