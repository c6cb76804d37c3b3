// What the engine counts, under our names and under those of vLLM that dashboards know.

#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"

#include "common/metrics/metrics.h"

namespace model_server {

// When the stations of a request were passed; monotonic.
struct RequestTimes {
  absl::Duration arrived;
  absl::Duration admitted;
  absl::Duration first_token;
  absl::Duration finished;
};

// Thread-safe, as the metrics themselves are.
class EngineMetrics {
 public:
  // `registry` must outlive it. With `vllm_names` each family also appears as `vllm:…`.
  EngineMetrics(metrics::Registry& registry, const std::string& model_name, bool vllm_names);

  // `reason`: stop, length, abort or error.
  void RequestFinished(const std::string& reason, const RequestTimes& times, int prompt_tokens,
                       int generated_tokens);
  void RequestAccepted(int n, int max_tokens);
  void RequestRejected(const std::string& reason);
  void PrefixLooked(int tokens, int tokens_found);
  void FirstToken(absl::Duration since_arrival) { Observe(first_token_, since_arrival); }
  void NextToken(absl::Duration since_last) { Observe(next_token_, since_last); }
  void Preempted(int tokens_wasted);
  void TokensWasted(const std::string& reason, int tokens);
  void Corrupted() { Add(corrupted_, 1); }

  struct Step {
    int prompt_tokens = 0;
    int generated_tokens = 0;
    absl::Duration schedule;
    absl::Duration device;
    absl::Duration sample;
  };
  void StepDone(const Step& step);

  struct Load {
    int requests_running = 0;
    int requests_waiting = 0;
    int sequences_paused = 0;
    int blocks_available = 0;
    int blocks_total = 0;
    int block_tokens = 0;
  };
  void SetLoad(const Load& load);

 private:
  // One metric, or two of the same meaning.
  using Counters = std::vector<metrics::Counter*>;
  using Gauges = std::vector<metrics::Gauge*>;
  using Histograms = std::vector<metrics::Histogram*>;
  // Our name, vLLM's name (empty: none), help.
  struct Family {
    std::string name;
    std::string alias;
    std::string help;
  };
  Counters MakeCounter(const Family& family, const metrics::Labels& labels = {});
  Gauges MakeGauge(const Family& family);
  Histograms MakeHistogram(const Family& family, const std::vector<double>& buckets,
                           const metrics::Labels& labels = {});
  static void Add(const Counters& counters, double by);
  static void Set(const Gauges& gauges, double value);
  static void Observe(const Histograms& histograms, double value);
  static void Observe(const Histograms& histograms, absl::Duration value);

  metrics::Registry& registry_;
  const metrics::Labels labels_;
  const bool vllm_names_;
  Gauges running_, waiting_, paused_, cache_usage_, blocks_available_, blocks_total_;
  Counters prompt_tokens_, generated_tokens_, cached_tokens_, preemptions_, prefix_queries_,
      prefix_hits_, corrupted_;
  Histograms first_token_, next_token_, token_mean_, request_seconds_, queue_seconds_,
      prefill_seconds_, decode_seconds_, inference_seconds_, request_prompt_tokens_,
      request_generated_tokens_, step_tokens_, params_n_, params_max_tokens_;
  Histograms step_schedule_, step_device_, step_sample_;
};

}  // namespace model_server
