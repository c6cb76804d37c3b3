#include "model-server/engine/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace model_server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Row = StepPlan::Row;

constexpr StepBudget kBudget{
    .tokens_max = 100, .prefill_tokens_max = 32, .sequences_max = 4, .tile = 16};

RunningState Decoding(int id, int tokens) {
  return {.id = id,
          .arrival = id,
          .tokens = tokens,
          .computed = tokens - 1,
          .blocks = (tokens - 2) / 16 + 1,
          .blocks_freed = (tokens - 2) / 16 + 1};
}

RunningState Prefilling(int id, int tokens, int computed) {
  return {.id = id,
          .arrival = id,
          .tokens = tokens,
          .computed = computed,
          .blocks = (tokens + 15) / 16,
          .blocks_freed = (tokens + 15) / 16};
}

WaitingState Waiting(int id, int tokens) {
  return {.id = id, .arrival = id, .tokens = tokens, .blocks_needed = (tokens + 15) / 16};
}

TEST(SchedulerTest, DecodingRowsGoFirstAndChunksFillTheRest) {
  const SchedulerState state{.running = {Prefilling(1, 80, 0), Decoding(2, 10), Decoding(3, 20)},
                             .blocks_available = 10,
                             .blocks_total = 20};
  EXPECT_THAT(Plan(state, kBudget).rows, ElementsAre(Row{2, 1}, Row{3, 1}, Row{1, 32}));
}

TEST(SchedulerTest, APromptAloneTakesTheWholeBudgetInTiles) {
  const SchedulerState state{
      .waiting = {Waiting(1, 500)}, .blocks_available = 100, .blocks_total = 100};
  const StepPlan plan = Plan(state, kBudget);
  EXPECT_THAT(plan.admit, ElementsAre(1));
  EXPECT_THAT(plan.rows, ElementsAre(Row{1, 96}));
}

TEST(SchedulerTest, TheLastChunkNeedNotBeAWholeTile) {
  const SchedulerState state{
      .running = {Prefilling(1, 105, 96)}, .blocks_available = 10, .blocks_total = 20};
  EXPECT_THAT(Plan(state, kBudget).rows, ElementsAre(Row{1, 9}));
}

TEST(SchedulerTest, WhatARememberedPrefixHoldsIsNotComputed) {
  WaitingState waiting = Waiting(1, 60);
  waiting.cached = 48;
  const SchedulerState state{.waiting = {waiting}, .blocks_available = 4, .blocks_total = 4};
  EXPECT_THAT(Plan(state, kBudget).rows, ElementsAre(Row{1, 12}));
}

TEST(SchedulerTest, TheFirstInLineHoldsUpThoseBehindWhenItDoesNotFit) {
  const SchedulerState state{.running = {Decoding(1, 10)},
                             .waiting = {Waiting(3, 16), Waiting(2, 100)},
                             .blocks_available = 3,
                             .blocks_total = 10};
  EXPECT_THAT(Plan(state, kBudget).admit, IsEmpty());
}

TEST(SchedulerTest, PriorityComesBeforeArrival) {
  WaitingState urgent = Waiting(9, 16);
  urgent.priority = -1;
  const SchedulerState state{
      .waiting = {Waiting(1, 16), urgent}, .blocks_available = 10, .blocks_total = 10};
  EXPECT_THAT(Plan(state, kBudget).admit, ElementsAre(9, 1));
}

TEST(SchedulerTest, AdmissionLeavesRoomForTheAnswerUnlessNobodyElseRuns) {
  WaitingState waiting = Waiting(2, 16);
  waiting.blocks_later = 5;
  SchedulerState state{.running = {Decoding(1, 10)},
                       .waiting = {waiting},
                       .blocks_available = 5,
                       .blocks_total = 10};
  EXPECT_THAT(Plan(state, kBudget).admit, IsEmpty());
  state.blocks_available = 6;
  EXPECT_THAT(Plan(state, kBudget).admit, ElementsAre(2));
  state.blocks_available = 1;
  state.running.clear();
  EXPECT_THAT(Plan(state, kBudget).admit, ElementsAre(2));
}

TEST(SchedulerTest, AdmissionKeepsOnePercentFree) {
  SchedulerState state{.running = {Decoding(1, 10)},
                       .waiting = {Waiting(2, 16)},
                       .blocks_available = 2,
                       .blocks_total = 200};
  EXPECT_THAT(Plan(state, kBudget).admit, IsEmpty());
  state.blocks_available = 3;
  EXPECT_THAT(Plan(state, kBudget).admit, ElementsAre(2));
}

TEST(SchedulerTest, NoMoreSequencesRunThanAllowedCountingThoseToCome) {
  RunningState with_branches = Decoding(1, 10);
  with_branches.sequences = 3;
  SchedulerState state{.running = {with_branches},
                       .waiting = {Waiting(2, 16), Waiting(3, 16)},
                       .blocks_available = 50,
                       .blocks_total = 50};
  EXPECT_THAT(Plan(state, kBudget).admit, ElementsAre(2));
  state.waiting[0].sequences = 2;
  EXPECT_THAT(Plan(state, kBudget).admit, IsEmpty());
}

TEST(SchedulerTest, TheYoungestGivesWayWhenADecodingRowFindsNoBlock) {
  // 17 tokens: 16 are in the one block, which is full.
  const SchedulerState state{.running = {Decoding(1, 17), Decoding(2, 17), Decoding(3, 10)},
                             .waiting = {Waiting(4, 16)},
                             .blocks_available = 0,
                             .blocks_total = 3};
  const StepPlan plan = Plan(state, kBudget);
  EXPECT_THAT(plan.preempt, ElementsAre(3, 2));
  EXPECT_THAT(plan.rows, ElementsAre(Row{1, 1}));
  EXPECT_THAT(plan.admit, IsEmpty()) << "who gave way comes back first";
}

TEST(SchedulerTest, WhoGaveWayOftenIsSparedWhileOthersAreLeft) {
  RunningState tired = Decoding(3, 10);
  tired.preemptions = 3;
  const SchedulerState state{.running = {Decoding(1, 17), Decoding(2, 10), tired},
                             .blocks_available = 0,
                             .blocks_total = 3};
  EXPECT_THAT(Plan(state, kBudget).preempt, ElementsAre(2));
}

TEST(SchedulerTest, LowPriorityGivesWayBeforeYouth) {
  RunningState background = Decoding(1, 10);
  background.priority = 5;
  const SchedulerState state{
      .running = {background, Decoding(2, 17)}, .blocks_available = 0, .blocks_total = 2};
  const StepPlan plan = Plan(state, kBudget);
  EXPECT_THAT(plan.preempt, ElementsAre(1));
  EXPECT_THAT(plan.rows, ElementsAre(Row{2, 1}));
}

TEST(SchedulerTest, APausedSequenceComputesNothingAndKeepsItsBlocks) {
  RunningState paused = Decoding(1, 10);
  paused.paused = true;
  const SchedulerState state{
      .running = {paused, Decoding(2, 10)}, .blocks_available = 5, .blocks_total = 7};
  const StepPlan plan = Plan(state, kBudget);
  EXPECT_THAT(plan.rows, ElementsAre(Row{2, 1}));
  EXPECT_THAT(plan.preempt, IsEmpty());
}

TEST(SchedulerTest, EqualStatesGiveEqualPlans) {
  const SchedulerState state{.running = {Prefilling(1, 80, 0), Decoding(2, 17), Decoding(3, 17)},
                             .waiting = {Waiting(4, 16), Waiting(5, 16)},
                             .blocks_available = 1,
                             .blocks_total = 8};
  EXPECT_EQ(Plan(state, kBudget), Plan(state, kBudget));
}

}  // namespace
}  // namespace model_server
