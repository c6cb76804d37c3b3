// What changes logits before the temperature: bias, penalties and masks, in this order.

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model-server/engine/sampling.h"

namespace model_server {

// What has been said so far.
struct TokenHistory {
  std::span<const int32_t> prompt;
  std::span<const int32_t> output;
};

// Owned by one thread; keeps scratch memory so that a step allocates nothing.
class LogitProcessors {
 public:
  // Ids from `tokens_used` on are padding of the vocabulary and never chosen. `end_tokens` end an
  // answer unless the request ignores them.
  LogitProcessors(int vocabulary, int tokens_used, std::vector<int32_t> end_tokens);

  // Whether Apply() would change anything.
  bool AreNeeded(const Sampling& sampling, const TokenHistory& history) const;

  // Masked logits become minus infinity.
  void Apply(const Sampling& sampling, const TokenHistory& history, std::span<float> logits);

 private:
  void Penalize(const Sampling& sampling, const TokenHistory& history, std::span<float> logits);
  void MaskBadWords(const Sampling& sampling, const TokenHistory& history, std::span<float> logits);
  void MaskNgrams(int size, const TokenHistory& history, std::span<float> logits);
  void KeepOnly(const std::vector<int32_t>& allowed, std::span<float> logits);

  const int tokens_used_;
  const std::vector<int32_t> end_tokens_;
  std::vector<int32_t> counts_;  // By token; all zero between calls.
  std::vector<float> kept_;
  std::vector<int32_t> all_;  // Prompt and output together.
};

}  // namespace model_server
