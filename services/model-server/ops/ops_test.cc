#include <atomic>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/net/http_client.h"
#include "model-server/ops/ops_server.h"
#include "model-server/ops/server_state.h"

namespace model_server {
namespace {

using ::testing::HasSubstr;

TEST(ServerStateTest, NoEarlierStateFollowsALaterOne) {
  base::ManualClock clock;
  ServerState state(clock);
  state.Set(State::kLoading, "reading");
  state.Set(State::kServing, "ready");
  state.Set(State::kLoading, "again");
  EXPECT_EQ(state.state(), State::kServing);
  state.Set(State::kStalled, "no step for 30 s");
  state.Set(State::kServing, "it goes on");
  EXPECT_EQ(state.state(), State::kServing);
  state.Set(State::kStopped, "done");
  state.Set(State::kDraining, "late");
  EXPECT_EQ(state.state(), State::kStopped);
}

TEST(ServerStateTest, ProgressForeseesTheRest) {
  base::ManualClock clock;
  ServerState state(clock);
  EXPECT_EQ(state.Get().seconds_left, -1);
  clock.Advance(absl::Seconds(3));
  state.SetProgress(25, 100);
  EXPECT_DOUBLE_EQ(state.Get().progress, 0.25);
  EXPECT_DOUBLE_EQ(state.Get().seconds_left, 9);
}

TEST(ServerStateTest, ListenersHearOfChangesUntilTheyAreRemoved) {
  base::ManualClock clock;
  ServerState state(clock);
  int heard = 0;
  const int listener = state.AddListener([&] { ++heard; });
  state.Set(State::kLoading, "");
  state.Set(State::kStarting, "");
  state.RemoveListener(listener);
  state.Set(State::kServing, "");
  EXPECT_EQ(heard, 1);
}

class OpsServerTest : public ::testing::Test {
 protected:
  OpsServerTest() {
    auto server = OpsServer::Start(
        {.port = 0}, state_, registry_, [this] { return alive_.load(); }, [this] { ++scrapes_; });
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = std::move(server).value();
    client_ = std::make_unique<net::HttpClient>(
        net::HttpClientOptions{.base_url = "http://127.0.0.1:" + std::to_string(server_->port())});
  }

  net::Response Get(const std::string& target, const std::string& method = "GET") {
    auto response = client_->Send({.method = method, .target = target});
    EXPECT_TRUE(response.ok()) << response.status();
    return response.ok() ? *response : net::Response{};
  }

  base::ManualClock clock_;
  ServerState state_{clock_};
  metrics::Registry registry_;
  std::atomic<bool> alive_ = true;
  std::atomic<int> scrapes_ = 0;
  std::unique_ptr<OpsServer> server_;
  std::unique_ptr<net::HttpClient> client_;
};

TEST_F(OpsServerTest, ReadinessFollowsTheState) {
  state_.Set(State::kLoading, "reading weights");
  const net::Response loading = Get("/readyz");
  EXPECT_EQ(loading.status, 503);
  EXPECT_THAT(loading.body, HasSubstr("reading weights"));
  EXPECT_TRUE(loading.headers.Find("Retry-After").has_value());
  state_.Set(State::kServing, "ready");
  EXPECT_EQ(Get("/readyz").status, 200);
  EXPECT_EQ(Get("/health").status, 200);
  state_.Set(State::kDraining, "SIGTERM");
  EXPECT_EQ(Get("/readyz").status, 503);
}

TEST_F(OpsServerTest, LivenessIsIndependentOfReadiness) {
  EXPECT_EQ(Get("/livez").status, 200);
  alive_ = false;
  EXPECT_EQ(Get("/livez").status, 503);
}

TEST_F(OpsServerTest, MetricsAreRefreshedBeforeTheyAreWritten) {
  const net::Response metrics = Get("/metrics");
  EXPECT_EQ(metrics.status, 200);
  EXPECT_THAT(metrics.body, HasSubstr("process_start_time_seconds"));
  EXPECT_EQ(scrapes_, 1);
}

TEST_F(OpsServerTest, OtherPathsAndMethodsAreRefused) {
  EXPECT_EQ(Get("/").status, 404);
  EXPECT_EQ(Get("/metrics", "POST").status, 405);
  EXPECT_EQ(Get("/livez", "HEAD").status, 200);
}

}  // namespace
}  // namespace model_server
