#include "model-server/model/llama_model.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>

#include "absl/strings/str_format.h"

#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/compute/embedding.h"
#include "common/compute/matmul.h"
#include "common/compute/rms_norm.h"
#include "common/compute/swiglu.h"

namespace model_server {

using compute::MatmulPart;
using compute::QuantizedRows;
using compute::Tensor;

namespace {

// FNV-1a, 64 bits.
uint64_t Hash(std::span<const std::byte> bytes, uint64_t hash) {
  for (const std::byte b : bytes) hash = (hash ^ std::to_integer<uint64_t>(b)) * 0x100000001B3ULL;
  return hash;
}

// Tells files apart without reading all of them: header, size, and the beginning of every tensor.
std::string Digest(const llm::GgufFile& file) {
  uint64_t header = file.bytes().size();
  for (const llm::GgufTensor& tensor : file.tensors()) header = std::min(header, tensor.offset);
  uint64_t hash = Hash(file.bytes().first(header), 0xCBF29CE484222325ULL);
  for (const llm::GgufTensor& tensor : file.tensors()) {
    hash = Hash(tensor.data.first(std::min<size_t>(64, tensor.data.size())), hash);
  }
  return absl::StrFormat("%016x-%d", hash, file.bytes().size());
}

// The type that holds most bytes.
std::string MainType(const llm::GgufFile& file) {
  std::map<compute::DType, uint64_t> bytes;
  for (const llm::GgufTensor& tensor : file.tensors()) bytes[tensor.type] += tensor.data.size();
  const auto most =
      std::ranges::max_element(bytes, {}, [](const auto& entry) { return entry.second; });
  return std::string(compute::Facts(most->first).name);
}

absl::Status CheckOptions(const LoadOptions& options) {
  if (options.step_tokens_max < 1 || options.step_tokens_max > 1 << 16) {
    return absl::InvalidArgumentError(
        absl::StrFormat("step_tokens_max %d: must be 1 to 65536", options.step_tokens_max));
  }
  if (options.step_sequences_max < 1 || options.step_sequences_max > 1 << 12) {
    return absl::InvalidArgumentError(
        absl::StrFormat("step_sequences_max %d: must be 1 to 4096", options.step_sequences_max));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<LlamaModel>> LlamaModel::Plan(std::unique_ptr<llm::GgufFile> file,
                                                             const LoadOptions& options) {
  RETURN_IF_ERROR(CheckOptions(options));
  std::unique_ptr<LlamaModel> model(new LlamaModel());
  model->file_ = std::move(file);
  ASSIGN_OR_RETURN(model->config_, llm::ReadModelConfig(*model->file_));
  const llm::ModelConfig& config = model->config_;
  if (config.head_dim % 16 != 0) {
    return absl::UnimplementedError(
        absl::StrFormat("%s: heads of %d values cannot be computed with, only multiples of 16",
                        model->file_->path(), config.head_dim));
  }
  if (options.max_model_len < 0 || options.max_model_len > config.context) {
    return absl::InvalidArgumentError(
        absl::StrFormat("max_model_len %d: the model was trained for %d tokens",
                        options.max_model_len, config.context));
  }
  ASSIGN_OR_RETURN(model->context_,
                   compute::Context::Create(
                       {.device = options.device, .isa = options.isa, .threads = options.threads}));
  ASSIGN_OR_RETURN(model->weights_,
                   LlamaWeights::Find(*model->file_, config, options.reference_float32));
  model->kv_shape_ = {
      .layers = config.layers,
      .kv_heads = config.kv_heads,
      .head_dim = config.head_dim,
      .dtype = options.reference_float32 ? compute::DType::kF32 : compute::DType::kF16};
  model->FillFacts(options);
  model->PlanActivations();
  return model;
}

void LlamaModel::FillFacts(const LoadOptions& options) {
  facts_.architecture = config_.architecture;
  facts_.quantization = MainType(*file_);
  facts_.dtype = weights_.any_integer() ? "int8" : "float32";
  facts_.weights_digest = Digest(*file_);
  facts_.device = context_->device().name;
  facts_.isa = std::string(compute::IsaName(context_->isa()));
  for (const llm::GgufTensor& tensor : file_->tensors()) {
    facts_.parameters +=
        tensor.data.size() / compute::Facts(tensor.type).bytes * compute::Facts(tensor.type).values;
  }
  facts_.context_tokens_max = options.max_model_len > 0 ? options.max_model_len : config_.context;
  facts_.vocabulary = config_.vocabulary;
  facts_.kv_block_tokens = compute::kKvBlockTokens;
  facts_.weight_bytes = weights_.bytes();
  facts_.kv_bytes_per_token = kv_shape_.bytes_per_token();
  facts_.step_tokens_max = options.step_tokens_max;
  facts_.step_sequences_max = options.step_sequences_max;
}

LlamaModel::Slot LlamaModel::ReserveRows(int64_t columns) {
  const int64_t rows = std::max(facts_.step_tokens_max, facts_.step_sequences_max);
  const Slot slot{.columns = columns, .rows_max = rows, .offset = activation_bytes_};
  activation_bytes_ += (rows * columns * sizeof(float) + 63) / 64 * 64;
  return slot;
}

LlamaModel::Slot LlamaModel::ReserveQuantized(int64_t columns) {
  const int64_t rows = std::max(facts_.step_tokens_max, facts_.step_sequences_max);
  const Slot slot{.columns = columns, .rows_max = rows, .offset = activation_bytes_};
  if (weights_.any_integer()) {
    activation_bytes_ += (QuantizedRows::BytesFor(rows, columns) + 63) / 64 * 64;
  }
  return slot;
}

void LlamaModel::PlanActivations() {
  const int64_t heads = static_cast<int64_t>(config_.heads) * config_.head_dim;
  const int64_t kv = static_cast<int64_t>(config_.kv_heads) * config_.head_dim;
  x_ = ReserveRows(config_.hidden);
  normed_ = ReserveRows(config_.hidden);
  q_ = ReserveRows(heads);
  k_ = ReserveRows(kv);
  v_ = ReserveRows(kv);
  attended_ = ReserveRows(heads);
  gate_ = ReserveRows(config_.feed_forward);
  up_ = ReserveRows(config_.feed_forward);
  last_ = ReserveRows(config_.hidden);
  hidden_int8_ = ReserveQuantized(config_.hidden);
  attended_int8_ = ReserveQuantized(heads);
  gate_int8_ = ReserveQuantized(config_.feed_forward);

  plan_.weight_bytes = weights_.bytes();
  plan_.mapped_bytes = file_->bytes().size();
  plan_.activation_bytes = activation_bytes_;
  const uint64_t attention = compute::AttentionWorkspace::BytesFor(
      *context_, facts_.step_tokens_max, facts_.step_sequences_max, config_.heads, config_.kv_heads,
      config_.head_dim);
  const uint64_t rope =
      static_cast<uint64_t>(facts_.context_tokens_max) * config_.head_dim * sizeof(float);
  const uint64_t lists = static_cast<uint64_t>(facts_.step_tokens_max) * 3 * sizeof(int32_t) +
                         facts_.step_sequences_max * sizeof(compute::AttentionSequence);
  plan_.workspace_bytes = attention + rope + lists;
  plan_.kv_bytes_per_block = kv_shape_.block_bytes() * config_.layers;
}

absl::Status LlamaModel::Load(const LoadOptions& options) {
  RETURN_IF_ERROR(weights_.Load(*context_, options.progress));
  ASSIGN_OR_RETURN(activations_, compute::Buffer::Allocate(activation_bytes_));
  ASSIGN_OR_RETURN(attention_, compute::AttentionWorkspace::Allocate(
                                   *context_, facts_.step_tokens_max, facts_.step_sequences_max,
                                   config_.heads, config_.kv_heads, config_.head_dim));
  rope_ = compute::RopeTable({.head_dim = config_.head_dim,
                              .base = config_.rope_base,
                              .position_scale = config_.rope_position_scale,
                              .pair_factors = config_.rope_factors},
                             facts_.context_tokens_max);
  tokens_.reserve(facts_.step_tokens_max);
  positions_.reserve(facts_.step_tokens_max);
  blocks_.reserve(facts_.step_tokens_max);
  spans_.reserve(facts_.step_sequences_max);
  return absl::OkStatus();
}

absl::Status LlamaModel::AllocateCache(int kv_blocks) {
  CHECK(cache_.blocks() == 0);
  if (kv_blocks < 1) return absl::InvalidArgumentError("the KV cache needs at least one block");
  ASSIGN_OR_RETURN(cache_, compute::KvCache::Allocate(kv_shape_, kv_blocks));
  return absl::OkStatus();
}

Tensor LlamaModel::Rows(const Slot& slot, int64_t rows) const {
  CHECK(rows <= slot.rows_max);
  return compute::MakeTensor(activations_.as<float>(slot.offset), rows, slot.columns);
}

QuantizedRows LlamaModel::Quantized(const Slot& slot, const Tensor& x) const {
  if (!weights_.any_integer()) return {};
  const QuantizedRows out =
      compute::MakeQuantizedRows(activations_.data() + slot.offset, x.rows, slot.columns);
  compute::Quantize(*context_, x, out);
  return out;
}

int LlamaModel::ListTokens(std::span<const StepSequence> sequences) {
  CHECK(sequences.size() <= static_cast<size_t>(facts_.step_sequences_max));
  tokens_.clear();
  positions_.clear();
  blocks_.clear();
  spans_.clear();
  for (const StepSequence& sequence : sequences) {
    const auto count = static_cast<int>(sequence.tokens.size());
    const int end = sequence.first_position + count;
    CHECK(end <= facts_.context_tokens_max);
    CHECK(tokens_.size() + count <= static_cast<size_t>(facts_.step_tokens_max));
    CHECK(sequence.block_table.size() * compute::kKvBlockTokens >= static_cast<size_t>(end));
    spans_.push_back({.first_row = static_cast<int64_t>(tokens_.size()),
                      .tokens = count,
                      .first_position = sequence.first_position,
                      .blocks = sequence.block_table});
    for (int i = 0; i < count; ++i) {
      const int position = sequence.first_position + i;
      const int32_t block = sequence.block_table[position / compute::kKvBlockTokens];
      const int32_t token = sequence.tokens[i];
      CHECK(token >= 0 && token < config_.vocabulary);
      CHECK(block >= 0 && block < cache_.blocks());
      tokens_.push_back(token);
      positions_.push_back(position);
      blocks_.push_back(block);
    }
  }
  return static_cast<int>(tokens_.size());
}

void LlamaModel::Step(std::span<const StepSequence> sequences, std::span<float> logits) {
  const int count = ListTokens(sequences);
  if (count == 0) return;
  const Tensor x = Rows(x_, count);
  compute::Embedding(*context_, {.tokens = tokens_,
                                 .type = weights_.embedding().type,
                                 .table = weights_.embedding().data.data(),
                                 .out = x});
  for (int layer = 0; layer < config_.layers; ++layer) RunLayer(layer, x);
  WriteLogits(sequences, x, logits);
}

void LlamaModel::RunLayer(int layer, const Tensor& x) {
  const LlamaLayer& w = weights_.layers()[layer];
  const compute::Context& context = *context_;
  const Tensor normed = Rows(normed_, x.rows);
  const Tensor q = Rows(q_, x.rows);
  const Tensor k = Rows(k_, x.rows);
  const Tensor v = Rows(v_, x.rows);
  const Tensor attended = Rows(attended_, x.rows);
  const Tensor gate = Rows(gate_, x.rows);
  const Tensor up = Rows(up_, x.rows);

  compute::RmsNorm(
      context,
      {.x = x, .weight = w.attention_norm, .out = normed, .epsilon = config_.norm_epsilon});
  const std::array qkv = {MatmulPart{&w.q, q}, MatmulPart{&w.k, k}, MatmulPart{&w.v, v}};
  compute::Matmul(context,
                  {.x = normed, .quantized = Quantized(hidden_int8_, normed), .parts = qkv});
  compute::RopeAndStore(context, {.q = q,
                                  .k = k,
                                  .v = v,
                                  .positions = positions_,
                                  .blocks = blocks_,
                                  .table = &rope_,
                                  .cache = &cache_,
                                  .layer = layer});
  compute::Attention(context, {.q = q,
                               .out = attended,
                               .sequences = spans_,
                               .cache = &cache_,
                               .layer = layer,
                               .workspace = &attention_});
  const std::array o = {MatmulPart{&w.o, x}};
  compute::Matmul(
      context,
      {.x = attended, .quantized = Quantized(attended_int8_, attended), .parts = o, .add = true});

  compute::RmsNorm(
      context,
      {.x = x, .weight = w.feed_forward_norm, .out = normed, .epsilon = config_.norm_epsilon});
  const std::array gate_up = {MatmulPart{&w.gate, gate}, MatmulPart{&w.up, up}};
  compute::Matmul(context,
                  {.x = normed, .quantized = Quantized(hidden_int8_, normed), .parts = gate_up});
  compute::SwiGlu(context, {.gate = gate, .up = up, .out = gate});
  const std::array down = {MatmulPart{&w.down, x}};
  compute::Matmul(
      context, {.x = gate, .quantized = Quantized(gate_int8_, gate), .parts = down, .add = true});
}

void LlamaModel::WriteLogits(std::span<const StepSequence> sequences, const Tensor& x,
                             std::span<float> logits) {
  const auto rows = std::ranges::count_if(sequences, &StepSequence::wants_logits);
  if (rows == 0) return;
  CHECK(logits.size() >= static_cast<size_t>(rows) * config_.vocabulary);
  const Tensor last = Rows(last_, rows);
  int64_t row = 0;
  for (size_t i = 0; i < sequences.size(); ++i) {
    if (!sequences[i].wants_logits) continue;
    CHECK(!sequences[i].tokens.empty());
    const float* const from = x.row(spans_[i].first_row + spans_[i].tokens - 1);
    std::memcpy(last.row(row++), from, config_.hidden * sizeof(float));
  }
  compute::RmsNorm(
      *context_,
      {.x = last, .weight = weights_.output_norm(), .out = last, .epsilon = config_.norm_epsilon});
  const Tensor out = compute::MakeTensor(logits.data(), rows, config_.vocabulary);
  const std::array head = {MatmulPart{&weights_.head(), out}};
  compute::Matmul(*context_,
                  {.x = last, .quantized = Quantized(hidden_int8_, last), .parts = head});
}

}  // namespace model_server
