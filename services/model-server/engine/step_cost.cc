#include "model-server/engine/step_cost.h"

#include <algorithm>

namespace model_server {
namespace {

constexpr double kWeight = 0.2;  // Of the newest step.

void Mix(double& mean, double value) { mean = mean == 0 ? value : mean + kWeight * (value - mean); }

}  // namespace

void StepCost::Learn(int prefill_tokens, int decode_rows, absl::Duration took) {
  const double seconds = absl::ToDoubleSeconds(took);
  if (prefill_tokens == 0) {
    if (decode_rows > 0) Mix(decode_seconds_, seconds);
    return;
  }
  const double rest = seconds - (decode_rows > 0 ? decode_seconds_ : 0);
  Mix(prefill_seconds_per_token_, std::max(rest, 0.0) / prefill_tokens);
}

int StepCost::PrefillTokensWithin(absl::Duration target, int tile) const {
  if (prefill_seconds_per_token_ <= 0) return tile;
  const double room = absl::ToDoubleSeconds(target) - decode_seconds_;
  const double tokens = std::clamp(room / prefill_seconds_per_token_, 0.0, 1e6);
  return std::max(tile, static_cast<int>(tokens) / tile * tile);
}

absl::Duration StepCost::Predict(int prefill_tokens, int decode_rows) const {
  return absl::Seconds(prefill_seconds_per_token_ * prefill_tokens +
                       (decode_rows > 0 ? decode_seconds_ : 0));
}

}  // namespace model_server
