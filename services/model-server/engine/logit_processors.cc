#include "model-server/engine/logit_processors.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace model_server {
namespace {

constexpr float kMasked = -std::numeric_limits<float>::infinity();

void Mask(int32_t token, std::span<float> logits) {
  if (token >= 0 && static_cast<size_t>(token) < logits.size()) logits[token] = kMasked;
}

}  // namespace

LogitProcessors::LogitProcessors(int vocabulary, int tokens_used, std::vector<int32_t> end_tokens)
    : tokens_used_(std::min(tokens_used, vocabulary)),
      end_tokens_(std::move(end_tokens)),
      counts_(vocabulary, 0) {}

bool LogitProcessors::AreNeeded(const Sampling& sampling, const TokenHistory& history) const {
  return sampling.repetition_penalty != 1 || sampling.presence_penalty != 0 ||
         sampling.frequency_penalty != 0 || !sampling.logit_bias.empty() ||
         !sampling.allowed_tokens.empty() || !sampling.bad_words.empty() ||
         sampling.no_repeat_ngram > 0 ||
         static_cast<int>(history.output.size()) < sampling.min_tokens ||
         tokens_used_ < static_cast<int>(counts_.size());
}

void LogitProcessors::Apply(const Sampling& sampling, const TokenHistory& history,
                            std::span<float> logits) {
  for (const auto& [token, bias] : sampling.logit_bias) {
    if (token >= 0 && static_cast<size_t>(token) < logits.size()) logits[token] += bias;
  }
  Penalize(sampling, history, logits);
  if (!sampling.allowed_tokens.empty()) KeepOnly(sampling.allowed_tokens, logits);
  if (!sampling.bad_words.empty()) MaskBadWords(sampling, history, logits);
  if (sampling.no_repeat_ngram > 0) MaskNgrams(sampling.no_repeat_ngram, history, logits);
  if (static_cast<int>(history.output.size()) < sampling.min_tokens) {
    for (const int32_t token : end_tokens_) Mask(token, logits);
    for (const int32_t token : sampling.stop_tokens) Mask(token, logits);
  }
  for (size_t token = tokens_used_; token < logits.size(); ++token) logits[token] = kMasked;
}

void LogitProcessors::Penalize(const Sampling& sampling, const TokenHistory& history,
                               std::span<float> logits) {
  const auto each = [&](std::span<const int32_t> tokens, auto&& action) {
    for (const int32_t token : tokens) {
      if (token >= 0 && static_cast<size_t>(token) < logits.size()) action(token);
    }
  };
  const auto clear = [&](int32_t token) { counts_[token] = 0; };
  if (sampling.repetition_penalty != 1) {
    const auto penalize = [&](int32_t token) {
      if (std::exchange(counts_[token], 1) != 0) return;
      float& logit = logits[token];
      logit = logit > 0 ? logit / sampling.repetition_penalty : logit * sampling.repetition_penalty;
    };
    each(history.prompt, penalize);
    each(history.output, penalize);
    each(history.prompt, clear);
    each(history.output, clear);
  }
  if (sampling.frequency_penalty == 0 && sampling.presence_penalty == 0) return;
  each(history.output, [&](int32_t token) { ++counts_[token]; });
  each(history.output, [&](int32_t token) {
    const int32_t count = std::exchange(counts_[token], 0);
    if (count == 0) return;
    logits[token] -= sampling.frequency_penalty * static_cast<float>(count);
    logits[token] -= sampling.presence_penalty;
  });
}

void LogitProcessors::KeepOnly(const std::vector<int32_t>& allowed, std::span<float> logits) {
  kept_.clear();
  for (const int32_t token : allowed) {
    const bool inside = token >= 0 && static_cast<size_t>(token) < logits.size();
    kept_.push_back(inside ? logits[token] : kMasked);
  }
  std::fill(logits.begin(), logits.end(), kMasked);
  for (size_t i = 0; i < allowed.size(); ++i) {
    if (kept_[i] != kMasked) logits[allowed[i]] = kept_[i];
  }
}

// The last token of a word is out when the output ends with the others.
void LogitProcessors::MaskBadWords(const Sampling& sampling, const TokenHistory& history,
                                   std::span<float> logits) {
  for (const std::vector<int32_t>& word : sampling.bad_words) {
    if (word.empty() || word.size() - 1 > history.output.size()) continue;
    const auto ending = history.output.last(word.size() - 1);
    if (std::equal(ending.begin(), ending.end(), word.begin())) Mask(word.back(), logits);
  }
}

// A token is out when it would repeat `size` tokens that already stand in prompt or output.
void LogitProcessors::MaskNgrams(int size, const TokenHistory& history, std::span<float> logits) {
  all_.assign(history.prompt.begin(), history.prompt.end());
  all_.insert(all_.end(), history.output.begin(), history.output.end());
  const size_t before = size - 1;
  if (all_.size() < before + 1) return;
  const auto ending = all_.end() - static_cast<ptrdiff_t>(before);
  for (size_t at = 0; at + before < all_.size(); ++at) {
    const auto begin = all_.begin() + static_cast<ptrdiff_t>(at);
    if (std::equal(ending, all_.end(), begin)) Mask(all_[at + before], logits);
  }
}

}  // namespace model_server
