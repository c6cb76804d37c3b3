#include "common/llm/model_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "absl/strings/str_format.h"

#include "common/base/status_macros.h"

namespace llm {
namespace {

constexpr int kLayersMax = 1024;
constexpr int kWidthMax = 1 << 20;
constexpr int kVocabularyMax = 1 << 22;
constexpr int kContextMax = 1 << 24;

// Keys below "llama." whose meaning is known: read below, or without effect on the numbers.
constexpr std::array kKnownKeys = {
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_rms_epsilon",
    "attention.value_length",
    "block_count",
    "context_length",
    "embedding_length",
    "expert_count",
    "expert_used_count",
    "feed_forward_length",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scale_linear",
    "rope.scaling.factor",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "rope.scaling.type",
    "tensor_data_layout",
    "vocab_size",
};

class Reader {
 public:
  explicit Reader(const GgufFile& file, std::string prefix)
      : file_(file), prefix_(std::move(prefix)) {}

  std::string Key(std::string_view name) const { return prefix_ + std::string(name); }

  absl::Status Error(std::string_view name, std::string_view what) const {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: key %s: %s", file_.path(), Key(name), what));
  }

  absl::Status ReadInt(std::string_view name, int max, int& value) const {
    ASSIGN_OR_RETURN(const uint64_t found, file_.GetUint(Key(name)));
    if (found < 1 || found > static_cast<uint64_t>(max)) {
      return Error(name, absl::StrFormat("%d is outside 1 to %d", found, max));
    }
    value = static_cast<int>(found);
    return absl::OkStatus();
  }

  absl::Status ReadInt(std::string_view name, int max, int otherwise, int& value) const {
    value = otherwise;
    return file_.Has(Key(name)) ? ReadInt(name, max, value) : absl::OkStatus();
  }

  absl::Status ReadFloat(std::string_view name, double otherwise, float& value) const {
    ASSIGN_OR_RETURN(const double found, file_.GetFloat(Key(name), otherwise));
    if (!std::isfinite(found) || found <= 0) {
      return Error(name, absl::StrFormat("%g is not above 0", found));
    }
    value = static_cast<float>(found);
    return absl::OkStatus();
  }

  absl::Status RefuseUnknownKeys() const {
    for (const std::string_view key : file_.keys()) {
      if (!key.starts_with(prefix_)) continue;
      const std::string_view name = key.substr(prefix_.size());
      if (std::ranges::find(kKnownKeys, name) != kKnownKeys.end()) continue;
      return Error(name, "not understood, and it may change the results");
    }
    return absl::OkStatus();
  }

  absl::Status ReadRope(ModelConfig& config) const {
    RETURN_IF_ERROR(ReadFloat("rope.freq_base", 10000, config.rope_base));
    int dims = 0;
    RETURN_IF_ERROR(ReadInt("rope.dimension_count", kWidthMax, config.head_dim, dims));
    if (dims != config.head_dim) {
      return Error(
          "rope.dimension_count",
          absl::StrFormat("%d, but only whole heads (%d) can be rotated", dims, config.head_dim));
    }
    float factor = 1;
    RETURN_IF_ERROR(ReadFloat("rope.scale_linear", 1, factor));
    ASSIGN_OR_RETURN(const std::string_view type,
                     file_.GetString(Key("rope.scaling.type"), "none"));
    if (type == "linear") {
      RETURN_IF_ERROR(ReadFloat("rope.scaling.factor", 1, factor));
    } else if (type != "none") {
      return Error("rope.scaling.type", absl::StrFormat("scaling \"%s\" is not known", type));
    }
    config.rope_position_scale = 1 / factor;
    return ReadRopeFactors(config);
  }

  // Llama 3 files carry their scaling as one factor per pair of dimensions.
  absl::Status ReadRopeFactors(ModelConfig& config) const {
    const GgufTensor* const tensor = file_.FindTensor("rope_freqs.weight");
    if (tensor == nullptr) return absl::OkStatus();
    const auto pairs = static_cast<size_t>(config.head_dim / 2);
    if (tensor->type != compute::DType::kF32 || tensor->data.size() != pairs * sizeof(float)) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "%s: tensor rope_freqs.weight: %d values of F32 expected", file_.path(), pairs));
    }
    config.rope_factors.resize(pairs);
    std::memcpy(config.rope_factors.data(), tensor->data.data(), tensor->data.size());
    if (!std::ranges::all_of(config.rope_factors,
                             [](float f) { return std::isfinite(f) && f > 0; })) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s: tensor rope_freqs.weight: a factor is not above 0", file_.path()));
    }
    return absl::OkStatus();
  }

  absl::Status ReadHeads(ModelConfig& config) const {
    RETURN_IF_ERROR(ReadInt("attention.head_count", kWidthMax, config.heads));
    RETURN_IF_ERROR(ReadInt("attention.head_count_kv", kWidthMax, config.heads, config.kv_heads));
    RETURN_IF_ERROR(ReadInt("attention.key_length", kWidthMax,
                            std::max(1, config.hidden / config.heads), config.head_dim));
    int value_length = 0;
    RETURN_IF_ERROR(ReadInt("attention.value_length", kWidthMax, config.head_dim, value_length));
    if (config.heads % config.kv_heads != 0) {
      return Error("attention.head_count_kv",
                   absl::StrFormat("%d heads cannot share %d", config.heads, config.kv_heads));
    }
    if (value_length != config.head_dim) {
      return Error("attention.value_length", "must be as long as the keys");
    }
    if (config.head_dim % 2 != 0 || config.head_dim > 1024) {
      return Error("attention.key_length",
                   absl::StrFormat("%d is not even and up to 1024", config.head_dim));
    }
    return absl::OkStatus();
  }

  absl::Status ReadVocabulary(ModelConfig& config) const {
    const GgufTensor* const embedding = file_.FindTensor("token_embd.weight");
    if (embedding == nullptr || embedding->shape[1] > kVocabularyMax) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s: tensor token_embd.weight is missing or larger than %d rows",
                          file_.path(), kVocabularyMax));
    }
    config.vocabulary = static_cast<int>(embedding->shape[1]);
    int stated = 0;
    RETURN_IF_ERROR(ReadInt("vocab_size", kVocabularyMax, config.vocabulary, stated));
    if (stated != config.vocabulary) {
      return Error("vocab_size",
                   absl::StrFormat("%d, but the embedding has %d rows", stated, config.vocabulary));
    }
    config.tied_embeddings = file_.FindTensor("output.weight") == nullptr;
    return absl::OkStatus();
  }

 private:
  const GgufFile& file_;
  std::string prefix_;
};

}  // namespace

absl::StatusOr<ModelConfig> ReadModelConfig(const GgufFile& file) {
  ASSIGN_OR_RETURN(const std::string_view architecture, file.GetString("general.architecture"));
  if (architecture != "llama") {
    return absl::UnimplementedError(absl::StrFormat(
        "%s: architecture \"%s\" is not supported; supported: llama", file.path(), architecture));
  }
  ASSIGN_OR_RETURN(const uint64_t parts, file.GetUint("split.count", 1));
  if (parts > 1) {
    return absl::UnimplementedError(absl::StrFormat(
        "%s: one of %d parts; join them first (llama-gguf-split --merge)", file.path(), parts));
  }
  ModelConfig config;
  config.architecture = std::string(architecture);
  ASSIGN_OR_RETURN(const std::string_view name, file.GetString("general.name", ""));
  config.name = std::string(name);
  const Reader reader(file, "llama.");
  RETURN_IF_ERROR(reader.RefuseUnknownKeys());
  RETURN_IF_ERROR(reader.ReadInt("block_count", kLayersMax, config.layers));
  RETURN_IF_ERROR(reader.ReadInt("embedding_length", kWidthMax, config.hidden));
  RETURN_IF_ERROR(reader.ReadInt("feed_forward_length", kWidthMax, config.feed_forward));
  RETURN_IF_ERROR(reader.ReadInt("context_length", kContextMax, config.context));
  ASSIGN_OR_RETURN(const uint64_t experts, file.GetUint("llama.expert_count", 0));
  if (experts > 0) return reader.Error("expert_count", "mixtures of experts are not supported");
  RETURN_IF_ERROR(reader.ReadFloat("attention.layer_norm_rms_epsilon", 1e-5, config.norm_epsilon));
  RETURN_IF_ERROR(reader.ReadHeads(config));
  RETURN_IF_ERROR(reader.ReadRope(config));
  RETURN_IF_ERROR(reader.ReadVocabulary(config));
  return config;
}

}  // namespace llm
