// Measures OpenAI servers over HTTP, in alternating runs, and prints ratios.

#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"

#include "bench/serving/stream.h"
#include "common/base/flags.h"

namespace bench {
namespace {

struct Target {
  std::string name;
  std::string url;
};

// Words that most tokenizers keep whole, drawn at random so that no prefix cache helps.
std::string Prompt(int words, std::mt19937& random) {
  static constexpr const char* kWords[] = {
      "river",  "stone",  "light", "garden", "window", "paper",  "morning", "music",
      "winter", "bridge", "story", "green",  "market", "letter", "doctor",  "island"};
  std::string prompt = "The";
  for (int i = 1; i < words; ++i) prompt += absl::StrFormat(" %s", kWords[random() % 16]);
  return prompt;
}

struct Outcome {
  std::vector<StreamResult> streams;
  std::string error;
  double seconds = 0;
};

// `count` streams at once, each with a prompt of its own.
Outcome RunTogether(const Target& target, int count, int prompt_tokens, int max_tokens,
                    std::mt19937& random) {
  Outcome outcome;
  absl::Mutex mutex;
  std::vector<std::string> prompts;
  for (int i = 0; i < count; ++i) prompts.push_back(Prompt(prompt_tokens, random));
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < count; ++i) {
      threads.emplace_back([&, i] {
        const absl::StatusOr<StreamResult> result =
            RunStream({.url = target.url, .prompt = prompts[i], .max_tokens = max_tokens});
        absl::MutexLock lock(&mutex);
        if (result.ok()) {
          outcome.streams.push_back(*result);
        } else {
          outcome.error = std::string(result.status().message());
        }
      });
    }
  }
  return outcome;
}

double Percentile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t index = std::min(values.size() - 1, static_cast<size_t>(share * values.size()));
  return values[index];
}

// Tokens per second of one stream after its first token.
double DecodeRate(const StreamResult& stream) {
  const double seconds = absl::ToDoubleSeconds(stream.arrivals.back() - stream.first_token);
  return seconds > 0 ? (stream.completion_tokens - 1) / seconds : 0;
}

// Tokens of all streams over the time in which all of them decode: from the last first token to the
// first end.
double TogetherRate(const std::vector<StreamResult>& streams) {
  absl::Duration from = absl::ZeroDuration();
  absl::Duration to = absl::InfiniteDuration();
  for (const StreamResult& stream : streams) {
    from = std::max(from, stream.first_token);
    to = std::min(to, stream.arrivals.back());
  }
  double tokens = 0;
  for (const StreamResult& stream : streams) {
    const double pieces = static_cast<double>(
        std::count_if(stream.arrivals.begin(), stream.arrivals.end(),
                      [&](absl::Duration at) { return at > from && at <= to; }));
    tokens += pieces * stream.completion_tokens / static_cast<double>(stream.arrivals.size());
  }
  return to > from ? tokens / absl::ToDoubleSeconds(to - from) : 0;
}

struct Scenario {
  std::string name;
  std::string unit;
  bool higher_is_better = true;
  std::function<double(const Target&, std::mt19937&, std::string& error)> measure;
};

std::vector<Scenario> Scenarios() {
  std::vector<Scenario> scenarios;
  auto add = [&](std::string name, std::string unit, bool higher, int count, int prompt, int tokens,
                 std::function<double(const std::vector<StreamResult>&)> value) {
    scenarios.push_back(
        {name, unit, higher, [=](const Target& target, std::mt19937& random, std::string& error) {
           const Outcome outcome = RunTogether(target, count, prompt, tokens, random);
           error = outcome.error;
           return outcome.error.empty() ? value(outcome.streams) : 0;
         }});
  };
  auto decode = [](const std::vector<StreamResult>& streams) { return DecodeRate(streams[0]); };
  auto prefill = [](const std::vector<StreamResult>& streams) {
    return streams[0].prompt_tokens / absl::ToDoubleSeconds(streams[0].first_token);
  };
  add("decode, depth 0", "tok/s", true, 1, 4, 128, decode);
  add("decode, depth 1024", "tok/s", true, 1, 1024, 64, decode);
  for (const int tokens : {128, 512, 2048}) {
    add(absl::StrFormat("prefill %d", tokens), "tok/s", true, 1, tokens, 1, prefill);
  }
  for (const int count : {4, 8, 16, 32}) {
    add(absl::StrFormat("%d streams decoding", count), "tok/s", true, count, 16, 64, TogetherRate);
  }
  auto first = [](double share) {
    return [share](const std::vector<StreamResult>& streams) {
      std::vector<double> values;
      for (const StreamResult& stream : streams) {
        values.push_back(absl::ToDoubleMilliseconds(stream.first_token));
      }
      return Percentile(values, share);
    };
  };
  add("8 × (128 in, 64 out): first token p50", "ms", false, 8, 128, 64, first(0.5));
  add("8 × (128 in, 64 out): first token p99", "ms", false, 8, 128, 64, first(0.99));
  add("8 × (128 in, 64 out): gap p99", "ms", false, 8, 128, 64,
      [](const std::vector<StreamResult>& streams) {
        std::vector<double> gaps;
        for (const StreamResult& stream : streams) {
          for (size_t i = 1; i < stream.arrivals.size(); ++i) {
            gaps.push_back(absl::ToDoubleMilliseconds(stream.arrivals[i] - stream.arrivals[i - 1]));
          }
        }
        return Percentile(gaps, 0.99);
      });
  return scenarios;
}

// Best of the rounds for each target, in turns.
int Compare(const std::vector<Target>& targets, int rounds, const std::string& only) {
  std::mt19937 random(std::random_device{}());
  std::printf("%-42s %6s", "", "");
  for (const Target& target : targets) std::printf(" %12s", target.name.c_str());
  for (size_t i = 1; i < targets.size(); ++i) {
    std::printf(" %16s", absl::StrFormat("%s/%s", targets[0].name, targets[i].name).c_str());
  }
  std::printf("\n");
  int failed = 0;
  for (const Scenario& scenario : Scenarios()) {
    if (scenario.name.find(only) == std::string::npos) continue;
    std::vector<double> best(targets.size(), 0);
    std::string error;
    for (int round = 0; round < rounds; ++round) {
      for (size_t i = 0; i < targets.size(); ++i) {
        const double value = scenario.measure(targets[i], random, error);
        if (!error.empty()) {
          std::fprintf(stderr, "%s, %s: %s\n", scenario.name.c_str(), targets[i].name.c_str(),
                       error.c_str());
          ++failed;
          break;
        }
        const bool better = scenario.higher_is_better ? value > best[i] : value < best[i];
        if (best[i] == 0 || better) best[i] = value;
      }
    }
    std::printf("%-42s %6s", scenario.name.c_str(), scenario.unit.c_str());
    for (const double value : best) std::printf(" %12.1f", value);
    for (size_t i = 1; i < targets.size(); ++i) {
      std::printf(" %15.2fx", best[i] > 0 ? best[0] / best[i] : 0);
    }
    std::printf("\n");
    std::fflush(stdout);
  }
  return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  std::vector<std::string> targets;
  int rounds = 3;
  std::string only;
  base::FlagSet flags("bench_serving",
                      "Measures OpenAI servers over HTTP in alternating runs; best of the rounds.");
  flags.Add("target", &targets, "name=URL of a server; the first is compared with the others");
  flags.Add("rounds", &rounds, "runs of each measurement for each server");
  flags.Add("only", &only, "only measurements whose name has this text");
  flags.AddExample(
      "bench_serving --target ours=http://127.0.0.1:5000 --target "
      "peer=http://127.0.0.1:8080");
  flags.ParseOrExit(argc, argv, KAITO_VERSION);
  std::vector<bench::Target> parsed;
  for (const std::string& target : targets) {
    const size_t equals = target.find('=');
    if (equals == std::string::npos) {
      std::fprintf(stderr, "bench_serving: --target %s: expected name=URL\n", target.c_str());
      return 2;
    }
    parsed.push_back({target.substr(0, equals), target.substr(equals + 1)});
  }
  if (parsed.empty()) {
    std::fprintf(stderr, "bench_serving: give at least one --target name=URL\n");
    return 2;
  }
  return bench::Compare(parsed, rounds, only);
}
