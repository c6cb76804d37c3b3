#include "model-server/engine/engine_core.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_format.h"

#include "common/base/check.h"
#include "common/base/log.h"
#include "model-server/engine/request_error.h"
#include "model-server/engine/sequence.h"

namespace model_server {
namespace {

int BlocksFor(int tokens, int block_tokens) { return (tokens + block_tokens - 1) / block_tokens; }

const char* ReasonName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kError:
      return "error";
    default:
      return "abort";
  }
}

}  // namespace

EngineCore::EngineCore(Model& model, const EngineOptions& options, const base::Clock& clock,
                       EngineMetrics& metrics)
    : model_(model),
      options_(options),
      clock_(clock),
      metrics_(metrics),
      pool_(options.kv_blocks, model.facts().kv_block_tokens),
      sampler_(model.facts().vocabulary,
               options.tokens_used == 0 ? model.facts().vocabulary : options.tokens_used,
               options.end_tokens),
      logits_(static_cast<size_t>(options.sequences_max) * model.facts().vocabulary) {
  step_.reserve(options.sequences_max);
  ReportLoad();
}

EngineCore::~EngineCore() = default;

void EngineCore::Add(GenerationRequest request, std::shared_ptr<TokenStream> stream,
                     absl::Duration arrived) {
  auto added = std::make_unique<Request>();
  added->wanted = std::move(request);
  added->stream = std::move(stream);
  added->times.arrived = arrived;
  auto leader = std::make_unique<Sequence>();
  leader->request = added.get();
  leader->id = next_id_++;
  leader->arrival = next_arrival_++;
  leader->tokens = added->wanted.prompt;
  by_id_[leader->id] = leader.get();
  added->sequences.push_back(std::move(leader));
  metrics_.RequestAccepted(added->wanted.sampling.n, added->wanted.sampling.max_tokens);
  requests_.push_back(std::move(added));
}

bool EngineCore::Step() {
  const absl::Duration begin = clock_.Monotonic();
  EndUnwanted(begin);
  UpdatePauses(begin);
  const StepPlan plan = Plan(MakeState(begin), MakeBudget());
  Commit(plan, begin);
  if (plan.rows.empty()) {
    NotifyReaders();
    RemoveFinished();
    ReportLoad();
    return false;
  }

  EngineMetrics::Step step;
  int decode_rows = 0;
  for (const StepPlan::Row& row : plan.rows) {
    const Sequence& sequence = Find(row.id);
    const bool decodes = row.tokens == 1 && sequence.missing() == 1;
    decode_rows += decodes ? 1 : 0;
    step.prompt_tokens += decodes ? 0 : row.tokens;
  }
  predicted_step_ = cost_.Predict(step.prompt_tokens, decode_rows);
  const absl::Duration planned = clock_.Monotonic();
  RunModel(plan);
  const absl::Duration computed = clock_.Monotonic();
  cost_.Learn(step.prompt_tokens, decode_rows, computed - planned);
  step.generated_tokens = SampleRows(plan, computed);
  NotifyReaders();
  RemoveFinished();
  step.schedule = planned - begin;
  step.device = computed - planned;
  step.sample = clock_.Monotonic() - computed;
  metrics_.StepDone(step);
  ReportLoad();
  return true;
}

// Cancelled, aborted and late requests; choices whose reader has all it wants.
void EngineCore::EndUnwanted(absl::Duration now) {
  for (const auto& request : requests_) {
    if (request->stream->cancelled()) {
      EndRequest(*request, FinishReason::kAborted, {}, now);
    } else if (request->stream->aborted()) {
      EndRequest(*request, FinishReason::kAborted, {}, now);
    } else if (now >= request->wanted.deadline) {
      EndRequest(*request, FinishReason::kError,
                 absl::DeadlineExceededError("the request's deadline has passed"), now);
    } else {
      for (const auto& sequence : request->sequences) {
        if (!sequence->finished && request->stream->IsChoiceCancelled(sequence->choice)) {
          Finish(*sequence, FinishReason::kStop, {}, now);
        }
      }
    }
  }
  RemoveFinished();
}

void EngineCore::UpdatePauses(absl::Duration now) {
  for (const auto& request : requests_) {
    const int choices = request->branched ? request->alive() : request->wanted.sampling.n;
    if (request->stream->HasRoom(choices)) {
      request->paused_since = absl::InfiniteDuration();
    } else if (request->paused_since == absl::InfiniteDuration()) {
      request->paused_since = now;
    } else if (now - request->paused_since >= options_.pause_max) {
      base::LogWarning("request ended: its reader is too slow", {{"request", request->wanted.id}});
      EndRequest(*request, FinishReason::kError,
                 absl::CancelledError("the reader of the stream is too slow"), now);
    }
  }
}

SchedulerState EngineCore::MakeState(absl::Duration now) const {
  SchedulerState state{.blocks_available = pool_.available(),
                       .blocks_total = pool_.total(),
                       .block_tokens = pool_.block_tokens()};
  for (const auto& [id, sequence] : by_id_) {
    if (sequence->finished) continue;
    const Request& request = *sequence->request;
    const auto tokens = static_cast<int>(sequence->tokens.size());
    const int branches = request.branched ? 1 : request.wanted.sampling.n;
    if (sequence->running) {
      int freed = 0;
      for (const int block : sequence->blocks) freed += pool_.users(block) == 1 ? 1 : 0;
      state.running.push_back({.id = id,
                               .priority = static_cast<double>(request.wanted.priority),
                               .arrival = sequence->arrival,
                               .tokens = tokens,
                               .computed = sequence->computed,
                               .blocks = static_cast<int>(sequence->blocks.size()),
                               .blocks_freed = freed,
                               .sequences = branches,
                               .preemptions = sequence->preemptions,
                               .paused = request.paused_since != absl::InfiniteDuration()});
    } else if (request.paused_since == absl::InfiniteDuration()) {
      const absl::Duration waited = now - request.times.arrived;
      const int answer = request.wanted.sampling.max_tokens + request.prompt_tokens() - tokens;
      const int later = std::min(answer, options_.answer_blocks_tokens) * branches;
      state.waiting.push_back(
          {.id = id,
           .priority = request.wanted.priority -
                       std::floor(absl::FDivDuration(waited, options_.priority_step)),
           .arrival = sequence->arrival,
           .tokens = tokens,
           .cached = pool_.PeekPrefix(BlockPool::Root(request.wanted.cache_salt), sequence->tokens,
                                      tokens - 1),
           .blocks_needed = BlocksFor(tokens, pool_.block_tokens()),
           .blocks_later = BlocksFor(later, pool_.block_tokens()),
           .sequences = branches});
    }
  }
  return state;
}

StepBudget EngineCore::MakeBudget() const {
  return {.tokens_max = options_.step_tokens_max,
          .prefill_tokens_max = cost_.PrefillTokensWithin(options_.token_gap_target, options_.tile),
          .sequences_max = options_.sequences_max,
          .tile = options_.tile,
          .preemptions_max = options_.preemptions_max};
}

void EngineCore::Commit(const StepPlan& plan, absl::Duration now) {
  for (const int id : plan.preempt) Preempt(Find(id));
  for (const int id : plan.admit) Admit(Find(id), now);
  for (const StepPlan::Row& row : plan.rows) {
    Sequence& sequence = Find(row.id);
    if (sequence.computed < static_cast<int>(sequence.blocks.size()) * pool_.block_tokens()) {
      continue;
    }
    const std::optional<int> block = pool_.Allocate();
    CHECK(block.has_value());
    sequence.blocks.push_back(*block);
  }
}

void EngineCore::Preempt(Sequence& sequence) {
  metrics_.Preempted(sequence.computed);
  base::LogInfo("sequence preempted", {{"request", sequence.request->wanted.id},
                                       {"choice", sequence.choice},
                                       {"tokens", sequence.computed}});
  ReleaseBlocks(sequence);
  ++sequence.preemptions;
}

void EngineCore::Admit(Sequence& sequence, absl::Duration now) {
  Request& request = *sequence.request;
  const auto tokens = static_cast<int>(sequence.tokens.size());
  BlockPool::Match match =
      pool_.FindPrefix(BlockPool::Root(request.wanted.cache_salt), sequence.tokens, tokens - 1);
  sequence.blocks = std::move(match.blocks);
  sequence.node = match.node;
  sequence.published = static_cast<int>(sequence.blocks.size());
  sequence.computed = sequence.published * pool_.block_tokens();
  metrics_.PrefixLooked(tokens, sequence.computed);
  while (static_cast<int>(sequence.blocks.size()) < BlocksFor(tokens, pool_.block_tokens())) {
    const std::optional<int> block = pool_.Allocate();
    CHECK(block.has_value());
    sequence.blocks.push_back(*block);
  }
  sequence.running = true;
  if (request.admitted) return;
  request.admitted = true;
  request.times.admitted = now;
  request.stream->set_cached_prompt_tokens(sequence.computed);
}

void EngineCore::RunModel(const StepPlan& plan) {
  step_.clear();
  size_t rows = 0;
  for (const StepPlan::Row& row : plan.rows) {
    const Sequence& sequence = Find(row.id);
    const bool wants_logits = row.tokens == sequence.missing();
    rows += wants_logits ? 1 : 0;
    step_.push_back({.tokens = std::span(sequence.tokens).subspan(sequence.computed, row.tokens),
                     .first_position = sequence.computed,
                     .block_table = sequence.blocks,
                     .wants_logits = wants_logits});
  }
  model_.Step(step_, std::span(logits_).first(rows * model_.facts().vocabulary));
  for (const StepPlan::Row& row : plan.rows) {
    Sequence& sequence = Find(row.id);
    sequence.computed += row.tokens;
    PublishFullBlocks(sequence);
  }
}

void EngineCore::PublishFullBlocks(Sequence& sequence) {
  const int size = pool_.block_tokens();
  if (sequence.published == 0) sequence.node = BlockPool::Root(sequence.request->wanted.cache_salt);
  while ((sequence.published + 1) * size <= sequence.computed) {
    const auto tokens = std::span(sequence.tokens).subspan(sequence.published * size, size);
    sequence.node = pool_.Publish(sequence.node, tokens, sequence.blocks[sequence.published]);
    ++sequence.published;
  }
}

int EngineCore::SampleRows(const StepPlan& plan, absl::Duration now) {
  const size_t vocabulary = model_.facts().vocabulary;
  size_t at = 0;
  int sampled = 0;
  for (size_t i = 0; i < plan.rows.size(); ++i) {
    if (!step_[i].wants_logits) continue;
    Sequence& sequence = Find(plan.rows[i].id);
    const auto logits = std::span<const float>(logits_).subspan(at, vocabulary);
    at += vocabulary;
    Request& request = *sequence.request;
    if (!request.branched) {
      Branch(sequence);
      for (const auto& branch : request.sequences) sampled += SampleOne(*branch, logits, now);
    } else {
      sampled += SampleOne(sequence, logits, now);
    }
  }
  return sampled;
}

// The prompt is done: the other answers begin with its blocks. The last one, if it is not full, is
// copied, for each answer will write into its own. Without a free block an answer waits and
// computes the prompt again.
void EngineCore::Branch(Sequence& leader) {
  Request& request = *leader.request;
  request.branched = true;
  const int full = leader.computed / pool_.block_tokens();
  const bool has_tail = leader.computed % pool_.block_tokens() != 0;
  for (int choice = 1; choice < request.wanted.sampling.n; ++choice) {
    auto branch = std::make_unique<Sequence>(leader);
    branch->id = next_id_++;
    branch->choice = choice;
    branch->arrival = next_arrival_++;
    branch->blocks.resize(full);
    for (const int block : branch->blocks) pool_.Share(block);
    if (has_tail) {
      if (const std::optional<int> tail = pool_.Allocate()) {
        model_.CopyBlock(leader.blocks[full], *tail);
        branch->blocks.push_back(*tail);
      } else {
        ReleaseBlocks(*branch);
      }
    }
    by_id_[branch->id] = branch.get();
    request.sequences.push_back(std::move(branch));
  }
}

// True when it gave a token.
bool EngineCore::SampleOne(Sequence& sequence, std::span<const float> logits, absl::Duration now) {
  Request& request = *sequence.request;
  const auto tokens = std::span<const int32_t>(sequence.tokens);
  const auto prompt_tokens = static_cast<size_t>(request.prompt_tokens());
  absl::StatusOr<SampledToken> sampled = sampler_.Sample(
      logits, request.wanted.sampling,
      {.prompt = tokens.first(prompt_tokens), .output = tokens.subspan(prompt_tokens)},
      sequence.choice);
  if (!sampled.ok()) {
    if (sampled.status().code() == absl::StatusCode::kDataLoss) metrics_.Corrupted();
    Finish(sequence, FinishReason::kError,
           WithDetails(sampled.status(), {.code = "numerical_error"}), now);
    return false;
  }
  sequence.tokens.push_back(sampled->token);
  ++request.generated;
  if (!std::exchange(request.first_token_seen, true)) {
    request.times.first_token = now;
    metrics_.FirstToken(now - request.times.arrived);
  } else if (sequence.last_token != absl::ZeroDuration()) {
    metrics_.NextToken(now - sequence.last_token);
  }
  sequence.last_token = now;
  const FinishReason finish = FinishOf(sequence, sampled->token);
  request.stream->Push({.choice = sequence.choice,
                        .token = sampled->token,
                        .logprob = sampled->logprob,
                        .top = std::move(sampled->top),
                        .finish = finish});
  request.dirty = true;
  if (finish != FinishReason::kNone) {
    sequence.finished = true;
    request.last_reason = finish;
    ReleaseBlocks(sequence);
  }
  return true;
}

FinishReason EngineCore::FinishOf(const Sequence& sequence, int32_t token) const {
  const Sampling& sampling = sequence.request->wanted.sampling;
  const auto is_in = [&](const std::vector<int32_t>& tokens) {
    return std::find(tokens.begin(), tokens.end(), token) != tokens.end();
  };
  const int output = static_cast<int>(sequence.tokens.size()) - sequence.request->prompt_tokens();
  if (output >= sampling.min_tokens) {
    if (!sampling.ignore_eos && is_in(options_.end_tokens)) return FinishReason::kStop;
    if (is_in(sampling.stop_tokens)) return FinishReason::kStop;
  }
  return output >= sampling.max_tokens ? FinishReason::kLength : FinishReason::kNone;
}

void EngineCore::Finish(Sequence& sequence, FinishReason reason, const absl::Status& error,
                        absl::Duration now) {
  if (sequence.finished) return;
  sequence.finished = true;
  sequence.request->last_reason = reason;
  sequence.last_token = now;
  ReleaseBlocks(sequence);
  sequence.request->stream->Push({.choice = sequence.choice, .finish = reason, .error = error});
  sequence.request->dirty = true;
}

void EngineCore::EndRequest(Request& request, FinishReason reason, const absl::Status& error,
                            absl::Duration now) {
  for (const auto& sequence : request.sequences) Finish(*sequence, reason, error, now);
}

void EngineCore::EndAll(const absl::Status& error) {
  const absl::Duration now = clock_.Monotonic();
  for (const auto& request : requests_) EndRequest(*request, FinishReason::kError, error, now);
  NotifyReaders();
  RemoveFinished();
  ReportLoad();
}

// From the end, so that the cache forgets long prefixes before the short ones they begin with.
void EngineCore::ReleaseBlocks(Sequence& sequence) {
  for (auto block = sequence.blocks.rbegin(); block != sequence.blocks.rend(); ++block) {
    pool_.Release(*block);
  }
  sequence.blocks.clear();
  sequence.computed = 0;
  sequence.published = 0;
  sequence.running = false;
}

void EngineCore::NotifyReaders() {
  for (const auto& request : requests_) {
    if (std::exchange(request->dirty, false)) request->stream->Notify();
  }
}

void EngineCore::RemoveFinished() {
  std::erase_if(requests_, [&](const std::unique_ptr<Request>& request) {
    if (request->alive() > 0) {
      for (const auto& sequence : request->sequences) {
        if (sequence->finished) by_id_.erase(sequence->id);
      }
      return false;
    }
    for (const auto& sequence : request->sequences) by_id_.erase(sequence->id);
    if (request->dirty) request->stream->Notify();
    request->times.finished = clock_.Monotonic();
    metrics_.RequestFinished(ReasonName(request->last_reason), request->times,
                             request->prompt_tokens(), request->generated);
    const double held = absl::ToDoubleSeconds(request->times.finished - request->times.admitted);
    if (request->admitted) {
      request_seconds_ = request_seconds_ == 0 ? held : 0.9 * request_seconds_ + 0.1 * held;
    }
    return true;
  });
}

int EngineCore::requests_waiting() const {
  return static_cast<int>(std::count_if(requests_.begin(), requests_.end(),
                                        [](const auto& request) { return !request->admitted; }));
}

int EngineCore::requests_running() const {
  return static_cast<int>(requests_.size()) - requests_waiting();
}

void EngineCore::ReportLoad() {
  int paused = 0;
  for (const auto& request : requests_) {
    if (request->paused_since != absl::InfiniteDuration()) paused += request->alive();
  }
  metrics_.SetLoad({.requests_running = requests_running(),
                    .requests_waiting = requests_waiting(),
                    .sequences_paused = paused,
                    .blocks_available = pool_.available(),
                    .blocks_total = pool_.total(),
                    .block_tokens = pool_.block_tokens()});
}

}  // namespace model_server
