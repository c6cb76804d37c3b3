#include "model-server/engine/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "model-server/engine/philox.h"

namespace model_server {
namespace {

constexpr float kGreedyBelow = 1e-5F;
constexpr float kMasked = -std::numeric_limits<float>::infinity();

// The greatest logit, the lowest id among equals; -1 when there is none. NaN and plus infinity are
// not logits: then `sound` becomes false.
int32_t ArgMax(std::span<const float> logits, bool& sound) {
  int32_t best = -1;
  float best_logit = kMasked;
  bool all_sound = true;
  for (size_t i = 0; i < logits.size(); ++i) {
    all_sound &= logits[i] < std::numeric_limits<float>::infinity();  // False for NaN too.
    if (logits[i] > best_logit) {
      best_logit = logits[i];
      best = static_cast<int32_t>(i);
    }
  }
  sound = all_sound;
  return best;
}

// Greater first; of equals the higher id, for filters drop the lower one first.
bool ComesBefore(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token > b.token;
}

}  // namespace

Sampler::Sampler(int vocabulary, int tokens_used, std::vector<int32_t> end_tokens)
    : processors_(vocabulary, tokens_used, std::move(end_tokens)) {
  processed_.reserve(vocabulary);
  candidates_.reserve(vocabulary);
  values_.reserve(vocabulary);
}

absl::StatusOr<SampledToken> Sampler::Sample(std::span<const float> logits,
                                             const Sampling& sampling, const TokenHistory& history,
                                             int choice) {
  bool sound = true;
  const int32_t raw_best = ArgMax(logits, sound);
  if (!sound || raw_best < 0) {
    return absl::DataLossError("the model's output is not a number; this request cannot go on");
  }
  SampledToken sampled;
  const bool is_greedy = sampling.temperature < kGreedyBelow;
  if (is_greedy && !processors_.AreNeeded(sampling, history)) {
    sampled.token = raw_best;
  } else if (is_greedy) {
    sampled.token = ArgMax(Process(logits, sampling, history), sound);
  } else {
    Candidates(logits, sampling, history);
    sampled.token = Choose(sampling, history.output.size(), choice);
  }
  // When masks leave nothing, the answer cannot go on as the request wants it.
  if (sampled.token < 0) {
    return absl::InvalidArgumentError("the request's masks leave no token to choose");
  }
  if (sampling.logprobs >= 0) AddLogprobs(logits, sampling.logprobs, sampled);
  return sampled;
}

std::span<const float> Sampler::Process(std::span<const float> logits, const Sampling& sampling,
                                        const TokenHistory& history) {
  processed_.assign(logits.begin(), logits.end());
  processors_.Apply(sampling, history, processed_);
  return processed_;
}

std::span<const Candidate> Sampler::Candidates(std::span<const float> logits,
                                               const Sampling& sampling,
                                               const TokenHistory& history) {
  Process(logits, sampling, history);
  float best = kMasked;
  for (const float logit : processed_) best = std::max(best, logit);
  candidates_.clear();
  if (best == kMasked) return candidates_;
  const float temperature = sampling.temperature;
  for (size_t i = 0; i < processed_.size(); ++i) {
    if (processed_[i] == kMasked) continue;
    // Relative to the best, so that no exponential overflows at a low temperature.
    const float logit = (processed_[i] - best) / temperature;
    candidates_.push_back({.token = static_cast<int32_t>(i), .logit = logit});
  }
  if (sampling.order == FilterOrder::kVllm) {
    KeepMinP(sampling.min_p);
    KeepTopK(sampling.top_k);
    KeepTopP(sampling.top_p);
  } else {
    KeepTopK(sampling.top_k);
    KeepTopP(sampling.top_p);
    KeepMinP(sampling.min_p);
    KeepTypicalP(sampling.typical_p);
  }
  SumWeights();
  return candidates_;
}

void Sampler::KeepMinP(float min_p) {
  if (min_p <= 0) return;
  // The best candidate has logit 0, whatever the sum is.
  const float least = std::log(min_p);
  std::erase_if(candidates_, [&](const Candidate& c) { return c.logit < least; });
}

void Sampler::KeepTopK(int k) {
  if (k <= 0 || static_cast<size_t>(k) >= candidates_.size()) return;
  values_.clear();
  for (const Candidate& candidate : candidates_) values_.push_back(candidate.logit);
  std::nth_element(values_.begin(), values_.begin() + (k - 1), values_.end(), std::greater<>());
  const float kth = values_[k - 1];
  std::erase_if(candidates_, [&](const Candidate& c) { return c.logit < kth; });
}

// From the smallest up all go whose sum with the smaller ones is at most 1 − p. Seen from the top:
// those go that find p already reached by the greater ones.
void Sampler::KeepTopP(double p) {
  if (p >= 1 || candidates_.size() < 2) return;
  const double enough = p * SumWeights();
  const auto worse = [](const Candidate& a, const Candidate& b) { return ComesBefore(b, a); };
  std::make_heap(candidates_.begin(), candidates_.end(), worse);
  auto rest = candidates_.end();
  double sum = 0;
  do {
    std::pop_heap(candidates_.begin(), rest, worse);
    --rest;
    sum += rest->weight;
  } while (rest != candidates_.begin() && sum < enough);
  candidates_.erase(candidates_.begin(), rest);
}

// Locally typical sampling: those whose surprise is nearest to the expected one, up to a sum of p.
void Sampler::KeepTypicalP(double p) {
  if (p >= 1 || candidates_.size() < 2) return;
  const double sum = SumWeights();
  double entropy = 0;
  for (const Candidate& c : candidates_) {
    const double probability = c.weight / sum;
    if (probability > 0) entropy -= probability * std::log(probability);
  }
  const double log_sum = std::log(sum);
  const auto distance = [&](const Candidate& c) {
    return std::abs(log_sum - static_cast<double>(c.logit) - entropy);
  };
  std::sort(candidates_.begin(), candidates_.end(), [&](const Candidate& a, const Candidate& b) {
    return distance(a) != distance(b) ? distance(a) < distance(b) : a.token < b.token;
  });
  double reached = 0;
  size_t count = 0;
  while (count < candidates_.size() && reached < p * sum) reached += candidates_[count++].weight;
  const double last = distance(candidates_[count - 1]);
  while (count < candidates_.size() && distance(candidates_[count]) <= last) ++count;
  candidates_.resize(count);
}

double Sampler::SumWeights() {
  double sum = 0;
  for (Candidate& candidate : candidates_) {
    candidate.weight = std::exp(candidate.logit);
    sum += candidate.weight;
  }
  return sum;
}

int32_t Sampler::Choose(const Sampling& sampling, size_t position, int choice) const {
  int32_t chosen = -1;
  double least = std::numeric_limits<double>::infinity();
  uint32_t group = std::numeric_limits<uint32_t>::max();
  std::array<uint32_t, 4> random{};
  for (const Candidate& candidate : candidates_) {
    if (candidate.weight == 0) continue;
    const auto token = static_cast<uint32_t>(candidate.token);
    if (token / 4 != group) {  // One call serves four neighbours.
      group = token / 4;
      random = Philox({group, static_cast<uint32_t>(position), static_cast<uint32_t>(choice), 0},
                      sampling.seed);
    }
    const double u = (random[token % 4] + 0.5) * 0x1p-32;
    const double bound = least * candidate.weight;
    if (1 - u >= bound) continue;  // −log(u) is at least 1 − u: most need no logarithm.
    const double score = -std::log(u);
    if (score < bound || (score == bound && candidate.token < chosen)) {
      least = score / candidate.weight;
      chosen = candidate.token;
    }
  }
  return chosen;
}

void Sampler::AddLogprobs(std::span<const float> logits, int count, SampledToken& sampled) {
  float best = kMasked;
  for (const float logit : logits) best = std::max(best, logit);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - best);
  const double log_sum = best + std::log(sum);
  const auto logprob = [&](int32_t token) {
    return static_cast<float>(static_cast<double>(logits[token]) - log_sum);
  };
  sampled.logprob = logprob(sampled.token);
  if (count == 0) return;
  order_.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    order_.push_back({.token = static_cast<int32_t>(i), .logprob = logits[i]});
  }
  const auto kept = order_.begin() + std::min<ptrdiff_t>(count, std::ssize(order_));
  std::partial_sort(order_.begin(), kept, order_.end(),
                    [](const TokenLogprob& a, const TokenLogprob& b) {
                      return a.logprob != b.logprob ? a.logprob > b.logprob : a.token < b.token;
                    });
  for (auto entry = order_.begin(); entry != kept; ++entry) {
    sampled.top.push_back({.token = entry->token, .logprob = logprob(entry->token)});
  }
}

}  // namespace model_server
