#include "model-server/engine/engine_metrics.h"

namespace model_server {
namespace {

const std::vector<double> kFirstTokenBuckets = {.001, .005, .01, .02, .04, .06, .08, .1,
                                                .25,  .5,   .75, 1,   2.5, 5,   7.5, 10,
                                                20,   40,   80,  160, 640, 2560};
const std::vector<double> kNextTokenBuckets = {.01, .025, .05, .075, .1,  .15, .2, .3, .4, .5,
                                               .75, 1,    2.5, 5,    7.5, 10,  20, 40, 80};
const std::vector<double> kRequestBuckets = {.3, .5, .8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
                                             30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680};
const std::vector<double> kStepTokenBuckets = {1,   8,    16,   32,   64,   128,  256,
                                               512, 1024, 2048, 4096, 8192, 16384};
const std::vector<double> kCountBuckets = {1,   2,    5,    10,   20,    50,    100,   200,
                                           500, 1000, 2000, 5000, 10000, 20000, 50000, 100000};
const std::vector<double> kStepBuckets = {.00001, .0001, .001, .0025, .005, .01, .025,
                                          .05,    .1,    .25,  .5,    1,    2.5, 10};

std::string Own(const std::string& name) { return "model_server_" + name; }

}  // namespace

EngineMetrics::EngineMetrics(metrics::Registry& registry, const std::string& model_name,
                             bool vllm_names)
    : registry_(registry),
      labels_{{"model_name", model_name}, {"engine", "0"}},
      vllm_names_(vllm_names) {
  running_ = MakeGauge({"requests_running", "num_requests_running", "Requests that compute."});
  waiting_ = MakeGauge({"requests_waiting", "num_requests_waiting", "Requests in the queue."});
  paused_ = MakeGauge({"sequences_paused", "", "Sequences whose reader is behind."});
  cache_usage_ = MakeGauge(
      {"kv_cache_usage_ratio", "kv_cache_usage_perc", "Part of the KV cache in use, 0 to 1."});
  if (vllm_names_) {
    cache_usage_.push_back(&registry_.GetGauge("vllm:gpu_cache_usage_perc",
                                               "Part of the KV cache in use, 0 to 1.", labels_));
  }
  blocks_available_ = MakeGauge({"kv_cache_blocks_free", "", "KV cache blocks nobody uses."});
  blocks_total_ = MakeGauge({"kv_cache_blocks_total", "", "KV cache blocks."});
  prompt_tokens_ =
      MakeCounter({"prompt_tokens_total", "prompt_tokens_total", "Prompt tokens computed."});
  generated_tokens_ =
      MakeCounter({"generated_tokens_total", "generation_tokens_total", "Tokens generated."});
  cached_tokens_ = MakeCounter({"prompt_tokens_cached_total", "prompt_tokens_cached_total",
                                "Prompt tokens found in the cache."});
  preemptions_ = MakeCounter({"preemptions_total", "num_preemptions_total",
                              "Sequences that lost their blocks to others."});
  prefix_queries_ = MakeCounter({"prefix_queries_total", "prefix_cache_queries_total",
                                 "Tokens looked up in the prefix cache."});
  prefix_hits_ = MakeCounter(
      {"prefix_hits_total", "prefix_cache_hits_total", "Tokens found in the prefix cache."});
  corrupted_ = MakeCounter({"corrupted_requests_total", "corrupted_requests_total",
                            "Requests ended because the logits were no numbers."});
  first_token_ = MakeHistogram({"time_to_first_token_seconds", "time_to_first_token_seconds",
                                "From arrival to the first token."},
                               kFirstTokenBuckets);
  next_token_ = MakeHistogram({"inter_token_latency_seconds", "inter_token_latency_seconds",
                               "Between two tokens of one answer."},
                              kNextTokenBuckets);
  if (vllm_names_) {
    next_token_.push_back(&registry_.GetHistogram("vllm:time_per_output_token_seconds",
                                                  "Between two tokens of one answer.",
                                                  kNextTokenBuckets, labels_));
  }
  token_mean_ =
      MakeHistogram({"request_token_mean_seconds", "request_time_per_output_token_seconds",
                     "Mean time between tokens, by request."},
                    kNextTokenBuckets);
  request_seconds_ = MakeHistogram(
      {"request_seconds", "e2e_request_latency_seconds", "From arrival to the last token."},
      kRequestBuckets);
  queue_seconds_ = MakeHistogram(
      {"request_queue_seconds", "request_queue_time_seconds", "In the queue."}, kRequestBuckets);
  prefill_seconds_ = MakeHistogram({"request_prefill_seconds", "request_prefill_time_seconds",
                                    "From admission to the first token."},
                                   kRequestBuckets);
  decode_seconds_ = MakeHistogram({"request_decode_seconds", "request_decode_time_seconds",
                                   "From the first token to the last."},
                                  kRequestBuckets);
  inference_seconds_ = MakeHistogram({"request_inference_seconds", "request_inference_time_seconds",
                                      "From admission to the last token."},
                                     kRequestBuckets);
  request_prompt_tokens_ =
      MakeHistogram({"request_prompt_tokens", "request_prompt_tokens", "Prompt tokens by request."},
                    kCountBuckets);
  request_generated_tokens_ = MakeHistogram(
      {"request_generated_tokens", "request_generation_tokens", "Generated tokens by request."},
      kCountBuckets);
  step_tokens_ = MakeHistogram({"step_tokens", "iteration_tokens_total", "Tokens by step."},
                               kStepTokenBuckets);
  params_n_ = MakeHistogram({"request_n", "request_params_n", "Answers asked for."}, kCountBuckets);
  params_max_tokens_ = MakeHistogram(
      {"request_max_tokens", "request_params_max_tokens", "New tokens asked for."}, kCountBuckets);
  const auto step_part = [&](const std::string& part) {
    return MakeHistogram({"step_seconds", "", "Parts of a step."}, kStepBuckets, {{"part", part}});
  };
  step_schedule_ = step_part("schedule");
  step_device_ = step_part("device");
  step_sample_ = step_part("sample");
  // Families that dashboards divide by must exist before the first request.
  for (const char* reason : {"stop", "length", "abort", "error"}) {
    MakeCounter({"requests_finished_total", "request_success_total", "Requests that ended."},
                {{"reason", reason}});
  }
}

EngineMetrics::Counters EngineMetrics::MakeCounter(const Family& family,
                                                   const metrics::Labels& labels) {
  metrics::Labels all = labels_;
  all.insert(labels.begin(), labels.end());
  Counters counters = {&registry_.GetCounter(Own(family.name), family.help, all)};
  if (vllm_names_ && !family.alias.empty()) {
    if (const auto reason = all.extract("reason")) all["finished_reason"] = reason.mapped();
    counters.push_back(&registry_.GetCounter("vllm:" + family.alias, family.help, all));
  }
  return counters;
}

EngineMetrics::Gauges EngineMetrics::MakeGauge(const Family& family) {
  Gauges gauges = {&registry_.GetGauge(Own(family.name), family.help, labels_)};
  if (vllm_names_ && !family.alias.empty()) {
    gauges.push_back(&registry_.GetGauge("vllm:" + family.alias, family.help, labels_));
  }
  return gauges;
}

EngineMetrics::Histograms EngineMetrics::MakeHistogram(const Family& family,
                                                       const std::vector<double>& buckets,
                                                       const metrics::Labels& labels) {
  metrics::Labels all = labels_;
  all.insert(labels.begin(), labels.end());
  Histograms histograms = {&registry_.GetHistogram(Own(family.name), family.help, buckets, all)};
  if (vllm_names_ && !family.alias.empty()) {
    histograms.push_back(
        &registry_.GetHistogram("vllm:" + family.alias, family.help, buckets, all));
  }
  return histograms;
}

void EngineMetrics::Add(const Counters& counters, double by) {
  for (metrics::Counter* counter : counters) counter->Add(by);
}

void EngineMetrics::Set(const Gauges& gauges, double value) {
  for (metrics::Gauge* gauge : gauges) gauge->Set(value);
}

void EngineMetrics::Observe(const Histograms& histograms, double value) {
  for (metrics::Histogram* histogram : histograms) histogram->Observe(value);
}

void EngineMetrics::Observe(const Histograms& histograms, absl::Duration value) {
  Observe(histograms, absl::ToDoubleSeconds(value));
}

void EngineMetrics::RequestFinished(const std::string& reason, const RequestTimes& times,
                                    int prompt_tokens, int generated_tokens) {
  Add(MakeCounter({"requests_finished_total", "request_success_total", "Requests that ended."},
                  {{"reason", reason}}),
      1);
  Observe(request_seconds_, times.finished - times.arrived);
  Observe(request_prompt_tokens_, prompt_tokens);
  Observe(request_generated_tokens_, generated_tokens);
  if (generated_tokens == 0) return;
  Observe(queue_seconds_, times.admitted - times.arrived);
  Observe(prefill_seconds_, times.first_token - times.admitted);
  Observe(decode_seconds_, times.finished - times.first_token);
  Observe(inference_seconds_, times.finished - times.admitted);
  if (generated_tokens > 1) {
    Observe(token_mean_, (times.finished - times.first_token) / (generated_tokens - 1));
  }
}

void EngineMetrics::RequestAccepted(int n, int max_tokens) {
  Observe(params_n_, n);
  Observe(params_max_tokens_, max_tokens);
}

void EngineMetrics::RequestRejected(const std::string& reason) {
  Add(MakeCounter({"rejected_total", "", "Requests refused."}, {{"reason", reason}}), 1);
}

void EngineMetrics::PrefixLooked(int tokens, int tokens_found) {
  Add(prefix_queries_, tokens);
  Add(prefix_hits_, tokens_found);
  Add(cached_tokens_, tokens_found);
}

void EngineMetrics::Preempted(int tokens_wasted) {
  Add(preemptions_, 1);
  TokensWasted("preempt", tokens_wasted);
}

void EngineMetrics::TokensWasted(const std::string& reason, int tokens) {
  Add(MakeCounter({"tokens_wasted_total", "", "Tokens computed for nothing."},
                  {{"reason", reason}}),
      tokens);
}

void EngineMetrics::StepDone(const Step& step) {
  Add(prompt_tokens_, step.prompt_tokens);
  Add(generated_tokens_, step.generated_tokens);
  Observe(step_tokens_, step.prompt_tokens + step.generated_tokens);
  Observe(step_schedule_, step.schedule);
  Observe(step_device_, step.device);
  Observe(step_sample_, step.sample);
}

void EngineMetrics::SetLoad(const Load& load) {
  Set(running_, load.requests_running);
  Set(waiting_, load.requests_waiting);
  Set(paused_, load.sequences_paused);
  Set(blocks_available_, load.blocks_available);
  Set(blocks_total_, load.blocks_total);
  const int used = load.blocks_total - load.blocks_available;
  Set(cache_usage_, load.blocks_total == 0 ? 0.0 : static_cast<double>(used) / load.blocks_total);
}

}  // namespace model_server
