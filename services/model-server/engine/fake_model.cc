#include "model-server/engine/fake_model.h"

#include <algorithm>
#include <limits>

#include "common/base/check.h"

namespace model_server {

FakeModel::FakeModel(int vocabulary, int context_tokens_max, int kv_block_tokens) {
  facts_ = {.architecture = "fake",
            .quantization = "none",
            .dtype = "int32",
            .weights_digest = "0123456789abcdef",
            .device = "cpu",
            .isa = "plain",
            .context_tokens_max = context_tokens_max,
            .vocabulary = vocabulary,
            .kv_block_tokens = kv_block_tokens,
            .step_tokens_max = 512,
            .step_sequences_max = 16};
}

absl::Status FakeModel::AllocateCache(int kv_blocks) {
  cache_.assign(static_cast<size_t>(kv_blocks) * facts_.kv_block_tokens, -1);
  return absl::OkStatus();
}

int32_t FakeModel::NextToken(std::span<const int32_t> tokens) const {
  uint32_t hash = 17;
  for (const int32_t token : tokens) hash = hash * 31 + static_cast<uint32_t>(token) + 7;
  return static_cast<int32_t>((hash >> 8) % facts_.vocabulary);
}

std::vector<int32_t> FakeModel::Continue(std::vector<int32_t> prompt, int count) const {
  std::vector<int32_t> output;
  for (int i = 0; i < count; ++i) {
    output.push_back(NextToken(prompt));
    prompt.push_back(output.back());
  }
  return output;
}

void FakeModel::Step(std::span<const StepSequence> sequences, std::span<float> logits) {
  if (on_step) on_step();
  ++steps_;
  widest_step_ = std::max<int>(widest_step_, static_cast<int>(sequences.size()));
  const int size = facts_.kv_block_tokens;
  size_t row = 0;
  for (const StepSequence& sequence : sequences) {
    const auto place = [&](int position) -> int32_t& {
      const auto block = static_cast<size_t>(sequence.block_table[position / size]);
      return cache_[block * size + position % size];
    };
    for (size_t i = 0; i < sequence.tokens.size(); ++i) {
      place(sequence.first_position + static_cast<int>(i)) = sequence.tokens[i];
    }
    tokens_computed_ += static_cast<int>(sequence.tokens.size());
    if (!sequence.wants_logits) continue;
    std::vector<int32_t> tokens;
    const int count = sequence.first_position + static_cast<int>(sequence.tokens.size());
    for (int position = 0; position < count; ++position) tokens.push_back(place(position));
    CHECK(std::find(tokens.begin(), tokens.end(), -1) == tokens.end());
    const auto out = logits.subspan(row++ * facts_.vocabulary, facts_.vocabulary);
    std::fill(out.begin(), out.end(), 0.0F);
    out[NextToken(tokens)] = 5;
    if (tokens.back() == poisoned_token) out[0] = std::numeric_limits<float>::quiet_NaN();
  }
  CHECK(row * facts_.vocabulary == logits.size());
}

void FakeModel::CopyBlock(int from, int to) {
  const int size = facts_.kv_block_tokens;
  std::copy_n(cache_.begin() + static_cast<ptrdiff_t>(from) * size, size,
              cache_.begin() + static_cast<ptrdiff_t>(to) * size);
}

}  // namespace model_server
