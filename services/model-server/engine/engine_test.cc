#include "model-server/engine/engine.h"

#include <memory>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/synchronization/notification.h"

#include "common/base/bounded_queue.h"
#include "model-server/engine/fake_model.h"
#include "model-server/engine/request_error.h"

namespace model_server {
namespace {

using ::testing::HasSubstr;

// Reads a stream on the test's thread.
class Reader {
 public:
  std::vector<int32_t> ReadAll() {
    std::vector<int32_t> tokens;
    while (true) {
      if (!news_->Pop(absl::Seconds(20)).has_value()) {
        ADD_FAILURE() << "no token in time";
        return tokens;
      }
      while (std::optional<TokenEvent> event = stream->Pop()) {
        if (event->token >= 0) tokens.push_back(event->token);
        if (event->finish == FinishReason::kNone) continue;
        finish = event->finish;
        error = event->error;
        return tokens;
      }
    }
  }

  // The engine may still notify after the last event has been read: the queue is shared with it.
  std::shared_ptr<base::BoundedQueue<int>> news_ =
      std::make_shared<base::BoundedQueue<int>>(100'000);
  std::shared_ptr<TokenStream> stream =
      std::make_shared<TokenStream>([news = news_] { news->TryPush(1); });
  FinishReason finish = FinishReason::kNone;
  absl::Status error;
};

class EngineTest : public ::testing::Test {
 protected:
  void Start(EngineOptions options = {}) {
    if (options.kv_blocks == 0) options.kv_blocks = 64;
    auto engine = Engine::Start(model_, options, base::RealClock(), metrics_);
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = std::move(engine).value();
  }

  absl::Status Submit(Reader& reader, std::vector<int32_t> prompt, int max_tokens,
                      const std::string& id = "r") {
    return engine_->Submit({.id = id,
                            .prompt = std::move(prompt),
                            .sampling = {.max_tokens = max_tokens, .temperature = 0}},
                           reader.stream);
  }

  FakeModel model_;
  metrics::Registry registry_;
  EngineMetrics metrics_{registry_, "fake", true};
  std::unique_ptr<Engine> engine_;
};

TEST_F(EngineTest, TokensArriveOnAnotherThread) {
  Start();
  Reader reader;
  ASSERT_TRUE(Submit(reader, {1, 2, 3}, 40).ok());
  EXPECT_EQ(reader.ReadAll(), model_.Continue({1, 2, 3}, 40));
  EXPECT_EQ(reader.finish, FinishReason::kLength);
}

TEST_F(EngineTest, WithoutAMaximumTheAnswerTakesTheRestOfTheContext) {
  Start();
  Reader reader;
  ASSERT_TRUE(Submit(reader, {1, 2, 3}, 0).ok());
  EXPECT_EQ(reader.ReadAll().size(), 253);
}

TEST_F(EngineTest, WhatCanNeverRunIsRefusedWithBothNumbers) {
  Start({.kv_blocks = 10});  // 40 tokens, less than the model's 256.
  Reader reader;
  const absl::Status too_long = Submit(reader, std::vector<int32_t>(30, 1), 11);
  EXPECT_EQ(too_long.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(DetailsOf(too_long).code, "context_length_exceeded");
  EXPECT_THAT(std::string(too_long.message()), HasSubstr("40 tokens"));
  EXPECT_THAT(std::string(too_long.message()), HasSubstr("30"));
  EXPECT_TRUE(Submit(reader, std::vector<int32_t>(30, 1), 10).ok());
  Reader other;
  EXPECT_EQ(Submit(other, {64}, 1).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Submit(other, {}, 1).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Submit(other, std::vector<int32_t>(40, 1), 0).code(),
            absl::StatusCode::kInvalidArgument);
  reader.ReadAll();
}

TEST_F(EngineTest, TheQueueTakesNoMoreThanItsLimitAndSaysWhenToComeBack) {
  const auto stepping = std::make_shared<absl::Notification>();
  const auto go_on = std::make_shared<absl::Notification>();
  model_.on_step = [=, this] {
    if (!stepping->HasBeenNotified()) stepping->Notify();
    go_on->WaitForNotification();
  };
  Start({.sequences_max = 1, .queue_max = 2});
  std::vector<std::unique_ptr<Reader>> readers;
  for (int i = 0; i < 4; ++i) readers.push_back(std::make_unique<Reader>());
  ASSERT_TRUE(Submit(*readers[0], {1}, 2).ok());
  stepping->WaitForNotification();
  // While the step runs, its request is still counted as one that waits.
  while (engine_->requests_waiting() < 2) {
    ASSERT_TRUE(Submit(*readers[engine_->requests_waiting()], {1}, 2).ok());
  }
  const absl::Status refused = Submit(*readers[3], {1}, 2);
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_GE(*DetailsOf(refused).retry_after, absl::Seconds(1));
  EXPECT_THAT(registry_.Text(), HasSubstr("model_server_rejected_total"));
  go_on->Notify();
  EXPECT_EQ(readers[0]->ReadAll().size(), 2);
}

TEST_F(EngineTest, AnAbortedRequestEndsAndSaysSo) {
  const auto stepping = std::make_shared<absl::Notification>();
  model_.on_step = [=, this] {
    if (model_.steps() == 3 && !stepping->HasBeenNotified()) stepping->Notify();
  };
  Start({.kv_blocks = 64});
  Reader reader;
  ASSERT_TRUE(Submit(reader, {1, 2, 3}, 250, "abc").ok());
  stepping->WaitForNotification();
  EXPECT_FALSE(engine_->Abort("other"));
  engine_->Abort("abc");
  reader.ReadAll();
  EXPECT_EQ(reader.finish, FinishReason::kAborted);
}

TEST_F(EngineTest, ACancelledRequestFreesItsPlaceForTheNext) {
  Start({.sequences_max = 1});
  Reader first;
  Reader second;
  ASSERT_TRUE(Submit(first, {1}, 250).ok());
  ASSERT_TRUE(Submit(second, {2}, 3).ok());
  first.stream->Cancel();
  engine_->Wake();
  EXPECT_EQ(second.ReadAll().size(), 3);
}

TEST_F(EngineTest, StoppingTheEngineEndsItsRequests) {
  Start();
  Reader reader;
  ASSERT_TRUE(Submit(reader, {1, 2}, 250).ok());
  engine_.reset();
  reader.ReadAll();
  EXPECT_TRUE(reader.finish == FinishReason::kError || reader.finish == FinishReason::kLength);
}

TEST_F(EngineTest, AnIdleEngineIsNotStalled) {
  Start();
  Reader reader;
  ASSERT_TRUE(Submit(reader, {1, 2}, 3).ok());
  reader.ReadAll();
  EXPECT_LT(engine_->since_progress(), absl::Seconds(5));
}

}  // namespace
}  // namespace model_server
