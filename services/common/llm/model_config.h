// The shape of a model and the constants of its formulas, as its file states them.

#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "common/llm/gguf.h"

namespace llm {

// A transformer of the Llama family: RMSNorm, grouped-query attention with rotary positions,
// SwiGLU.
struct ModelConfig {
  std::string architecture;  // "llama"
  std::string name;          // For people; may be empty.
  int layers = 0;
  int hidden = 0;
  int feed_forward = 0;
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  int vocabulary = 0;
  int context = 0;  // Positions that the model was trained for.
  float norm_epsilon = 1e-5F;
  float rope_base = 10000.0F;
  float rope_position_scale = 1.0F;  // Linear scaling: positions are multiplied by it.
  std::vector<float> rope_factors;   // Per pair: its frequency is divided by it. Empty: all 1.
  bool tied_embeddings = false;      // The head is the token embedding.
};

// kUnimplemented for another architecture; kInvalidArgument for values that make no sense, and for
// a key of the architecture that is not understood, since it may change the numbers.
absl::StatusOr<ModelConfig> ReadModelConfig(const GgufFile& file);

}  // namespace llm
