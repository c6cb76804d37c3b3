// The forward pass of the Llama family, as a list of operations in the order of the paper.

#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "common/compute/attention.h"
#include "common/compute/buffer.h"
#include "common/compute/context.h"
#include "common/compute/kv_cache.h"
#include "common/compute/quantized_rows.h"
#include "common/compute/rope.h"
#include "common/compute/tensor.h"
#include "common/llm/gguf.h"
#include "common/llm/model_config.h"
#include "model-server/model/llama_weights.h"
#include "model-server/model/load.h"
#include "model-server/model/model.h"

namespace model_server {

class LlamaModel final : public Model {
 public:
  // Checks and plans; takes no memory that depends on the model's size.
  static absl::StatusOr<std::unique_ptr<LlamaModel>> Plan(std::unique_ptr<llm::GgufFile> file,
                                                          const LoadOptions& options);

  const MemoryPlan& plan() const { return plan_; }

  // Takes what was planned and fills it. Once.
  absl::Status Load(const LoadOptions& options);

  const ModelFacts& facts() const override { return facts_; }
  absl::Status AllocateCache(int kv_blocks) override;
  void Step(std::span<const StepSequence> sequences, std::span<float> logits) override;
  void CopyBlock(int from, int to) override { cache_.CopyBlock(from, to); }

 private:
  // A piece of the activation memory: float32 rows for the largest step, and its int8 form.
  struct Slot {
    int64_t columns = 0;
    int64_t rows_max = 0;
    uint64_t offset = 0;
  };

  LlamaModel() = default;

  void PlanActivations();
  void FillFacts(const LoadOptions& options);
  Slot ReserveRows(int64_t columns);
  Slot ReserveQuantized(int64_t columns);
  compute::Tensor Rows(const Slot& slot, int64_t rows) const;
  // Nothing where no matrix reads it.
  compute::QuantizedRows Quantized(const Slot& slot, const compute::Tensor& x) const;

  // Positions and blocks of all tokens of a step. Returns their number.
  int ListTokens(std::span<const StepSequence> sequences);
  void RunLayer(int layer, const compute::Tensor& x);
  void WriteLogits(std::span<const StepSequence> sequences, const compute::Tensor& x,
                   std::span<float> logits);

  std::unique_ptr<llm::GgufFile> file_;
  llm::ModelConfig config_;
  ModelFacts facts_;
  MemoryPlan plan_;
  std::unique_ptr<compute::Context> context_;
  LlamaWeights weights_;
  compute::KvShape kv_shape_;
  compute::RopeTable rope_;
  compute::KvCache cache_;
  compute::AttentionWorkspace attention_;
  compute::Buffer activations_;
  uint64_t activation_bytes_ = 0;

  Slot x_, normed_, q_, k_, v_, attended_, gate_, up_, last_;
  Slot hidden_int8_, attended_int8_, gate_int8_;

  // Of the step's tokens, in order; room for the largest step.
  std::vector<int32_t> tokens_;
  std::vector<int32_t> positions_;
  std::vector<int32_t> blocks_;
  std::vector<compute::AttentionSequence> spans_;
};

}  // namespace model_server
