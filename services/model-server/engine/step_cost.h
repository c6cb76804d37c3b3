// How long a step will take, learned from the steps before.

#pragma once

#include "absl/time/time.h"

namespace model_server {

// seconds = a step that only decodes + seconds per prompt token × prompt tokens; both are running
// means. Owned by the engine thread.
class StepCost {
 public:
  void Learn(int prefill_tokens, int decode_rows, absl::Duration took);

  // How many prompt tokens fit beside decoding rows into a step of `target`, at least `tile`.
  int PrefillTokensWithin(absl::Duration target, int tile) const;

  // 0 while nothing has been learned.
  absl::Duration Predict(int prefill_tokens, int decode_rows) const;

 private:
  double decode_seconds_ = 0;
  double prefill_seconds_per_token_ = 0;
};

}  // namespace model_server
