// How the tokens of one request are chosen.

#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace model_server {

// In which order the filters of the candidates apply.
enum class FilterOrder {
  kVllm,          // min-p, top-k, top-p.
  kTransformers,  // top-k, top-p, min-p, typical-p.
};

// Checked before it comes here; the defaults change nothing.
struct Sampling {
  int max_tokens = 0;  // New tokens; 0: the rest of the context.
  int min_tokens = 0;  // Before so many neither a stop token nor end-of-text is chosen.

  float temperature = 1;  // Below 1e-5: the most likely token always.
  float top_p = 1;
  int top_k = 0;  // 0: off.
  float min_p = 0;
  float typical_p = 1;
  FilterOrder order = FilterOrder::kVllm;

  float repetition_penalty = 1;  // Over prompt and output.
  float presence_penalty = 0;    // Over the output.
  float frequency_penalty = 0;
  std::vector<std::pair<int32_t, float>> logit_bias;
  std::vector<int32_t> allowed_tokens;          // Empty: all.
  std::vector<std::vector<int32_t>> bad_words;  // Sequences of tokens that must not come out.
  int no_repeat_ngram = 0;                      // 0: off.

  uint64_t seed = 0;  // Equal seeds give equal answers.
  int n = 1;          // Answers to one prompt.
  std::vector<int32_t> stop_tokens;
  bool ignore_eos = false;
  int logprobs = -1;  // So many alternatives with each token; -1: no log-probabilities at all.
};

struct TokenLogprob {
  int32_t token = 0;
  float logprob = 0;

  bool operator==(const TokenLogprob&) const = default;
};

}  // namespace model_server
