#include "common/kube/controller.h"

#include <atomic>
#include <map>
#include <stdexcept>

#include "absl/strings/str_format.h"
#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/kube/fake_transport.h"
#include "common/metrics/metrics.h"

namespace kube {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Answers with what the test put in `results`, else success.
class ScriptedReconciler final : public Reconciler {
 public:
  absl::StatusOr<ReconcileResult> Reconcile(const ObjectKey& key) override {
    seen.push_back(key.ToString());
    if (on_reconcile) on_reconcile();
    const auto found = results.find(key.name);
    return found == results.end() ? ReconcileResult{} : found->second;
  }
  std::vector<std::string> seen;
  std::map<std::string, absl::StatusOr<ReconcileResult>> results;
  std::function<void()> on_reconcile;
};

std::string Pod(std::string_view name, std::string_view more) {
  return absl::StrFormat(R"({"metadata":{"namespace":"n","name":"%s",%s}})", name, more);
}

class ControllerTest : public ::testing::Test {
 protected:
  ControllerTest() {
    transport_.Answer(200, R"({"metadata":{"resourceVersion":"1"},"items":[]})");
    stream_ = transport_.AnswerStream();
  }

  void Sync() {
    informer_.Step(absl::ZeroDuration());
    informer_.Step(absl::ZeroDuration());
  }

  void Event(std::string_view type, const std::string& object) {
    stream_->Push(absl::StrFormat("{\"type\":\"%s\",\"object\":%s}\n", type, object));
    informer_.Step(absl::ZeroDuration());
  }

  std::vector<std::string> RunAll() {
    reconciler_.seen.clear();
    while (controller_.RunOne()) {
    }
    return reconciler_.seen;
  }

  double Counted(const std::string& name, metrics::Labels labels = {}) {
    labels["controller"] = "pod";
    return registry_.GetCounter(name, "", labels).value();
  }

  base::ManualClock clock_;
  metrics::Registry registry_;
  FakeTransport transport_;
  std::shared_ptr<FakeStream::Pipe> stream_;
  Client client_{transport_, {}};
  Informer informer_{client_, resources::kPods, {}, clock_};
  ScriptedReconciler reconciler_;
  bool may_reconcile_ = true;
  Controller controller_{reconciler_,
                         {.name = "pod",
                          .retry_initial = absl::Seconds(1),
                          .registry = &registry_,
                          .may_reconcile = [this] { return may_reconcile_; }},
                         clock_};
};

TEST_F(ControllerTest, NothingIsReconciledBeforeTheCacheIsSynced) {
  controller_.WatchSelf(informer_);
  controller_.queue().Add({"n", "a"});
  EXPECT_THAT(RunAll(), IsEmpty());
  Sync();
  EXPECT_THAT(RunAll(), ElementsAre("n/a"));
}

TEST_F(ControllerTest, TheOwnStatusWriteQueuesNothing) {
  controller_.WatchSelf(informer_);
  Sync();
  Event("ADDED", Pod("a", R"("generation":1,"resourceVersion":"2")"));
  EXPECT_THAT(RunAll(), ElementsAre("n/a"));
  Event("MODIFIED", Pod("a", R"("generation":1,"resourceVersion":"3")"));
  EXPECT_THAT(RunAll(), IsEmpty());
  Event("MODIFIED", Pod("a", R"("generation":2,"resourceVersion":"4")"));
  EXPECT_THAT(RunAll(), ElementsAre("n/a"));
  Event("MODIFIED", Pod("a", R"("generation":2,"resourceVersion":"5","annotations":{"a":"b"})"));
  EXPECT_THAT(RunAll(), ElementsAre("n/a"));
  Event("DELETED", Pod("a", R"("generation":2,"resourceVersion":"6")"));
  EXPECT_THAT(RunAll(), ElementsAre("n/a"));
}

TEST_F(ControllerTest, AChildQueuesItsControllingOwner) {
  controller_.WatchOwned(informer_, "StatefulSet");
  Sync();
  Event(
      "ADDED",
      Pod("a",
          R"("ownerReferences":[{"kind":"StatefulSet","name":"s","uid":"1","controller":true},{"kind":"StatefulSet","name":"t","uid":"2"}])"));
  Event("ADDED", Pod("b", R"("ownerReferences":[{"kind":"Job","name":"j","controller":true}])"));
  EXPECT_THAT(RunAll(), ElementsAre("n/s"));
}

TEST_F(ControllerTest, AnErrorIsRetriedWithBackOffAndSuccessForgetsIt) {
  reconciler_.results.emplace("a", absl::UnavailableError("later"));
  controller_.queue().Add({"n", "a"});
  EXPECT_THAT(RunAll(), ElementsAre("n/a"));
  clock_.Advance(absl::Seconds(1));
  EXPECT_THAT(RunAll(), ElementsAre("n/a"));
  clock_.Advance(absl::Seconds(1));
  EXPECT_THAT(RunAll(), IsEmpty()) << "the second wait is longer";
  reconciler_.results.clear();
  clock_.Advance(absl::Seconds(1));
  EXPECT_THAT(RunAll(), ElementsAre("n/a"));
  clock_.Advance(absl::Hours(1));
  EXPECT_THAT(RunAll(), IsEmpty());
  EXPECT_EQ(Counted("controller_runtime_reconcile_total", {{"result", "error"}}), 2);
  EXPECT_EQ(Counted("controller_runtime_reconcile_total", {{"result", "success"}}), 1);
  EXPECT_EQ(Counted("controller_runtime_reconcile_errors_total"), 2);
}

TEST_F(ControllerTest, ATerminalErrorWaitsForAChange) {
  reconciler_.results.emplace("a", absl::InvalidArgumentError("no such preset"));
  reconciler_.results.emplace("b", absl::FailedPreconditionError("namespace is going"));
  controller_.queue().Add({"n", "a"});
  controller_.queue().Add({"n", "b"});
  EXPECT_THAT(RunAll(), ElementsAre("n/a", "n/b"));
  clock_.Advance(absl::Hours(1));
  EXPECT_THAT(RunAll(), IsEmpty());
  EXPECT_EQ(Counted("controller_runtime_terminal_reconcile_errors_total"), 2);
}

TEST_F(ControllerTest, RequeueAfterComesBack) {
  reconciler_.results.emplace("a", ReconcileResult{.requeue_after = absl::Seconds(30)});
  controller_.queue().Add({"n", "a"});
  EXPECT_THAT(RunAll(), ElementsAre("n/a"));
  EXPECT_THAT(RunAll(), IsEmpty());
  clock_.Advance(absl::Seconds(30));
  EXPECT_THAT(RunAll(), ElementsAre("n/a"));
}

TEST_F(ControllerTest, AThrownExceptionIsAnErrorAndCounted) {
  reconciler_.on_reconcile = [] { throw std::runtime_error("boom"); };
  controller_.queue().Add({"n", "a"});
  EXPECT_THAT(RunAll(), ElementsAre("n/a"));
  EXPECT_EQ(Counted("controller_runtime_reconcile_panics_total"), 1);
  reconciler_.on_reconcile = nullptr;
  clock_.Advance(absl::Seconds(1));
  EXPECT_THAT(RunAll(), ElementsAre("n/a"));
}

TEST_F(ControllerTest, ASlowReconcileIsCounted) {
  reconciler_.on_reconcile = [this] { clock_.Advance(absl::Seconds(31)); };
  controller_.queue().Add({"n", "a"});
  RunAll();
  EXPECT_EQ(Counted("controller_runtime_reconcile_timeouts_total"), 1);
}

TEST_F(ControllerTest, AFollowerKeepsItsKeysUntilItLeads) {
  may_reconcile_ = false;
  controller_.queue().Add({"n", "a"});
  EXPECT_THAT(RunAll(), IsEmpty());
  may_reconcile_ = true;
  EXPECT_THAT(RunAll(), ElementsAre("n/a"));
}

TEST(ControllerThreadTest, WorkersReconcileAndStopWaitsForThem) {
  ScriptedReconciler reconciler;
  absl::Notification done;
  reconciler.on_reconcile = [&done] { done.Notify(); };
  Controller controller(reconciler, {.name = "pod", .workers = 2});
  controller.Start();
  controller.queue().Add({"n", "a"});
  EXPECT_TRUE(done.WaitForNotificationWithTimeout(absl::Seconds(10)));
  controller.Stop();
  EXPECT_THAT(reconciler.seen, ElementsAre("n/a"));
}

TEST(ControllerThreadTest, AFollowersWorkersBeginWhenTheLeaseComes) {
  ScriptedReconciler reconciler;
  absl::Notification done;
  std::atomic<int> asked = 0;
  reconciler.on_reconcile = [&done] { done.Notify(); };
  Controller controller(
      reconciler, {.name = "pod", .workers = 1, .may_reconcile = [&asked] { return ++asked > 3; }});
  controller.queue().Add({"n", "a"});
  controller.Start();
  EXPECT_TRUE(done.WaitForNotificationWithTimeout(absl::Seconds(10)));
  EXPECT_GT(asked, 3);
}

}  // namespace
}  // namespace kube
