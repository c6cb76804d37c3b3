// What the engine asks of a model: one step for a batch of sequences, over a paged KV cache.

#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"

namespace model_server {

// One sequence's part of a step.
struct StepSequence {
  std::span<const int32_t>
      tokens;              // New tokens, at positions first_position, first_position + 1, …
  int first_position = 0;  // How many tokens of it are in the cache already.
  std::span<const int32_t> block_table;  // KV blocks for positions 0 … first_position + tokens - 1.
  bool wants_logits = false;             // Of the last token.
};

struct ModelFacts {
  std::string architecture;  // "llama"
  std::string quantization;  // Of most weights: "Q4_1".
  std::string dtype;         // Of activations: "int8" or "float32".
  std::string
      weights_digest;  // sha256 of the file's structure and size; equal files, equal digests.
  std::string device;  // "cpu"
  std::string isa;     // "avx512-vnni", "avx2", "plain"
  uint64_t parameters = 0;
  int context_tokens_max = 0;
  int vocabulary = 0;
  int kv_block_tokens = 16;
  uint64_t weight_bytes = 0;  // In memory, in the internal layout.
  uint64_t kv_bytes_per_token = 0;
  int step_tokens_max = 0;     // Tokens of all sequences in one step.
  int step_sequences_max = 0;  // Sequences that may want logits in one step.
};

// One loaded model on its device. All methods from the engine thread only, except facts().
class Model {
 public:
  virtual ~Model() = default;

  virtual const ModelFacts& facts() const = 0;

  // Once, before the first step. kResourceExhausted if the memory is not there.
  virtual absl::Status AllocateCache(int kv_blocks) = 0;

  // Writes K and V of all tokens into their blocks, and one row of `vocabulary` float32 logits per
  // sequence that wants them, in order. Allocates nothing. A row does not depend on what else is in
  // the step, nor on how a prompt is cut into steps.
  //
  // Tokens are in [0, vocabulary), blocks in [0, kv_blocks), the sums within the facts' limits. No
  // block is written for two sequences in one step.
  virtual void Step(std::span<const StepSequence> sequences, std::span<float> logits) = 0;

  // For forks: all layers' K and V of one block.
  virtual void CopyBlock(int from, int to) = 0;
};

}  // namespace model_server
