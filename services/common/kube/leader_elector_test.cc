#include "common/kube/leader_elector.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/kube/fake_transport.h"
#include "common/kube/json.h"

namespace kube {
namespace {

namespace json = boost::json;

// One Lease with versions, as an API server keeps it.
class LeaseServer {
 public:
  LeaseServer() {
    transport.SetFallback([this](const net::Request& request) { return Answer(request); });
  }

  FakeTransport transport;
  json::value lease;  // null: there is none.
  bool down = false;
  int writes = 0;

 private:
  absl::StatusOr<net::Response> Answer(const net::Request& request) {
    if (down) return absl::DeadlineExceededError("no answer");
    if (request.method == "GET") {
      if (lease.is_null()) return net::Response{.status = 404};
      return net::Response{.status = 200, .body = json::serialize(lease)};
    }
    json::value body = json::parse(request.body);
    if (request.method == "PUT" && StringAt(body, {"metadata", "resourceVersion"}) !=
                                       StringAt(lease, {"metadata", "resourceVersion"})) {
      return net::Response{.status = 409,
                           .body = R"({"kind":"Status","code":409,"reason":"Conflict"})"};
    }
    MakePath(body, {"metadata", "resourceVersion"}) = std::to_string(++version_);
    lease = body;
    ++writes;
    return net::Response{.status = 200, .body = json::serialize(lease)};
  }

  int version_ = 0;
};

class LeaderElectorTest : public ::testing::Test {
 protected:
  std::unique_ptr<LeaderElector> Elector(const std::string& identity) {
    auto elector = std::make_unique<LeaderElector>(
        client_, LeaderElectorOptions{.name = "controller", .identity = identity}, clock_);
    elector->SetCallbacks([this, identity] { events_.push_back(identity + " started"); },
                          [this, identity] { events_.push_back(identity + " lost"); });
    return elector;
  }
  std::string_view Holder() const { return StringAt(server_.lease, {"spec", "holderIdentity"}); }

  base::ManualClock clock_;
  LeaseServer server_;
  Client client_{server_.transport, {.sleep = [](absl::Duration) {}}};
  std::vector<std::string> events_;
};

TEST_F(LeaderElectorTest, TheFirstLeadsAndTheSecondWaits) {
  const auto a = Elector("a");
  const auto b = Elector("b");
  const absl::Duration wait = a->Step();
  EXPECT_GE(wait, absl::Seconds(2));
  EXPECT_LE(wait, absl::Seconds(2.4));
  b->Step();
  EXPECT_TRUE(a->IsLeader());
  EXPECT_FALSE(b->IsLeader());
  EXPECT_EQ(Holder(), "a");
  EXPECT_THAT(events_, testing::ElementsAre("a started"));
}

TEST_F(LeaderElectorTest, ARenewedLeaseIsNotTakenAndADeadLeadersIs) {
  const auto a = Elector("a");
  const auto b = Elector("b");
  a->Step();
  for (int i = 0; i < 20; ++i) {
    b->Step();
    clock_.Advance(absl::Seconds(2));
    a->Step();
  }
  EXPECT_EQ(Holder(), "a");
  b->Step();
  clock_.Advance(absl::Seconds(14));
  b->Step();
  EXPECT_EQ(Holder(), "a");
  EXPECT_TRUE(a->IsLeader());
  EXPECT_FALSE(a->IsLeader(absl::Seconds(2)));
  clock_.Advance(absl::Seconds(1));
  b->Step();
  EXPECT_EQ(Holder(), "b");
  EXPECT_FALSE(a->IsLeader());
  EXPECT_EQ(IntAt(server_.lease, {"spec", "leaseTransitions"}), 1);
  a->Step();
  EXPECT_THAT(events_, testing::ElementsAre("a started", "b started", "a lost"));
}

TEST_F(LeaderElectorTest, TimesInTheLeaseAreNotBelieved) {
  server_.lease = json::parse(R"({"metadata":{"name":"controller","namespace":"kube-system",
    "resourceVersion":"0"},"spec":{"holderIdentity":"old","leaseDurationSeconds":15,
    "renewTime":"2001-01-01T00:00:00.000000Z"}})");
  const auto a = Elector("a");
  a->Step();
  EXPECT_FALSE(a->IsLeader()) << "its renewTime is long past, but we saw it only now";
  clock_.JumpWallClock(absl::Hours(5));
  a->Step();
  EXPECT_FALSE(a->IsLeader());
  clock_.Advance(absl::Seconds(15));
  a->Step();
  EXPECT_TRUE(a->IsLeader());
}

TEST_F(LeaderElectorTest, ALeaderThatCannotRenewIsLostBeforeItsLeaseRunsOut) {
  const auto a = Elector("a");
  a->Step();
  server_.down = true;
  clock_.Advance(absl::Seconds(9));
  a->Step();
  EXPECT_TRUE(a->IsLeader());
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(a->Step(), absl::InfiniteDuration());
  EXPECT_FALSE(a->IsLeader());
  EXPECT_THAT(events_, testing::ElementsAre("a started", "a lost"));
}

TEST_F(LeaderElectorTest, AConflictWhileItIsOursIsNoLoss) {
  const auto a = Elector("a");
  a->Step();
  MakePath(server_.lease, {"metadata", "resourceVersion"}) = "99";  // Somebody put a label on it.
  a->Step();
  EXPECT_TRUE(a->IsLeader());
}

TEST_F(LeaderElectorTest, AReleasedLeaseIsTakenAtOnce) {
  const auto a = Elector("a");
  const auto b = Elector("b");
  a->Step();
  b->Step();
  a->Release();
  EXPECT_EQ(Holder(), "");
  EXPECT_EQ(IntAt(server_.lease, {"spec", "leaseDurationSeconds"}), 1);
  b->Step();
  EXPECT_TRUE(b->IsLeader());
  EXPECT_THAT(events_, testing::ElementsAre("a started", "b started"));
}

TEST_F(LeaderElectorTest, TheThreadLeadsAndReleases) {
  LeaderElector elector(client_, {.name = "controller"});
  absl::Mutex mutex;
  bool started = false;
  elector.Start(
      [&] {
        absl::MutexLock lock(&mutex);
        started = true;
      },
      nullptr);
  {
    absl::MutexLock lock(&mutex);
    EXPECT_TRUE(mutex.AwaitWithTimeout(absl::Condition(&started), absl::Seconds(10)));
  }
  elector.Release();
  EXPECT_EQ(Holder(), "");
}

}  // namespace
}  // namespace kube
