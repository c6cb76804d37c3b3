#include "local-cluster/runner/pod_worker.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/base/files.h"
#include "common/kube/json.h"

namespace local_cluster {
namespace {

using ::testing::HasSubstr;

// The API as the worker sees it, in memory.
class FakeHost final : public PodHost {
 public:
  explicit FakeHost(EventLoop& loop) : loop_(loop) {}

  PodSources Sources(const kube::Object&) override {
    PodSources sources;
    sources.pod_ip = "127.32.0.9";
    sources.config_map = [](std::string_view name) -> absl::StatusOr<kube::Object> {
      if (name != "cm") return absl::NotFoundError("none");
      return kube::Object::Parse(R"({"kind": "ConfigMap", "data": {"file": "from the map"}})");
    };
    sources.secret = sources.config_map;
    return sources;
  }
  std::optional<std::string> ResolveName(std::string_view) override { return std::nullopt; }
  void PublishStatus(const kube::Object&, boost::json::value status) override {
    status_ = kube::Object(std::move(status));
    if (wanted_ && wanted_(status_)) loop_.Stop();
  }
  void PublishEnd(const kube::Object&) override {
    ended_ = true;
    loop_.Stop();
  }
  void Event(const kube::Object&, bool, std::string_view reason, std::string_view) override {
    events_.emplace_back(reason);
  }

  EventLoop& loop_;
  kube::Object status_;
  std::function<bool(const kube::Object&)> wanted_;
  bool ended_ = false;
  std::vector<std::string> events_;
};

class Sink final : public LogSink {
 public:
  bool Write(std::string text) override {
    text_ += text;
    return true;
  }
  void End() override { ended_ = true; }
  size_t unsent_bytes() const override { return 0; }
  void OnClose(std::function<void()>) override {}

  std::string text_;
  bool ended_ = false;
};

class PodWorkerTest : public testing::Test {
 protected:
  PodWorkerTest() {
    options_.keeper = base::ExecutableFolder() + "/pod-keeper";
    options_.pods_folder = folder_ + "/pods";
    options_.claim_folder = folder_ + "/claims";
    options_.images.bin_dir = folder_;
    options_.images.image_map = {{"busybox", "sh"}};
    options_.base_environment = {"PATH=/usr/bin:/bin"};
  }
  void TearDown() override {
    worker_.reset();
    ASSERT_TRUE(base::RemoveAll(folder_).ok());
  }

  kube::Object Pod(const std::string& script, const std::string& more_container = "",
                   const std::string& more_spec = "") {
    boost::json::value pod = *kube::ParseJson(absl::StrFormat(
        R"({"kind": "Pod", "metadata": {"name": "p", "namespace": "d", "uid": "u"},
            "spec": {%s "containers": [{"name": "m", %s "image": "busybox:1.36",
                     "command": ["sh", "-c", ""]}]}})",
        more_spec, more_container));
    pod.at("spec").at("containers").at(0).at("command").at(2) = script;
    return kube::Object(std::move(pod));
  }

  void Start(const kube::Object& pod) {
    worker_ = std::make_unique<PodWorker>(loop_, host_, options_, pod);
  }

  // Runs the loop until a status is published that is as wanted.
  void RunUntil(std::function<bool(const kube::Object&)> wanted) {
    host_.wanted_ = std::move(wanted);
    RunLoop();
    ASSERT_TRUE(host_.wanted_(host_.status_)) << host_.status_.ToJson();
  }

  void RunLoop() {
    EventLoop::TimerId timeout = loop_.After(absl::Seconds(20), [this] { loop_.Stop(); });
    loop_.Run();
    loop_.Cancel(timeout);
  }

  static const boost::json::value& Container(const kube::Object& status) {
    return status.json().at("containerStatuses").at(0);
  }

  EventLoop loop_;
  FakeHost host_{loop_};
  PodWorkerOptions options_;
  const std::string folder_ = testing::TempDir() + "pod_worker_" +
                              testing::UnitTest::GetInstance()->current_test_info()->name();
  std::unique_ptr<PodWorker> worker_;
};

bool IsRunning(const kube::Object& status) { return status.StringAt({"phase"}) == "Running"; }
bool HasEnded(const kube::Object& status) {
  return status.StringAt({"phase"}) == "Succeeded" || status.StringAt({"phase"}) == "Failed";
}

TEST_F(PodWorkerTest, PodThatEndsShowsItsExitCodeAndMessage) {
  Start(
      Pod("echo out; echo why > /dev/termination-log; exit 3", "", R"("restartPolicy": "Never",)"));
  RunUntil(HasEnded);
  const auto& ended = Container(host_.status_).at("state").at("terminated");
  EXPECT_EQ(host_.status_.StringAt({"phase"}), "Failed");
  EXPECT_EQ(ended.at("exitCode"), 3);
  EXPECT_EQ(ended.at("reason"), "Error");
  EXPECT_EQ(ended.at("message"), "why\n");
  const auto sink = std::make_shared<Sink>();
  ASSERT_TRUE(worker_->OpenLog({.container = "m"}, sink).ok());
  EXPECT_EQ(sink->text_, "out\n");
  EXPECT_TRUE(sink->ended_);
}

TEST_F(PodWorkerTest, LastLogLinesAreTheMessageWhereAskedFor) {
  Start(Pod("echo the reason; exit 1", R"("terminationMessagePolicy": "FallbackToLogsOnError",)",
            R"("restartPolicy": "Never",)"));
  RunUntil(HasEnded);
  EXPECT_EQ(Container(host_.status_).at("state").at("terminated").at("message"), "the reason\n");
}

TEST_F(PodWorkerTest, FirstRestartIsImmediateAndTheSecondWaits) {
  Start(Pod("exit 1"));
  RunUntil([](const kube::Object& status) {
    return Container(status).at("state").as_object().contains("waiting") &&
           kube::StringAt(Container(status), {"state", "waiting", "reason"}) == "CrashLoopBackOff";
  });
  EXPECT_EQ(Container(host_.status_).at("restartCount"), 1);
  EXPECT_EQ(Container(host_.status_).at("lastState").at("terminated").at("exitCode"), 1);
}

TEST_F(PodWorkerTest, MountedFilesEnvironmentAndArgumentsAreWhatThePodAsksFor) {
  Start(Pod("cat /etc/config/file; echo \" $(IP) $HOME_TOWN\"; env > /data/env",
            R"("env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                       {"name": "HOME_TOWN", "value": "here"}],
               "volumeMounts": [{"name": "c", "mountPath": "/etc/config"},
                                {"name": "e", "mountPath": "/data"}],)",
            R"("restartPolicy": "Never", "volumes": [{"name": "c", "configMap": {"name": "cm"}},
                                                     {"name": "e", "emptyDir": {}}],)"));
  RunUntil(HasEnded);
  const auto sink = std::make_shared<Sink>();
  ASSERT_TRUE(worker_->OpenLog({.container = "m"}, sink).ok());
  EXPECT_EQ(sink->text_, "from the map 127.32.0.9 here\n");
  EXPECT_TRUE(base::FileExists(worker_->folder() + "/volumes/e/env"));
}

TEST_F(PodWorkerTest, DeletionTerminatesAndThenReportsTheEnd) {
  Start(Pod("trap 'echo bye; exit 0' TERM; echo up; sleep 60 & wait"));
  RunUntil(IsRunning);
  const auto sink = std::make_shared<Sink>();
  ASSERT_TRUE(worker_->OpenLog({.container = "m", .follow = true}, sink).ok());
  kube::Object deleted = worker_->pod();
  kube::MakePath(deleted.mutable_json(), {"metadata"}).as_object()["deletionTimestamp"] =
      kube::FormatTime(absl::Now() + absl::Seconds(30));
  kube::MakePath(deleted.mutable_json(), {"metadata"}).as_object()["deletionGracePeriodSeconds"] =
      30;
  host_.wanted_ = nullptr;
  worker_->Update(deleted);
  RunLoop();
  EXPECT_TRUE(host_.ended_);
  EXPECT_TRUE(sink->ended_) << "a followed log must end with its container";
  EXPECT_FALSE(kube::BoolAt(Container(host_.status_), {"ready"}));
}

TEST_F(PodWorkerTest, UnknownImageIsAnImagePullError) {
  kube::Object pod = Pod("");
  pod.mutable_json().at("spec").at("containers").at(0).at("image") = "nowhere/nothing:1";
  Start(pod);
  RunUntil([](const kube::Object& status) {
    return kube::StringAt(Container(status), {"state", "waiting", "reason"}) == "ErrImagePull";
  });
  EXPECT_THAT(
      std::string(kube::StringAt(Container(host_.status_), {"state", "waiting", "message"})),
      HasSubstr("nowhere/nothing:1"));
}

TEST_F(PodWorkerTest, ReadinessProbeDecidesWhenThePodIsReady) {
  Start(Pod("touch /data/ready; sleep 60",
            R"("readinessProbe": {"exec": {"command": ["test", "-e", "/data/ready"]}},
               "volumeMounts": [{"name": "e", "mountPath": "/data"}],)",
            R"("volumes": [{"name": "e", "emptyDir": {}}],)"));
  RunUntil([](const kube::Object& status) { return kube::BoolAt(Container(status), {"ready"}); });
}

TEST_F(PodWorkerTest, LivenessProbeThatFailsRestartsTheContainer) {
  Start(Pod("sleep 60", R"("livenessProbe": {"exec": {"command": ["false"]},
                           "periodSeconds": 1, "failureThreshold": 1},)"));
  RunUntil([](const kube::Object& status) {
    return kube::IntAt(Container(status), {"restartCount"}) == 1;
  });
  EXPECT_TRUE(std::ranges::count(host_.events_, "Unhealthy") > 0);
}

}  // namespace
}  // namespace local_cluster
