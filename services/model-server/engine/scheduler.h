// What the next step computes: a pure function of the queues, so that it can be tested and
// replayed.

#pragma once

#include <cstdint>
#include <vector>

namespace model_server {

// A sequence that holds blocks.
struct RunningState {
  int id = 0;
  double priority = 0;   // Lower goes first.
  int64_t arrival = 0;   // Counts up; breaks ties.
  int tokens = 0;        // Prompt and output so far.
  int computed = 0;      // How many of them are in the cache: all but one while decoding.
  int blocks = 0;        // Held; those of the tokens known at admission are there from the start.
  int blocks_freed = 0;  // That its preemption would make available.
  int sequences = 1;     // With those that will branch off it when its prompt is done.
  int preemptions = 0;
  bool paused = false;  // Its reader is behind: it keeps its blocks and computes nothing.
};

// A sequence that waits for blocks.
struct WaitingState {
  int id = 0;
  double priority = 0;  // Already improved by the time it has waited.
  int64_t arrival = 0;
  int tokens = 0;
  int cached = 0;         // How many of them a remembered prefix holds.
  int blocks_needed = 0;  // For all of them: a remembered block is taken out of the pool, too.
  int blocks_later = 0;   // Expected beyond that, for the answer.
  int sequences = 1;      // That will run in the end: a request's n.
};

struct SchedulerState {
  std::vector<RunningState> running;
  std::vector<WaitingState> waiting;
  int blocks_available = 0;
  int blocks_total = 0;
  int block_tokens = 16;
};

struct StepBudget {
  int tokens_max = 512;          // Of all rows together.
  int prefill_tokens_max = 512;  // While others decode: what keeps their next token in time.
  int sequences_max = 16;
  int tile = 48;            // Chunks of a prompt are multiples of it, but for the last.
  int preemptions_max = 3;  // Of one request; then others give way.
};

struct StepPlan {
  struct Row {
    int id = 0;
    int tokens = 0;  // New ones.

    bool operator==(const Row&) const = default;
  };
  // In this order: preempt, admit, compute.
  std::vector<int> preempt;  // Lose their blocks and wait again.
  std::vector<int> admit;    // Get the blocks for all their tokens.
  std::vector<Row> rows;     // A row whose blocks are full gets one more first.

  bool operator==(const StepPlan&) const = default;
};

// Decoding rows first, then chunks of prompts that have begun, then admission in order of priority
// and arrival; whoever does not fit holds up those behind, so nobody starves. When a decoding row
// finds no block, the youngest of the lowest priority gives way.
StepPlan Plan(const SchedulerState& state, const StepBudget& budget);

}  // namespace model_server
