// Logits → one token.

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"

#include "model-server/engine/logit_processors.h"
#include "model-server/engine/sampling.h"

namespace model_server {

struct SampledToken {
  int32_t token = 0;
  float logprob = 0;              // Of the model itself, before anything below; if asked for.
  std::vector<TokenLogprob> top;  // The most likely ones, best first; if asked for.
};

// A token that the filters left, with a weight proportional to its probability.
struct Candidate {
  int32_t token = 0;
  float logit = 0;  // After temperature.
  double weight = 0;
};

// In this order: bias, penalties and masks (LogitProcessors), temperature, filters, choice. The
// choice takes the candidate with the least −log(u)/weight, u a random number that depends on
// nothing but seed, answer, position and token.
//
// Owned by one thread.
class Sampler {
 public:
  // See LogitProcessors.
  Sampler(int vocabulary, int tokens_used, std::vector<int32_t> end_tokens);

  // `choice`: which of the request's n answers. kDataLoss when the logits are no numbers.
  absl::StatusOr<SampledToken> Sample(std::span<const float> logits, const Sampling& sampling,
                                      const TokenHistory& history, int choice);

  // What Sample() chooses from when the temperature is not zero; valid until the next call.
  std::span<const Candidate> Candidates(std::span<const float> logits, const Sampling& sampling,
                                        const TokenHistory& history);

 private:
  std::span<const float> Process(std::span<const float> logits, const Sampling& sampling,
                                 const TokenHistory& history);
  void AddLogprobs(std::span<const float> logits, int count, SampledToken& sampled);
  void KeepTopK(int k);
  void KeepTopP(double p);
  void KeepMinP(float min_p);
  void KeepTypicalP(double p);
  double SumWeights();
  int32_t Choose(const Sampling& sampling, size_t position, int choice) const;

  LogitProcessors processors_;
  std::vector<float> processed_;
  std::vector<Candidate> candidates_;
  std::vector<float> values_;
  std::vector<TokenLogprob> order_;
};

}  // namespace model_server
