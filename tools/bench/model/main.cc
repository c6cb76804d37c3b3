// How fast a model runs on this machine, beside what the machine could give.

#include <algorithm>
#include <cstdio>
#include <functional>
#include <numeric>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

#include "bench/model/machine.h"
#include "common/base/flags.h"
#include "common/base/status_macros.h"
#include "common/llm/gguf.h"
#include "common/llm/model_config.h"
#include "model-server/model/load.h"

namespace bench {
namespace {

using model_server::Model;
using model_server::StepSequence;

struct Options {
  std::string model;
  std::string isa;
  int threads = 0;
  int repeats = 5;
  std::vector<std::string> only;
};

// Sequences that grow in a model, each in blocks of its own.
class Sequences {
 public:
  Sequences(Model& model, int count, int tokens_max)
      : model_(model), logits_(static_cast<size_t>(count) * model.facts().vocabulary) {
    const int block_tokens = model.facts().kv_block_tokens;
    const int blocks = (tokens_max + block_tokens - 1) / block_tokens;
    for (int i = 0; i < count; ++i) {
      tables_.emplace_back(blocks);
      std::iota(tables_.back().begin(), tables_.back().end(), i * blocks);
    }
  }

  // All sequences get `count` tokens more.
  void Feed(int position, int count, bool logits) {
    std::vector<int32_t> tokens(count);
    for (int i = 0; i < count; ++i) tokens[i] = 100 + (position + i) * 37 % 40000;
    std::vector<StepSequence> step;
    for (const std::vector<int32_t>& table : tables_) {
      step.push_back({.tokens = tokens,
                      .first_position = position,
                      .block_table = table,
                      .wants_logits = logits});
    }
    model_.Step(step, logits_);
  }

 private:
  Model& model_;
  std::vector<float> logits_;
  std::vector<std::vector<int32_t>> tables_;
};

// The best of several short runs: neighbours only ever make it slower.
double BestSeconds(int repeats, const std::function<void()>& run) {
  double best = 1e30;
  for (int i = 0; i < repeats; ++i) {
    const absl::Time start = absl::Now();
    run();
    best = std::min(best, absl::ToDoubleSeconds(absl::Now() - start));
  }
  return best;
}

void PrintDecode(Model& model, const Options& options, const Machine& machine, int batch,
                 int depth) {
  constexpr int kSteps = 8;
  // The keys before are those of earlier runs, or zero: that takes as long as any others.
  Sequences sequences(model, batch, depth + kSteps);
  const double seconds = BestSeconds(options.repeats, [&] {
    for (int i = 0; i < kSteps; ++i) sequences.Feed(depth + i, 1, true);
  });
  const double step = seconds / kSteps;
  const double bytes =
      static_cast<double>(model.facts().weight_bytes) +
      static_cast<double>(model.facts().kv_bytes_per_token) * batch * (depth + kSteps / 2.0);
  absl::PrintF(
      "decode  batch %d  depth %4d  %8.1f tok/s  %6.2f ms/step  %5.1f GB/s (%.0f %% of read)\n",
      batch, depth, batch / step, step * 1e3, bytes / step / 1e9,
      100 * bytes / step / machine.read_bytes_per_second);
  std::fflush(stdout);
}

void PrintPrefill(Model& model, const Options& options, const Machine& machine, int hidden,
                  int tokens) {
  Sequences sequences(model, 1, tokens);
  const int chunk = model.facts().step_tokens_max;
  const double seconds = BestSeconds(options.repeats, [&] {
    for (int at = 0; at < tokens; at += chunk) {
      const int count = std::min(chunk, tokens - at);
      sequences.Feed(at, count, at + count == tokens);
    }
  });
  // Two operations per weight of the layers; the head runs once.
  const double layers = static_cast<double>(model.facts().parameters) -
                        static_cast<double>(model.facts().vocabulary) * hidden;
  const double operations = 2 * layers * tokens;
  absl::PrintF("prefill %4d            %8.1f tok/s  %6.1f ms        %5.0f GOPS (%.0f %% of int8)\n",
               tokens, tokens / seconds, seconds * 1e3, operations / seconds / 1e9,
               100 * operations / seconds / machine.int8_operations_per_second);
  std::fflush(stdout);
}

absl::Status Run(const Options& options) {
  const absl::Time start = absl::Now();
  ASSIGN_OR_RETURN(
      const std::unique_ptr<Model> model,
      model_server::LoadModel(options.model, {.isa = options.isa, .threads = options.threads}));
  RETURN_IF_ERROR(model->AllocateCache(2048));
  ASSIGN_OR_RETURN(const std::string path, model_server::FindModelFile(options.model));
  ASSIGN_OR_RETURN(const auto file, llm::GgufFile::Open(path));
  ASSIGN_OR_RETURN(const llm::ModelConfig config, llm::ReadModelConfig(*file));
  absl::PrintF("loaded in %.0f ms: %s %s, %s, %s\n",
               absl::ToDoubleMilliseconds(absl::Now() - start), model->facts().architecture,
               model->facts().quantization, model->facts().device, model->facts().isa);
  const Machine machine = MeasureMachine(options.threads, options.repeats);
  absl::PrintF("machine: %d threads, read %.1f GB/s, int8 %.0f GOPS\n", machine.threads,
               machine.read_bytes_per_second / 1e9, machine.int8_operations_per_second / 1e9);
  const auto wanted = [&](std::string_view what, int number) {
    const std::string name = absl::StrFormat("%s-%d", what, number);
    return options.only.empty() || std::ranges::find(options.only, name) != options.only.end();
  };
  for (const int depth : {0, 1024}) {
    for (const int batch : {1, 4, 8}) {
      if (wanted("decode", batch)) PrintDecode(*model, options, machine, batch, depth);
    }
  }
  for (const int tokens : {128, 512, 2048}) {
    if (wanted("prefill", tokens)) PrintPrefill(*model, options, machine, config.hidden, tokens);
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  bench::Options options;
  base::FlagSet flags("bench_model", "Measures decoding and prefill of a model on this machine.");
  flags.Add("model", &options.model, "A .gguf file, or a folder that holds one.");
  flags.Add("isa", &options.isa, "auto, plain, avx2 or avx512-vnni.");
  flags.Add("threads", &options.threads, "0: the cores that the cgroup's quota gives.");
  flags.Add("repeats", &options.repeats, "Runs of each measurement; the best counts.");
  flags.Add("only", &options.only,
            "Some of decode-1, decode-4, decode-8, prefill-128, -512, -2048.");
  flags.AddExample("bench_model --model ~/.cache/kaito/models/smollm2-135m-instruct");
  flags.ParseOrExit(argc, argv, KAITO_VERSION);
  const absl::Status status = bench::Run(options);
  if (status.ok()) return 0;
  absl::FPrintF(stderr, "bench_model: %s\n", std::string(status.message()));
  return 1;
}
