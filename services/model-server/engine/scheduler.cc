#include "model-server/engine/scheduler.h"

#include <algorithm>

namespace model_server {
namespace {

template <typename T>
bool GoesFirst(const T* a, const T* b) {
  return a->priority != b->priority ? a->priority < b->priority : a->arrival < b->arrival;
}

// Holds what the plan has used up so far.
class Planner {
 public:
  Planner(const SchedulerState& state, const StepBudget& budget)
      : state_(state),
        budget_(budget),
        available_(state.blocks_available),
        tokens_left_(budget.tokens_max) {}

  StepPlan Run() {
    std::vector<const RunningState*> decoding;
    std::vector<const RunningState*> prefilling;
    for (const RunningState& sequence : state_.running) {
      alive_.push_back(&sequence);
      sequences_ += sequence.sequences;
      if (sequence.paused) continue;
      (sequence.tokens - sequence.computed == 1 ? decoding : prefilling).push_back(&sequence);
    }
    std::sort(decoding.begin(), decoding.end(), GoesFirst<RunningState>);
    std::sort(prefilling.begin(), prefilling.end(), GoesFirst<RunningState>);
    for (const RunningState* sequence : decoding) PlanDecode(*sequence);
    prefill_left_ =
        plan_.rows.empty() ? tokens_left_ : std::min(tokens_left_, budget_.prefill_tokens_max);
    for (const RunningState* sequence : prefilling) {
      if (IsAlive(*sequence)) PlanChunk(sequence->id, sequence->tokens - sequence->computed);
    }
    if (plan_.preempt.empty()) PlanAdmission();
    return std::move(plan_);
  }

 private:
  bool IsAlive(const RunningState& sequence) const {
    return std::find(alive_.begin(), alive_.end(), &sequence) != alive_.end();
  }

  void PlanDecode(const RunningState& sequence) {
    if (tokens_left_ == 0 || !IsAlive(sequence)) return;
    if (sequence.computed == sequence.blocks * state_.block_tokens) {
      while (available_ == 0) {
        const RunningState& victim = ChooseVictim();
        Preempt(victim);
        if (&victim == &sequence) return;
      }
      --available_;
    }
    plan_.rows.push_back({.id = sequence.id, .tokens = 1});
    --tokens_left_;
  }

  // The youngest of the lowest priority; those preempted too often only when nobody else is left.
  const RunningState& ChooseVictim() const {
    const RunningState* victim = nullptr;
    for (const RunningState* candidate : alive_) {
      if (victim == nullptr) {
        victim = candidate;
        continue;
      }
      const bool candidate_exempt = candidate->preemptions >= budget_.preemptions_max;
      const bool victim_exempt = victim->preemptions >= budget_.preemptions_max;
      if (candidate_exempt != victim_exempt ? victim_exempt : GoesFirst(victim, candidate)) {
        victim = candidate;
      }
    }
    return *victim;  // Whoever asks is alive itself.
  }

  void Preempt(const RunningState& victim) {
    std::erase(alive_, &victim);
    const size_t rows =
        std::erase_if(plan_.rows, [&](const StepPlan::Row& row) { return row.id == victim.id; });
    tokens_left_ += static_cast<int>(rows);
    available_ += victim.blocks_freed;
    if (rows > 0 && victim.computed == victim.blocks * state_.block_tokens) ++available_;
    sequences_ -= victim.sequences;
    plan_.preempt.push_back(victim.id);
  }

  void PlanChunk(int id, int tokens_missing) {
    int tokens = std::min(tokens_missing, prefill_left_);
    if (tokens < tokens_missing && tokens >= budget_.tile) tokens -= tokens % budget_.tile;
    if (tokens <= 0) return;
    plan_.rows.push_back({.id = id, .tokens = tokens});
    prefill_left_ -= tokens;
  }

  void PlanAdmission() {
    std::vector<const WaitingState*> waiting;
    for (const WaitingState& sequence : state_.waiting) waiting.push_back(&sequence);
    std::sort(waiting.begin(), waiting.end(), [](const WaitingState* a, const WaitingState* b) {
      if (a->priority == b->priority && a->arrival == b->arrival) return a->cached > b->cached;
      return GoesFirst(a, b);
    });
    const int reserve = state_.blocks_total / 100;
    for (const WaitingState* next : waiting) {
      if (prefill_left_ <= 0 || sequences_ + next->sequences > budget_.sequences_max) return;
      // Alone it may have everything: that it fits was checked when it came.
      const int wanted = sequences_ == 0 ? next->blocks_needed
                                         : next->blocks_needed + next->blocks_later + reserve;
      if (wanted > available_) return;
      available_ -= next->blocks_needed;
      sequences_ += next->sequences;
      plan_.admit.push_back(next->id);
      PlanChunk(next->id, next->tokens - next->cached);
    }
  }

  const SchedulerState& state_;
  const StepBudget& budget_;
  StepPlan plan_;
  std::vector<const RunningState*> alive_;
  int available_;
  int tokens_left_;
  int prefill_left_ = 0;
  int sequences_ = 0;
};

}  // namespace

StepPlan Plan(const SchedulerState& state, const StepBudget& budget) {
  return Planner(state, budget).Run();
}

}  // namespace model_server
