// A model for tests whose answers depend on every token before them, read from its paged cache: a
// wrong block table, a lost copy or a block given to two sequences changes the tokens.

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

#include "model-server/model/model.h"

namespace model_server {

class FakeModel final : public Model {
 public:
  explicit FakeModel(int vocabulary = 64, int context_tokens_max = 256, int kv_block_tokens = 4);

  const ModelFacts& facts() const override { return facts_; }
  absl::Status AllocateCache(int kv_blocks) override;
  void Step(std::span<const StepSequence> sequences, std::span<float> logits) override;
  void CopyBlock(int from, int to) override;

  // The most likely token after these.
  int32_t NextToken(std::span<const int32_t> tokens) const;
  // As an engine with temperature 0 would go on.
  std::vector<int32_t> Continue(std::vector<int32_t> prompt, int count) const;

  int steps() const { return steps_; }
  int tokens_computed() const { return tokens_computed_; }
  int widest_step() const { return widest_step_; }

  // Called at the begin of each step, on the engine's thread.
  std::function<void()> on_step;
  // This token's row becomes NaN.
  int32_t poisoned_token = -1;

 private:
  ModelFacts facts_;
  std::vector<int32_t> cache_;  // The token at each place; -1: never written.
  std::atomic<int> steps_ = 0;
  std::atomic<int> tokens_computed_ = 0;
  std::atomic<int> widest_step_ = 0;
};

}  // namespace model_server
