#include "model-server/model/llama_weights.h"

#include <algorithm>
#include <set>
#include <string>

#include "absl/strings/str_format.h"

#include "common/base/status_macros.h"
#include "common/compute/dequantize.h"

namespace model_server {

using compute::PackedMatrix;
using llm::GgufTensor;

namespace {

constexpr uint64_t kAlignment = 64;
constexpr int64_t kPanelsPerChunk = 8;
constexpr size_t kMatricesPerLayer = 7;

uint64_t AlignUp(uint64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

class LlamaWeights::Finder {
 public:
  Finder(const llm::GgufFile& file, const llm::ModelConfig& config, bool as_float32,
         LlamaWeights& out)
      : file_(file), config_(config), as_float32_(as_float32), out_(out) {}

  absl::Status Run() {
    out_.hidden_ = config_.hidden;
    for (int i = 0; i < config_.layers; ++i) RETURN_IF_ERROR(AddLayer(i));
    RETURN_IF_ERROR(AddNorm("output_norm.weight"));
    RETURN_IF_ERROR(AddHead());
    return RefuseUnknownTensors();
  }

 private:
  absl::Status AddLayer(int index) {
    const auto name = [&](std::string_view part) {
      return absl::StrFormat("blk.%d.%s.weight", index, part);
    };
    const int64_t q_rows = static_cast<int64_t>(config_.heads) * config_.head_dim;
    const int64_t kv_rows = static_cast<int64_t>(config_.kv_heads) * config_.head_dim;
    RETURN_IF_ERROR(AddNorm(name("attn_norm")));
    RETURN_IF_ERROR(AddMatrix(name("attn_q"), q_rows, config_.hidden, config_.head_dim));
    RETURN_IF_ERROR(AddMatrix(name("attn_k"), kv_rows, config_.hidden, config_.head_dim));
    RETURN_IF_ERROR(AddMatrix(name("attn_v"), kv_rows, config_.hidden, 0));
    RETURN_IF_ERROR(AddMatrix(name("attn_output"), config_.hidden, q_rows, 0));
    RETURN_IF_ERROR(AddNorm(name("ffn_norm")));
    RETURN_IF_ERROR(AddMatrix(name("ffn_gate"), config_.feed_forward, config_.hidden, 0));
    RETURN_IF_ERROR(AddMatrix(name("ffn_up"), config_.feed_forward, config_.hidden, 0));
    return AddMatrix(name("ffn_down"), config_.hidden, config_.feed_forward, 0);
  }

  absl::Status AddHead() {
    ASSIGN_OR_RETURN(out_.embedding_,
                     Find("token_embd.weight", config_.hidden, config_.vocabulary));
    const std::string name = config_.tied_embeddings ? "token_embd.weight" : "output.weight";
    return AddMatrix(name, config_.vocabulary, config_.hidden, 0);
  }

  absl::StatusOr<const GgufTensor*> Find(const std::string& name, int64_t columns, int64_t rows) {
    const GgufTensor* const tensor = file_.FindTensor(name);
    if (tensor == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s: tensor %s is missing", file_.path(), name));
    }
    const auto& shape = tensor->shape;
    if (shape != std::array<uint64_t, 4>{static_cast<uint64_t>(columns),
                                         static_cast<uint64_t>(rows), 1, 1}) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s: tensor %s: shape %d x %d x %d x %d, expected %d x %d", file_.path(),
                          name, shape[0], shape[1], shape[2], shape[3], columns, rows));
    }
    if (tensor->type == compute::DType::kI8 || tensor->type == compute::DType::kI16 ||
        tensor->type == compute::DType::kI32) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s: tensor %s: integers are no weights", file_.path(), name));
    }
    used_.insert(name);
    return tensor;
  }

  absl::Status AddNorm(const std::string& name) {
    ASSIGN_OR_RETURN(const GgufTensor* const tensor, Find(name, config_.hidden, 1));
    out_.norms_.push_back({.source = tensor, .offset = Reserve(config_.hidden * sizeof(float))});
    return absl::OkStatus();
  }

  absl::Status AddMatrix(const std::string& name, int64_t rows, int64_t columns,
                         int64_t pair_rows) {
    ASSIGN_OR_RETURN(const GgufTensor* const tensor, Find(name, columns, rows));
    std::optional<compute::WeightLayout> layout = compute::LayoutFor(tensor->type);
    if (as_float32_) layout = compute::WeightLayout::kF32;
    if (!layout) {
      return absl::UnimplementedError(absl::StrFormat(
          "%s: tensor %s: type %s cannot be computed with; convert the model to Q4_0, Q4_1, Q8_0, "
          "F16, BF16 or F32",
          file_.path(), name, compute::Facts(tensor->type).name));
    }
    MatrixJob job;
    job.matrix = {.layout = *layout, .rows = rows, .columns = columns};
    job.source = {.type = tensor->type, .data = tensor->data.data(), .pair_rows = pair_rows};
    job.offset = Reserve(job.matrix.bytes());
    out_.any_integer_ = out_.any_integer_ || compute::IsInteger(*layout);
    out_.matrices_.push_back(job);
    return absl::OkStatus();
  }

  uint64_t Reserve(uint64_t bytes) {
    const uint64_t offset = out_.bytes_;
    out_.bytes_ += AlignUp(bytes);
    return offset;
  }

  absl::Status RefuseUnknownTensors() const {
    for (const GgufTensor& tensor : file_.tensors()) {
      const std::string name(tensor.name);
      if (used_.contains(name) || name == "rope_freqs.weight") continue;
      return absl::InvalidArgumentError(absl::StrFormat(
          "%s: tensor %s is not understood, and it may change the results", file_.path(), name));
    }
    return absl::OkStatus();
  }

  const llm::GgufFile& file_;
  const llm::ModelConfig& config_;
  const bool as_float32_;
  LlamaWeights& out_;
  std::set<std::string> used_;
};

absl::StatusOr<LlamaWeights> LlamaWeights::Find(const llm::GgufFile& file,
                                                const llm::ModelConfig& config, bool as_float32) {
  LlamaWeights weights;
  RETURN_IF_ERROR(Finder(file, config, as_float32, weights).Run());
  return weights;
}

absl::Status LlamaWeights::Load(
    const compute::Context& context,
    const std::function<void(uint64_t done, uint64_t total)>& progress) {
  ASSIGN_OR_RETURN(memory_, compute::Buffer::Allocate(bytes_));
  for (const NormJob& job : norms_) {
    compute::Dequantize(job.source->type, job.source->data.data(), hidden_,
                        memory_.as<float>(job.offset));
  }
  uint64_t done = 0;
  for (MatrixJob& job : matrices_) {
    std::byte* const out = memory_.data() + job.offset;
    job.matrix.data = out;
    const int64_t panels = job.matrix.panels();
    const auto chunks = static_cast<int>((panels + kPanelsPerChunk - 1) / kPanelsPerChunk);
    context.team().Run(chunks, [&](int, int chunk) {
      const int64_t first = chunk * kPanelsPerChunk;
      compute::PackPanels(job.matrix, job.source, first, std::min(first + kPanelsPerChunk, panels),
                          out);
    });
    done = job.offset + job.matrix.bytes();
    if (progress) progress(done, bytes_);
  }
  if (progress) progress(bytes_, bytes_);
  Link();
  return absl::OkStatus();
}

void LlamaWeights::Link() {
  const size_t layers = matrices_.size() / kMatricesPerLayer;
  const auto norm = [&](size_t index) {
    return compute::MakeTensor(memory_.as<float>(norms_[index].offset), 1, hidden_);
  };
  for (size_t i = 0; i < layers; ++i) {
    const MatrixJob* const job = &matrices_[i * kMatricesPerLayer];
    layers_.push_back({.attention_norm = norm(2 * i),
                       .q = job[0].matrix,
                       .k = job[1].matrix,
                       .v = job[2].matrix,
                       .o = job[3].matrix,
                       .feed_forward_norm = norm(2 * i + 1),
                       .gate = job[4].matrix,
                       .up = job[5].matrix,
                       .down = job[6].matrix});
  }
  output_norm_ = norm(2 * layers);
  head_ = matrices_.back().matrix;
}

}  // namespace model_server
