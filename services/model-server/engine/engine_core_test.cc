#include "model-server/engine/engine_core.h"

#include <map>
#include <memory>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/check.h"
#include "model-server/engine/fake_model.h"

namespace model_server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A request and what came of it.
struct Client {
  std::shared_ptr<TokenStream> stream = std::make_shared<TokenStream>([] {});
  std::map<int, std::vector<int32_t>> tokens;  // By choice.
  std::map<int, FinishReason> finish;
  absl::Status error;

  void Read() {
    while (std::optional<TokenEvent> event = stream->Pop()) {
      if (event->token >= 0) tokens[event->choice].push_back(event->token);
      if (event->finish == FinishReason::kNone) continue;
      EXPECT_FALSE(finish.contains(event->choice)) << "a choice ended twice";
      finish[event->choice] = event->finish;
      if (!event->error.ok()) error = event->error;
    }
  }
};

class EngineCoreTest : public ::testing::Test {
 protected:
  void Start(int blocks, EngineOptions options = {}) {
    options.kv_blocks = blocks;
    CHECK_OK(model_.AllocateCache(blocks));
    core_ = std::make_unique<EngineCore>(model_, options, clock_, metrics_);
  }

  Client Add(std::vector<int32_t> prompt, Sampling sampling, int priority = 0) {
    Client client;
    if (sampling.max_tokens == 0) sampling.max_tokens = 8;
    sampling.temperature = 0;
    core_->Add({.id = "r", .prompt = std::move(prompt), .sampling = sampling, .priority = priority},
               client.stream, clock_.Monotonic());
    return client;
  }

  void RunToEnd(std::vector<Client*> clients) {
    for (int i = 0; i < 10'000 && !core_->idle(); ++i) {
      core_->Step();
      core_->pool().CheckInvariants();
      for (Client* client : clients) client->Read();
    }
    ASSERT_TRUE(core_->idle());
    EXPECT_EQ(core_->pool().available(), core_->pool().total()) << "blocks were lost";
  }

  static std::vector<int32_t> Prompt(int first, int size) {
    std::vector<int32_t> prompt;
    for (int i = 0; i < size; ++i) prompt.push_back((first + i * 7) % 64);
    return prompt;
  }

  FakeModel model_;
  base::ManualClock clock_;
  metrics::Registry registry_;
  EngineMetrics metrics_{registry_, "fake", true};
  std::unique_ptr<EngineCore> core_;
};

TEST_F(EngineCoreTest, ARequestGetsTheModelsTokensAndItsEnd) {
  Start(16);
  Client client = Add({1, 2, 3}, {.max_tokens = 5});
  RunToEnd({&client});
  EXPECT_EQ(client.tokens[0], model_.Continue({1, 2, 3}, 5));
  EXPECT_EQ(client.finish[0], FinishReason::kLength);
}

TEST_F(EngineCoreTest, NeighboursDoNotChangeARequestsTokens) {
  Start(64);
  std::vector<Client> clients;
  for (int i = 0; i < 12; ++i) clients.push_back(Add(Prompt(i, 3 + i), {.max_tokens = 5 + i}));
  std::vector<Client*> all;
  for (Client& client : clients) all.push_back(&client);
  RunToEnd(all);
  for (int i = 0; i < 12; ++i) {
    EXPECT_EQ(clients[i].tokens[0], model_.Continue(Prompt(i, 3 + i), 5 + i));
  }
  EXPECT_GT(model_.widest_step(), 6) << "the requests did not run together";
}

TEST_F(EngineCoreTest, ALongPromptIsComputedInChunksBesideOthersTokens) {
  Start(64, {.step_tokens_max = 64, .tile = 8});
  Client chat = Add({1, 2}, {.max_tokens = 30});
  core_->Step();
  Client document = Add(Prompt(5, 100), {.max_tokens = 2});
  for (int i = 0; i < 3; ++i) core_->Step();
  chat.Read();
  EXPECT_EQ(chat.tokens[0].size(), 4) << "the chat waited for the document";
  RunToEnd({&chat, &document});
  EXPECT_EQ(document.tokens[0], model_.Continue(Prompt(5, 100), 2));
}

TEST_F(EngineCoreTest, WithoutABlockTheYoungestIsPreemptedAndComputesTheSameTokensLater) {
  Start(12, {.answer_blocks_tokens = 0});
  std::vector<Client> clients;
  for (int i = 0; i < 4; ++i) clients.push_back(Add(Prompt(i, 8), {.max_tokens = 30}));
  RunToEnd({&clients[0], &clients[1], &clients[2], &clients[3]});
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(clients[i].tokens[0], model_.Continue(Prompt(i, 8), 30)) << i;
  }
  EXPECT_THAT(registry_.Text(), HasSubstr("vllm:num_preemptions_total"));
}

TEST_F(EngineCoreTest, ARequestThatFillsTheWholeCacheRuns) {
  Start(10);
  Client client = Add(Prompt(1, 20), {.max_tokens = 20});
  RunToEnd({&client});
  EXPECT_EQ(client.tokens[0], model_.Continue(Prompt(1, 20), 20));
}

TEST_F(EngineCoreTest, ARepeatedPrefixIsNotComputedAgain) {
  Start(32);
  Client first = Add(Prompt(3, 21), {.max_tokens = 2});
  RunToEnd({&first});
  const int before = model_.tokens_computed();
  Client second = Add(Prompt(3, 21), {.max_tokens = 2});
  RunToEnd({&second});
  EXPECT_EQ(model_.tokens_computed() - before, 1 + 1) << "21 tokens: 20 remembered, one computed";
  EXPECT_EQ(second.stream->cached_prompt_tokens(), 20);
  EXPECT_EQ(second.tokens[0], first.tokens[0]);
}

TEST_F(EngineCoreTest, AnswersToOnePromptShareItAndDifferBySeedAlone) {
  Start(32);
  Client client;
  core_->Add({.id = "n",
              .prompt = Prompt(2, 10),
              .sampling = {.max_tokens = 6, .temperature = 20, .seed = 5, .n = 3}},
             client.stream, clock_.Monotonic());
  RunToEnd({&client});
  EXPECT_EQ(client.tokens.size(), 3);
  EXPECT_NE(client.tokens[0], client.tokens[1]);
  EXPECT_NE(client.tokens[1], client.tokens[2]);
  EXPECT_LT(model_.tokens_computed(), 10 + 3 * 6);
  // The same request again gives the same answers, whatever is remembered.
  Client again;
  core_->Add({.id = "n",
              .prompt = Prompt(2, 10),
              .sampling = {.max_tokens = 6, .temperature = 20, .seed = 5, .n = 3}},
             again.stream, clock_.Monotonic());
  RunToEnd({&again});
  EXPECT_EQ(again.tokens, client.tokens);
}

TEST_F(EngineCoreTest, AnswersGoOnCorrectlyFromTheCopiedBlock) {
  Start(32);
  Client client = Add(Prompt(2, 10), {.max_tokens = 9, .n = 4});
  RunToEnd({&client});
  for (int choice = 0; choice < 4; ++choice) {
    EXPECT_EQ(client.tokens[choice], model_.Continue(Prompt(2, 10), 9)) << choice;
  }
}

TEST_F(EngineCoreTest, AnswersWithoutABlockWaitAndComeLater) {
  Start(6, {.answer_blocks_tokens = 0});
  Client client = Add(Prompt(2, 10), {.max_tokens = 9, .n = 4});
  RunToEnd({&client});
  for (int choice = 0; choice < 4; ++choice) {
    EXPECT_EQ(client.tokens[choice], model_.Continue(Prompt(2, 10), 9)) << choice;
  }
}

TEST_F(EngineCoreTest, ACancelledRequestIsGoneAfterOneStep) {
  Start(16);
  Client client = Add({1, 2, 3}, {.max_tokens = 50});
  core_->Step();
  client.stream->Cancel();
  core_->Step();
  EXPECT_TRUE(core_->idle());
  EXPECT_EQ(core_->pool().available(), core_->pool().total());
}

TEST_F(EngineCoreTest, ACancelledChoiceLeavesTheOthersRunning) {
  Start(16);
  Client client = Add({1, 2, 3}, {.max_tokens = 6, .n = 2});
  core_->Step();
  client.stream->CancelChoice(1);
  RunToEnd({&client});
  EXPECT_EQ(client.tokens[0].size(), 6);
  EXPECT_EQ(client.tokens[1].size(), 1);
}

TEST_F(EngineCoreTest, ADeadlineEndsWaitingAndRunningRequests) {
  Start(16, {.sequences_max = 1});
  Client running;
  Client waiting;
  for (Client* client : {&running, &waiting}) {
    core_->Add({.id = "d",
                .prompt = {1, 2},
                .sampling = {.max_tokens = 200},
                .deadline = clock_.Monotonic() + absl::Seconds(5)},
               client->stream, clock_.Monotonic());
  }
  core_->Step();
  EXPECT_EQ(core_->requests_waiting(), 1);
  clock_.Advance(absl::Seconds(5));
  RunToEnd({&running, &waiting});
  EXPECT_EQ(running.error.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(waiting.error.code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(EngineCoreTest, AReaderWhoIsBehindPausesItsRequestAloneAndIsCutOffInTheEnd) {
  Start(64, {.pause_max = absl::Seconds(30)});
  Client slow = Add({1, 2}, {.max_tokens = 200});
  for (int i = 0; i < 200; ++i) core_->Step();
  EXPECT_FALSE(core_->Step()) << "tokens were computed for a full ring";
  Client other = Add({3, 4}, {.max_tokens = 5});
  for (int i = 0; i < 6; ++i) core_->Step();
  other.Read();
  EXPECT_EQ(other.tokens[0].size(), 5);
  slow.Read();
  EXPECT_EQ(slow.tokens[0].size(), TokenStream::kTokensMax);
  EXPECT_TRUE(core_->Step()) << "it did not go on when the reader caught up";
  for (int i = 0; i < 100; ++i) core_->Step();
  clock_.Advance(absl::Seconds(30));
  RunToEnd({});
  slow.Read();
  EXPECT_EQ(slow.error.code(), absl::StatusCode::kCancelled);
}

TEST_F(EngineCoreTest, EndOfTextStopsUnlessIgnoredAndNotBeforeMinTokens) {
  const std::vector<int32_t> expected = model_.Continue({9, 8, 7}, 12);
  EngineOptions options{.end_tokens = {expected[3]}};
  Start(32, options);
  Client stops = Add({9, 8, 7}, {.max_tokens = 12});
  Client ignores = Add({9, 8, 7}, {.max_tokens = 12, .ignore_eos = true});
  RunToEnd({&stops, &ignores});
  EXPECT_EQ(stops.tokens[0].size(), 4) << "the end token itself is counted";
  EXPECT_EQ(stops.finish[0], FinishReason::kStop);
  EXPECT_EQ(ignores.tokens[0], expected);

  Client stop_token = Add({9, 8, 7}, {.max_tokens = 12, .stop_tokens = {expected[1]}});
  Client later = Add({9, 8, 7}, {.max_tokens = 12, .min_tokens = 6});
  RunToEnd({&stop_token, &later});
  EXPECT_EQ(stop_token.tokens[0].size(), 2);
  EXPECT_GE(later.tokens[0].size(), 6);
}

TEST_F(EngineCoreTest, ARowOfNoNumbersEndsThatRequestAlone) {
  const std::vector<int32_t> expected = model_.Continue({1, 2, 3}, 6);
  model_.poisoned_token = 63;
  Start(32);
  Client bad = Add({5, 63}, {.max_tokens = 6});
  Client good = Add({1, 2, 3}, {.max_tokens = 6});
  RunToEnd({&bad, &good});
  EXPECT_EQ(bad.error.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(good.tokens[0], expected);
}

TEST_F(EngineCoreTest, WaitingImprovesPriority) {
  Start(16, {.sequences_max = 1});
  Client running = Add({1}, {.max_tokens = 20});
  core_->Step();
  Client old = Add({2}, {.max_tokens = 1}, 1);
  clock_.Advance(absl::Seconds(25));
  Client fresh = Add({3}, {.max_tokens = 1}, 0);
  while (old.tokens.empty() && fresh.tokens.empty()) {
    core_->Step();
    running.Read();
    old.Read();
    fresh.Read();
  }
  EXPECT_FALSE(old.tokens.empty()) << "the one that waited for 25 s was overtaken";
}

TEST_F(EngineCoreTest, EndingAllTellsEveryReader) {
  Start(16, {.sequences_max = 1});
  Client a = Add({1}, {.max_tokens = 20, .n = 1});
  Client b = Add({2}, {.max_tokens = 20});
  core_->Step();
  core_->EndAll(absl::UnavailableError("draining"));
  a.Read();
  b.Read();
  EXPECT_EQ(a.error.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(b.error.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(core_->idle());
}

}  // namespace
}  // namespace model_server
